"""Mends a model where a machine can: functions to modules, a module for each use, parallel branches merged.

May import: linting, quantization and below.
"""
