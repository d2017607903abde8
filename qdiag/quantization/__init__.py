"""Quantization: a plan put to work on the user's own model, without replacing anything in it.

Here live `Interpreter` (carries out a plan in the numbers of a `Numerics`), `Lockstep` (several side by side),
`QuantizedModel`, `calibrate()`, the calibration techniques, one file each in `techniques/`, and the methods made of
them, in `methods/`. May import: subject and below.
"""
