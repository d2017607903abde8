"""Ratios of processor time and of peak memory to the model's own forward, in one process and in turns."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.bench.works import Bench, Network, Work

FORWARD = ("compare", "compare_added", "compare_plain", "simple", "forward", "lint", "fast_sensitivity")
"""Works of `Bench` that are measured in forwards."""


@dataclass(frozen=True)
class Ratio:
    """How many times a work takes what its baseline takes: processor time, and time on the clock."""

    processor: float
    wall: float


def ratios(network: Network, rounds: int, *, with_exact: bool = True) -> dict[str, Ratio]:
    """By work; the median of rounds, in each of which it takes turns with its baseline. One thread."""
    torch.set_num_threads(1)
    bench = Bench(network)
    found = {name: ratio(bench.eager, getattr(bench, name), rounds) for name in FORWARD}
    if with_exact:
        whole = ratio(bench.eager, bench.exact_sensitivity, 1)
        found["exact_sensitivity_layer"] = Ratio(whole.processor / bench.layers, whole.wall / bench.layers)
    found["training_step"] = ratio(lambda: bench.step("float"), lambda: bench.step("quantized"), rounds)
    return found


def ratio(baseline: Work, work: Work, rounds: int) -> Ratio:
    """Both run once before they are measured."""
    baseline()
    work()
    pairs = [(seconds(baseline), seconds(work)) for _ in range(rounds)]
    processor, wall = (statistics.median(b[kind] / a[kind] for a, b in pairs) for kind in (0, 1))
    return Ratio(processor, wall)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the processor, and on the clock."""
    processor, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def memory_ratio(network: Network) -> float:
    """Peak of a comparison over that of the forward, each in a process of its own and above what it began with."""
    return _peak_apart(network, "compare_plain") / _peak_apart(network, "eager")


def _peak_apart(network: Network, work: str) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (network, work))


def peak(network: Network, work: str) -> int:
    """KiB at the most, above what this process held before the work."""
    torch.set_num_threads(1)
    bench = Bench(network)
    before = _held()
    getattr(bench, work)()
    return max(1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def _held() -> int:
    """KiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024
