"""Random numbers by what they are for: an epoch's order, an image's augmentation, a step's dropout."""

import random

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """One number for several; other numbers give an unrelated one.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def seed_all(*key: int) -> None:
    """Whatever is drawn next from torch, NumPy or Python depends on the key alone, not on what was drawn before.

    So a run that goes on from the middle draws what it would have drawn unbroken.
    """
    seed = seed_of(*key)
    # torch.manual_seed takes 0.3 ms, and keeps a stack trace for each call, until CUDA is first used
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
