"""Architectures of torchvision as files: one runs on floats, the other on integers, and both as the simulation does.

Weights are random, and BatchNorm statistics those of random images, so that activations neither vanish nor explode.
"""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torchvision
from torch import Tensor, nn

from qdiag.export.export_onnx import export_onnx
from qdiag.export.verify import verify
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from tests.export.checks import check_clips, check_integers
from tests.models import calibrate
from tests.test_sweep import settle

FAST = {"resnet18", "mobilenet_v2"}
SUITE = {"mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"}
NETWORKS = [
    *("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "efficientnet_b0"),
    *("densenet121", "googlenet", "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11_bn", "mnasnet0_5"),
]


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [] if name in FAST else [pytest.mark.sweep] if name in SUITE else [pytest.mark.sweep, pytest.mark.zoo]


every_network = pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in NETWORKS])

WIDE = {"vgg11_bn"}  # its pooling to 7 x 7 is one operator only where the tensor can be divided so
LONE_NORMS = {"densenet121"}  # no convolution before them takes them in

FLOAT = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Concat"} | {
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    *("Reshape", "Transpose", "Split", "Slice", "Gather", "Unsqueeze", "Shape"),
}
"""What importers of embedded engines read."""


@every_network
def test_clips_are_the_clamped_float_network(name: str, tmp_path: Path) -> None:
    file = check_clips(quantized(name), Inputs(images(name)), tmp_path)
    assert {node.op_type for node in file.graph.node} <= operators(name)


@every_network
def test_every_stored_integer_is_the_runtimes(name: str, tmp_path: Path) -> None:
    found = quantized(name)
    exported = export_onnx(found, tmp_path / "model.onnx", images(name))
    onnx.checker.check_model(exported.path, full_check=True)
    kinds = {node.op_type for node in onnx.load(exported.path).graph.node}
    assert kinds <= operators(name) | {"QuantizeLinear", "DequantizeLinear", "Relu"}
    check_integers(verify(found, images(name), images=2))


def images(name: str) -> Tensor:
    size = 224 if name in WIDE else 64
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


def operators(name: str) -> set[str]:
    return FLOAT | {"BatchNormalization"} if name in LONE_NORMS else FLOAT


def quantized(name: str) -> QuantizedModel:
    torch.manual_seed(0)
    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return calibrate(settle(model, images(name)), images(name))
