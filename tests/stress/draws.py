"""Random numbers that another thread draws while a job runs: none of them comes twice."""

import random
import threading
import time
import warnings

import numpy as np
import torch
from torch import nn

from qdiag.workbench.job import Job
from qdiag.workbench.session import Session
from tests.stress.kills import IMAGES, net


def hammer(seed: int, least: int = 10_000) -> tuple[int, int]:
    """Draw from torch, NumPy and Python while sessions diagnose; how many were drawn, and how many came twice."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    model, drawn = net(16).train(), [list[float](), list[float](), list[float]()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while sum(map(len, drawn)) < least:
            _while_one_diagnoses(model, drawn)
            assert model.training, f"draws {seed}: the model's mode was changed"
    return sum(map(len, drawn)), sum(len(numbers) - len(set(numbers)) for numbers in drawn)


def _while_one_diagnoses(model: nn.Module, drawn: list[list[float]]) -> None:
    done = threading.Event()
    session = Session(model, [(IMAGES, torch.arange(len(IMAGES)) % 3)], folder=None)
    job = Job(lambda _: None, done.set, lambda _: done.set())
    job.start(session.diagnose.steps(), lambda _: done.set())
    while not done.is_set():
        drawn[0].append(float(torch.rand((), dtype=torch.float64)))
        drawn[1].append(float(np.random.rand()))
        drawn[2].append(random.random())
        time.sleep(0)  # the job has its turn
    job.wait()
