"""Calibration techniques: each takes a quantized model and unlabeled images, and gives a better one. One file each."""
