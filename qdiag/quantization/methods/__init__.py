"""Calibration methods: which techniques, in which order. One file each."""
