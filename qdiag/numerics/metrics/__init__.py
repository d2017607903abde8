"""Metrics: how far a quantized tensor is from its reference. One file each; each a class over running `Moments`."""
