"""Comparison: float, 16-bit and 8-bit values of one site meet, are folded into running sums, and are let go.

Here live `compare()` with its result `Comparison`, and `inspect()`, which looks closely at single sites. May import:
linting, quantization and below.
"""
