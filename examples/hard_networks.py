"""What the choice of ranges gives YOLOX-Nano in 8 bit, per tensor: by tensor, behind activations, by the outputs.

    python examples/hard_networks.py --data DATA [--calibration 16] [--images 64]

DATA holds yolox_nano/yolox_nano_416.onnx, coco128/ and datasets.py, which reads both. Prints the rows of the table in
docs/hard_networks.md.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision

from qdiag import calibrate, load_model
from qdiag.detection.decode import decode_yolox
from qdiag.quantization.techniques import range_search

SHARED = Path(__file__).parents[2] / "shared" / "data"
SIZE = 416
HELD_OUT = 16
"""Images that the outputs' SQNR is of."""
VERSIONS: tuple[tuple[list[str], tuple[bool, ...]], ...] = (
    ([], (True,)),
    (["range-search"], (False, True)),
    (["range-search", "gptq"], (False, True)),
    (["range-search", "probed-ranges", "gptq"], (True,)),
)
"""Techniques, and whether range search looks behind activations."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("QDIAG_DATA", SHARED)))
    parser.add_argument("--calibration", type=int, default=16, help="images that ranges come from")
    parser.add_argument("--images", type=int, default=64, help="images that mAP is of")
    given = parser.parse_args()
    sys.path.insert(0, str(given.data))
    data = importlib.import_module("datasets")
    model = load_model(given.data / "yolox_nano" / "yolox_nano_416.onnx")
    train, held_out = data.Coco128("train2017"), data.Coco128("val2017")
    images = torch.stack([train[i][0] for i in range(given.calibration)]).split(8)
    truth = [held_out[i] for i in range(given.images)]
    shown = torch.stack([one[0] for one in truth])

    def score(outputs: Tensor) -> float:
        metric = MeanAveragePrecision()
        metric.update(decode_yolox(outputs, SIZE), [{"boxes": one[2], "labels": one[3]} for one in truth])
        return 100 * float(metric.compute()["map"])

    reference = outputs(model, shown)
    print(
        f"| {given.calibration} images for calibration | mAP, {given.images} images | output, {HELD_OUT} images | s |"
    )
    print(f"|---|---|---|---|\n| float | {score(reference):.1f} | | |")
    for name, quantized, seconds in versions(model, images):
        found = outputs(quantized, shown)
        db = sqnr_db(reference[:HELD_OUT], found[:HELD_OUT])
        print(f"| {name} | {score(found):.1f} | {db:.1f} dB | {seconds:.0f} |", flush=True)


def versions(model: nn.Module, images: tuple[Tensor, ...]) -> Iterator[tuple[str, nn.Module, float]]:
    """Each version with its name and the seconds that it took."""
    for techniques, looks in VERSIONS:
        for behind in looks:
            name = ", ".join(techniques) or "minimum and maximum"
            began = time.perf_counter()
            if behind:
                quantized = calibrate(model, images, techniques)
            else:
                with patch.object(range_search, "uses", return_value={}):
                    quantized = calibrate(model, images, techniques)
            where = f"{name}{', behind activations' if behind and techniques else ''}"
            yield where, quantized, time.perf_counter() - began


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([model(part) for part in images.split(8)])


def sqnr_db(reference: Tensor, found: Tensor) -> float:
    return 10 * float(torch.log10(reference.square().sum() / (reference - found).square().sum()))


if __name__ == "__main__":
    main()
