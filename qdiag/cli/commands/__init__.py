"""The commands, one file each: a function whose parameters are its options, and whose docstring is its help."""
