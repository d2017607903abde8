"""What quantization-aware training costs: a step of `QuantTrainModule` against a step of the float model.

    python examples/cost_of_training.py [--model mobilenet_v2] [--batch 32] [--size 224] [--rounds 7]

Steps of both take turns in one process, on the same images; the figure is the median of the ratios. The float model
runs as its user has it, and in channels-last too, which QuantTrainModule chooses by itself where it is faster. Peak
memory is that of processes of their own, above what they hold before there is a model. Any classification model of
torchvision.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag import QuantTrainModule

VERSIONS = ("float", "float, channels-last", "QuantTrainModule")
CLASSES = 10


def stepper(version: str, name: str, batch: int, size: int) -> Callable[[], object]:
    """A training step of one version, with SGD."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, CLASSES, (batch,))
    if version == "QuantTrainModule":
        model = QuantTrainModule(model, images[:2])
    elif version != "float":
        model, images = (
            model.to(memory_format=torch.channels_last),
            images.contiguous(memory_format=torch.channels_last),
        )
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> Tensor:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step()
    return step


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak(version: str, name: str, batch: int, size: int) -> int:
    """KiB at the most, above what the process held before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stepper(version, name, batch, size)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    what = options.model, options.batch, options.size
    most = {}
    for version in VERSIONS:  # first, while this process is small: a child's peak counts what its parent held
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            most[version] = pool.apply(peak, (version, *what))
    steps = {version: stepper(version, *what) for version in VERSIONS}
    rounds = [{version: seconds(step) for version, step in steps.items()} for _ in range(options.rounds)]
    print(
        f"{options.model}, {options.batch} images of {options.size} x {options.size}, {torch.get_num_threads()} threads"
    )
    for version in VERSIONS[:2]:
        ratio = statistics.median(r["QuantTrainModule"] / r[version] for r in rounds)
        took = statistics.median(r[version] for r in rounds)
        print(f"a step of QuantTrainModule: {ratio:.2f} x that of {version} ({took:.2f} s)")
    for version in VERSIONS[:2]:
        ratio = most["QuantTrainModule"] / most[version]
        print(f"peak memory: {ratio:.2f} x that of {version} ({most[version] / 2**20:.2f} GiB)")


if __name__ == "__main__":
    main()
