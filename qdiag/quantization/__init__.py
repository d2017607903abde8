"""Quantization: a plan put to work on the user's own model, without replacing anything in it.

Here live `Lane` (one numeric version of a forward), `QuantizedModel`, `calibrate()` and the calibration methods, one
file each in `methods/`. May import: planning, tracing, numerics, registry, errors.
"""
