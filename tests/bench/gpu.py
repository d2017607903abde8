"""What a GPU gives, in a few minutes on any machine that has one: the CPU's numbers, and how fast.

python -m tests.bench.gpu [--device cuda] [--network mobilenet_v2]
"""

import argparse
import statistics
import time
import warnings
from functools import partial

import torch

from qdiag import Comparison, compare
from qdiag.quantization.calibrate import calibrate
from tests.bench.works import NETWORKS, Bench, Work

WORKS = ("compare", "compare_added", "compare_plain", "simple", "forward")
CLOSE_DB = 0.1
"""Float sums of another order move a value to the other side of a tie now and then."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The CPU's numbers on a GPU, and the time that each work takes there.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default=NETWORKS[0].name)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    network = next(one for one in NETWORKS if one.name == given.network)
    here, there = Bench(network), Bench(network, given.device)
    there.images = here.images.to(given.device)
    print(f"{network.name} on {name_of(given.device)}, torch {torch.__version__}")
    worst = farthest(compared(here), compared(there))
    verdict = "the same" if worst < CLOSE_DB else "NOT the same"
    print(f"SQNR of the layers: {verdict} as on the CPU, farthest {worst:.3f} dB")
    eager = seconds(there.eager, given.device)
    for work in WORKS:
        print(f"{work}: {seconds(getattr(there, work), given.device) / eager:.2f} forwards")
    own, quantized = (seconds(partial(there.step, version), given.device) for version in ("float", "quantized"))
    print(f"training step: {quantized / own:.2f} of the model's own")


def compared(bench: Bench) -> Comparison:
    quantized = {"8-bit": calibrate(bench.model, bench.images, "simple")}
    return compare(bench.model, [bench.images], quantized=quantized)


def farthest(one: Comparison, two: Comparison) -> float:
    """The largest difference of two layers' accumulated SQNR."""
    pairs = zip(one.layers, two.layers, strict=True)
    sqnr = [[layer.lanes["8-bit"].accumulated["sqnr_db"] for layer in pair] for pair in pairs]
    return max(abs(a - b) for a, b in sqnr if a is not None and b is not None)


def seconds(work: Work, device: str, rounds: int = 5) -> float:
    """On the clock, until the device is done; the median of rounds, after one that is not counted."""
    took = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        took.append(time.perf_counter() - begun)
    return statistics.median(took[1:])


def name_of(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    main()
