"""Causes: why a layer loses in fixed point. One file each: what convicts it, in numbers and words, and the mend."""
