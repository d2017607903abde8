"""Targets: what differs between inference engines, one file each."""
