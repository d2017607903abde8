"""Tensors that a device or an emulator wrote, one file for each format they come in."""
