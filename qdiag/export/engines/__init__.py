"""What each inference engine wants to be told about a model in fixed point, one file each."""
