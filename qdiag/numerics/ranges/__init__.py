"""Range estimators: from the values a tensor takes to the range its format covers. One file each."""
