"""A repaired file has the file's own names, and computes in ONNX Runtime what equalized and corrected weights give."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError
from qdiag.export.repair_file import repair_file
from qdiag.loading.load_model import load_model
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.quantized_model import QuantizedModel
from tests.loading.files import node, write
from tests.models import Small, settle

IMAGES = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Stretched(nn.Module):
    """Channels that lie far apart, behind BatchNorm and ReLU, a ReLU6, a transposed convolution, a fully connected."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 4, 2, 2, groups=2), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.depthwise(self.stem(x))).mean((2, 3)))


def stretched() -> Stretched:
    torch.manual_seed(0)
    model = Stretched()
    settle(model, IMAGES)
    state = model.state_dict()
    spread = 2.0 ** torch.arange(-4, 4)
    for name in ("stem.1.weight", "stem.1.bias"):
        state[name].mul_(spread)
    state["depthwise.0.weight"].div_(spread.reshape(-1, 1, 1, 1))
    return model


def exported(model: nn.Module, path: Path, *, dynamo: bool = False) -> Path:
    """With BatchNormalization nodes, which the old exporter leaves when it is asked to; the new one merges."""
    kept = torch.onnx.TrainingMode.PRESERVE
    options: dict[str, Any] = {} if dynamo else {"training": kept, "do_constant_folding": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (IMAGES[:1],), path, dynamo=dynamo, verbose=False, **options)
    assert dynamo == ("BatchNormalization" not in {each.op_type for each in onnx.load(path).graph.node})
    return path


def run(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.cat([torch.from_numpy(session.run(None, {name: image[None].numpy()})[0]) for image in images])


def constants(path: Path) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


@pytest.fixture(scope="module", params=[False, True], ids=["old exporter", "new exporter"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QuantizedModel:
    path = exported(stretched(), tmp_path_factory.mktemp("file") / "net.onnx", dynamo=request.param)
    return calibrate(load_model(path), IMAGES, "best")


def test_only_constants_of_changed_layers_are_others(network: QuantizedModel, tmp_path: Path) -> None:
    repaired = repair_file(network, tmp_path / "repaired.onnx", IMAGES)
    before, after = constants(repaired.source), constants(repaired.path)
    listed = {each.name: each for each in repaired.changes}
    assert {name for name in after if name not in before or not np.array_equal(before[name], after[name])} == set(
        listed
    )
    for name, change in listed.items():
        assert change.is_new == (name not in before)
        old = before.get(name, np.zeros_like(after[name]))
        assert change.largest_change == pytest.approx(np.abs(after[name] - old).max())
        assert change.shape == after[name].shape
    one, other = (onnx.load(path).graph.node for path in (repaired.source, repaired.path))
    assert [(each.op_type, list(each.output)) for each in one] == [(each.op_type, list(each.output)) for each in other]


def test_the_file_computes_what_the_weights_give(network: QuantizedModel, tmp_path: Path) -> None:
    repaired = repair_file(network, tmp_path / "repaired.onnx", IMAGES)
    assert repaired.output_difference <= 1e-4
    again = load_model(repaired.path)
    with torch.no_grad():
        expected = again(IMAGES)
    torch.testing.assert_close(run(repaired.path, IMAGES), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(run(repaired.path, IMAGES), run(repaired.source, IMAGES), atol=1e-6)


def test_simple_calibration_of_the_repaired_file_gives_what_was_found_by_repairing(tmp_path: Path) -> None:
    """What an engine's own calibration makes of both files."""
    path = exported(stretched(), tmp_path / "net.onnx")
    loaded = load_model(path)
    equalized = calibrate(loaded, IMAGES, "best")
    repaired = load_model(repair_file(equalized, tmp_path / "repaired.onnx", IMAGES).path)
    with torch.no_grad():
        exact = loaded(IMAGES)
        errors = [(calibrate(model, IMAGES, "simple")(IMAGES) - exact).square().mean() for model in (loaded, repaired)]
    assert errors[1] < errors[0] / 4


def test_equalized_weights_are_the_same_function(tmp_path: Path) -> None:
    model = stretched()
    model.depthwise[2] = nn.ReLU()  # no bound that a factor could cut off
    path = exported(model, tmp_path / "net.onnx")
    quantized = calibrate(load_model(path), IMAGES, ["equalization"])
    repaired = repair_file(quantized, tmp_path / "repaired.onnx", IMAGES)
    assert repaired.changes
    assert {each.why for each in repaired.changes} == {"equalization"}
    before, after = run(path, IMAGES), run(repaired.path, IMAGES)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))


WEIGHT, BIAS = np.arange(12, dtype=np.float32).reshape(3, 4) - 5, np.ones(4, np.float32)
MATRICES: dict[str, tuple[list[Any], dict[str, np.ndarray], list[str]]] = {
    "Gemm": ([node("Gemm", "x w b", alpha=0.5, beta=2.0)], {"w": WEIGHT, "b": BIAS}, ["w", "b"]),
    "turned": ([node("Gemm", "x w b", transB=1)], {"w": WEIGHT.T.copy(), "b": BIAS}, ["w", "b"]),
    "no bias": ([node("Gemm", "x w")], {"w": WEIGHT}, ["w", "y bias"]),
    "MatMul": ([node("MatMul", "x w")], {"w": WEIGHT}, ["w", "y bias"]),
    "joined": ([node("MatMul", "x w", "p"), node("Add", "p b")], {"w": WEIGHT, "b": BIAS}, ["w", "b"]),
    "shared": (
        [node("MatMul", "x w", "p"), node("Add", "p b"), node("MatMul", "x w", "z")],
        {"w": WEIGHT, "b": BIAS},
        ["y weight", "b"],
    ),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_matrices_are_written_as_the_file_has_them(kind: str, tmp_path: Path) -> None:
    nodes, weights, names = MATRICES[kind]
    outputs = ("y", "z") if kind == "shared" else ("y",)
    path = write(tmp_path / "net.onnx", nodes, weights, (1, 3), outputs=outputs)
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])
    quantized = with_weights(calibrate(load_model(path), x, "simple"), "y", torch.full((4, 3), 0.5), torch.arange(4.0))
    repaired = repair_file(quantized, tmp_path / "repaired.onnx", x[:1])
    assert [each.name for each in repaired.changes] == names
    torch.testing.assert_close(run(repaired.path, x), x.sum(1, keepdim=True) / 2 + torch.arange(4.0))


def with_weights(quantized: QuantizedModel, address: str, weight: Tensor, bias: Tensor) -> QuantizedModel:
    """A calibration that gives one layer these."""
    layer = next(each for each in quantized.plan.layers if each.site.path == address and each.is_weighted)
    own = quantized.weights(layer)
    assert own is not None
    weights = {layer.site: LayerWeights(weight, bias, own.made_from)}
    return quantized.change(calibration=quantized.calibration.change(weights=weights))


def test_trained_weights_are_written_too(tmp_path: Path) -> None:
    loaded = load_model(exported(stretched(), tmp_path / "net.onnx"))
    trained = copy.deepcopy(loaded)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.25)
    repaired = repair_file(calibrate(trained, IMAGES, "simple"), tmp_path / "repaired.onnx", IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(run(repaired.path, IMAGES), trained(IMAGES), rtol=1e-4, atol=1e-4)
    assert {each.why for each in repaired.changes} == {"changed in the module since it was loaded"}


def test_nothing_to_repair_leaves_every_constant(tmp_path: Path) -> None:
    path = exported(stretched(), tmp_path / "net.onnx")
    repaired = repair_file(calibrate(load_model(path), IMAGES, "simple"), tmp_path / "repaired.onnx")
    assert repaired.changes == ()
    assert onnx.load(path).graph == onnx.load(repaired.path).graph
    assert "Nothing was changed" in str(repaired)


def test_a_model_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not loaded from an ONNX file") as caught:
        repair_file(calibrate(settle(Small(), IMAGES), IMAGES, "simple"), tmp_path / "model.onnx")
    assert caught.value.code == "no-origin"
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_refused(network: QuantizedModel, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Give a file in a folder that exists"):
        repair_file(network, tmp_path / "nowhere" / "model.onnx")


def test_what_cannot_be_put_into_the_file_is_refused(tmp_path: Path) -> None:
    """A parameter outside of any layer, changed since the file was read."""
    nodes = [node("Conv", "x w", "c"), node("Mul", "c scale")]
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), "scale": np.ones((4, 1, 1), np.float32)}
    loaded = load_model(write(tmp_path / "net.onnx", nodes, weights))
    with torch.no_grad():
        loaded.get_parameter("scale").mul_(3)
    images = torch.rand(4, 3, 8, 8)
    with pytest.raises(ModelError, match="its outputs differ by"):
        repair_file(calibrate(loaded, images, "simple"), tmp_path / "repaired.onnx", images)
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
