"""Calibration methods: from calibration data to ranges and weights. One file each."""
