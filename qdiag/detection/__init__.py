"""Detectors on their own images: letterboxing, box labels as people have them, boxes from raw outputs, and mAP.

May import: errors.
"""
