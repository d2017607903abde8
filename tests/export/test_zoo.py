"""Every construct of the zoo as an ONNX file: integers that a real runtime computes alike, and floats with clips."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.export.export_onnx import export_onnx
from qdiag.export.verification import Verification
from qdiag.export.verify import verify
from qdiag.planning.layer import Layer
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.lane import Lane, LaneRunner
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.guest import borrow
from qdiag.tracing.inputs import Inputs, named_leaves
from tests.models import ZOO, Specimen

EXPORTED = {name: specimen for name, specimen in ZOO.items() if name != "branch on the data"}
every_specimen = pytest.mark.parametrize("specimen", EXPORTED.values(), ids=EXPORTED.keys())


@every_specimen
def test_every_stored_integer_is_the_runtimes(specimen: Specimen) -> None:
    inputs = Inputs(*specimen.inputs())
    verification = verify(calibrate(specimen.model(), inputs), inputs)
    assert tuple(site.site for site in verification.sites) == tuple(
        name.partition(" + ")[0] for name in specimen.layers
    )
    check_integers(verification)


def check_integers(verification: Verification) -> None:
    """All equal, save for ties that a floating-point sum may bring to the other side on another processor."""
    assert verification.values > 0
    assert verification.off_by_more == 0
    assert verification.off_by_one <= 1e-3 * verification.values
    assert verification.output_equal >= (1 - 1e-3) * verification.output_values
    assert verification.watching_changes == 0


@every_specimen
def test_clips_are_the_float_network_with_clamped_tensors(specimen: Specimen, tmp_path: Path) -> None:
    inputs = Inputs(*specimen.inputs())
    quantized = calibrate(specimen.model(), inputs)
    exported = export_onnx(quantized, tmp_path / "model.onnx", inputs, style="clips")
    onnx.checker.check_model(exported.path, full_check=True)
    check_floats(exported.path, quantized, inputs)


def check_floats(path: Path, quantized: QuantizedModel, inputs: Inputs) -> None:
    found, expected = run_file(path, inputs), clamped(quantized, inputs)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def run_file(path: Path, inputs: Inputs) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {n: t.numpy() for n, (_, t) in zip(names, inputs.tensors(), strict=True)})


def clamped(quantized: QuantizedModel, inputs: Inputs) -> list[Any]:
    """The model's outputs with float weights and every stored tensor clamped to a power of two."""
    lane = ClampingLane(quantized)
    with borrow(quantized.module):
        result = LaneRunner(lane).forward(inputs)
    return [tensor.numpy() for _, tensor in named_leaves(result)]


class ClampingLane(Lane):
    def __init__(self, quantized: QuantizedModel) -> None:
        layers = quantized.plan.layers
        plan = quantized.plan.change(weight={layer.site: None for layer in layers})
        super().__init__(quantized.module, plan, quantized.calibration)

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams = self.qparams[layer.site]
        power = 2.0 ** math.ceil(math.log2(qparams.high))  # high is one step below it
        low, high = layer.bounds or (-math.inf, math.inf)
        factor = self.factor(layer, result)
        scale = torch.ones(()) if factor is None else factor
        return (
            result.mul_(scale).clamp_(max(low, -power if qparams.qtype.signed else 0.0), min(high, power)).div_(scale)
        )


def test_a_forward_that_decides_by_its_data_is_refused(tmp_path: Path) -> None:
    specimen = ZOO["branch on the data"]
    inputs = Inputs(*specimen.inputs())
    with pytest.raises(ModelError, match="decides by the values of a tensor"):
        export_onnx(calibrate(specimen.model(), inputs), tmp_path / "model.onnx", inputs)
    assert not list(tmp_path.iterdir())


def test_a_weight_computed_from_the_input_is_refused(tmp_path: Path) -> None:
    class Hyper(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, x.mean((0, 2, 3)).reshape(1, 3, 1, 1))

    images = torch.rand(2, 3, 6, 6)
    with pytest.raises(ModelError, match=r"weight of ':conv2d' is computed from the network's inputs"):
        export_onnx(calibrate(Hyper(), images), tmp_path / "model.onnx", images)
