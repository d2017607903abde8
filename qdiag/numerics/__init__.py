"""Numerics: the arithmetic of fixed point, as pure functions of tensors.

Here live number formats (`QType`, `QScheme`, `QParams`), fake quantization, the merge of Conv and BatchNorm, `ranges/`
(what range a tensor gets), and the open set `metrics/` (how far two tensors are apart). No other room knows that a
scale is a power of two: formats, schemes and ranges answer for it. May import: demo and below.
"""
