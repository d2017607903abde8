"""MobileNetV2 with its ImageNet weights, BatchNorm merged, as an ONNX file.

    python examples/mobilenet_v2_file.py --data DATA --output mobilenet_v2.onnx

DATA holds mobilenet_v2/ and datasets.py, which reads it. The file takes one image [1, 3, 224, 224], with mean and std
of 0.5, and gives the logits of ImageNet's 1000 classes, without the background that its weights have as well.
"""

import argparse
import importlib
import logging
import sys
import warnings
from pathlib import Path

import torch


def write(data: Path, path: Path) -> Path:
    """The file, by torch's older exporter, of opset 13."""
    sys.path.insert(0, str(data))
    network, _ = importlib.import_module("datasets").mobilenet_v2()
    with torch.no_grad():
        head = torch.nn.Linear(1280, 1000)
        head.weight.copy_(network.classifier.weight[1:])
        head.bias.copy_(network.classifier.bias[1:])
    network.classifier = head
    image = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(
        network.eval(), (image,), path, input_names=["image"], output_names=["logits"], opset_version=13, dynamo=False
    )
    return path


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("mobilenet_v2.onnx"))
    given = parser.parse_args()
    print(write(given.data, given.output))
