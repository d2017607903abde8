"""Numerics: the arithmetic of fixed point, as pure functions of tensors.

Here live number formats (`QType`, `QScheme`, `QParams`), fake quantization, the merge of Conv and BatchNorm, and two
open sets: `ranges/` (what range a tensor gets) and `metrics/` (how far two are apart). May import: errors, registry.
"""
