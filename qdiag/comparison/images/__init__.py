"""What became of single images: flipped classes, changed masks, lost boxes, moved values; one file and class each."""
