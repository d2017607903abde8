"""Random numbers that another thread draws while a job runs: none of them comes twice."""

import random
import threading
import warnings

import numpy as np
import torch

from qdiag.workbench.job import Job
from qdiag.workbench.session import Session
from tests.stress.kills import IMAGES, net


def hammer(seed: int, most: int = 20_000) -> tuple[int, int]:
    """Draw from torch, NumPy and Python while a session diagnoses; how many were drawn, and how many came twice."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    model, done = net(16).train(), threading.Event()
    labels = torch.arange(len(IMAGES)) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = Session(model, [(IMAGES, labels)], folder=None)
        job = Job(lambda _: None, done.set, lambda _: done.set())
        job.start(session.diagnosis_steps(), lambda _: done.set())
        drawn: list[list[float]] = [[], [], []]
        while not done.is_set() and sum(map(len, drawn)) < most:
            drawn[0].append(float(torch.rand((), dtype=torch.float64)))
            drawn[1].append(float(np.random.rand()))
            drawn[2].append(random.random())
            done.wait(0.0005)
        job.wait()
    assert model.training, f"draws {seed}: the model's mode was changed"
    return sum(map(len, drawn)), sum(len(numbers) - len(set(numbers)) for numbers in drawn)
