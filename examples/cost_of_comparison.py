"""What a comparison costs: float, 16 bit and 8 bit with every metric, against the model's own eager forward.

    python examples/cost_of_comparison.py [--model mobilenet_v2] [--images 96] [--batch 16] [--rounds 5]

Both run in one process, in turn, on the same images; the figure is the median of the ratios, of wall time and of
processor time. Any classification model of torchvision; weights are random, which costs the same.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision

from qdiag import compare
from qdiag.quantization.calibrate import calibrate


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = torchvision.models.get_model(options.model, weights=None).eval()
    data = list(torch.randn(options.images, 3, 224, 224).split(options.batch))
    quantized = {f"{bits}-bit": calibrate(model, data[:1], "simple", bits) for bits in (16, 8)}

    @torch.no_grad()
    def eager() -> None:
        for images in data:
            model(images)

    def whole() -> object:
        return compare(model, data, quantized=quantized)

    def whole_without_added() -> object:
        return compare(model, data, quantized=quantized, added_images=0)

    eager()
    whole()
    rounds = [[measure(work) for work in (eager, whole, whole_without_added)] for _ in range(options.rounds)]
    print(f"{options.model}, {options.images} images in batches of {options.batch}, {torch.get_num_threads()} threads")
    print(f"eager forward: {statistics.median(r[0][0] for r in rounds):.2f} s")
    for number, name in ((1, "compare()"), (2, "compare(added_images=0)")):
        wall = statistics.median(r[number][0] / r[0][0] for r in rounds)
        processor = statistics.median(r[number][1] / r[0][1] for r in rounds)
        print(f"{name}: {wall:.2f} x wall, {processor:.2f} x processor time")


if __name__ == "__main__":
    main()
