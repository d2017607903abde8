"""Explanation: from numbers to words: which layers are to blame, why, and what to do.

Here live `explain()` with its result `Diagnosis`, the trials that convict a layer, and `causes/`, one file each with
its evidence. May import: comparison, export, fixing, training and below.
"""
