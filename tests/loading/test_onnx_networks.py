"""Whole networks as ONNX files: names, layers put together again, numbers of images, and every verb."""

import copy
import io
import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag import calibrate, compare, export_onnx, lint_model, load_model, trace, verify
from qdiag.errors import InputError, ModelError
from qdiag.loading import reference
from tests.loading.files import node, write


def export(model: nn.Module, images: Tensor, path: Path, opset: int, *, dynamo: bool, optimize: bool = True) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                model.eval(), (images,), path, opset_version=opset, dynamo=dynamo, optimize=optimize, verbose=False
            )
        finally:
            logging.disable(logging.NOTSET)
    return path


def network(name: str) -> nn.Module:
    """With weights that tell one class from another, and statistics that are not those of a fresh BatchNorm."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


@pytest.mark.parametrize(
    ("name", "opset", "dynamo"),
    [
        ("mobilenet_v3_small", 11, False),
        ("shufflenet_v2_x0_5", 20, True),
    ],
)
def test_a_network_computes_what_it_did_for_any_number_of_images(
    tmp_path: Path, name: str, opset: int, dynamo: bool
) -> None:
    model, images = network(name), torch.randn(4, 3, 64, 64)
    loaded = load_model(export(model, images[:1], tmp_path / "net.onnx", opset, dynamo=dynamo))
    with torch.no_grad():
        assert reference.difference(loaded(images), model(images)) < 1e-4
        assert reference.difference(loaded(images[:1]), model(images[:1])) < 1e-4


class Small(nn.Module):
    """A block with a shortcut, gated by its own mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        deep = self.deep(x)
        return self.head((x + deep * self.gate(deep)).mean((2, 3)))


@pytest.mark.parametrize(("opset", "dynamo"), [(13, False), (18, True)])
def test_every_verb_takes_a_loaded_file(tmp_path: Path, opset: int, dynamo: bool) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    loaded = load_model(export(Small(), images[:1], tmp_path / "net.onnx", opset, dynamo=dynamo))
    assert lint_model(loaded, images).model_name == "net"
    quantized = calibrate(loaded, images, "simple")
    assert compare(loaded, images).outputs["16-bit"].sqnr_db > 60
    exported = export_onnx(quantized, tmp_path / "integers.onnx", images[:2])
    assert exported.dynamic_batch
    verified = verify(quantized, images)
    assert verified.equal == verified.values


class Tail(nn.Module):
    """What exporters take apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.conv(x))
        x = self.norm(F.hardswish(x).permute(0, 2, 3, 1))
        return F.gelu(F.relu(F.gelu(self.head(x))), approximate="tanh")


@pytest.mark.parametrize(
    ("opset", "dynamo", "optimize"), [(11, False, True), (17, False, True), (18, True, True), (18, True, False)]
)
def test_what_exporters_take_apart_is_one_layer_again(tmp_path: Path, opset: int, dynamo: bool, optimize: bool) -> None:
    """Also where a file, not optimized, computes its constants."""
    images = torch.randn(1, 3, 8, 8)
    loaded = load_model(export(Tail(), images, tmp_path / "t.onnx", opset, dynamo=dynamo, optimize=optimize))
    ops = [site.op for site in trace(loaded, images).sites()]
    assert ops == ["conv2d", "silu", "hardswish", "permute", "layer_norm", "linear", "gelu", "relu", "gelu"]
    approximations = [module.approximate for module in loaded.modules() if isinstance(module, nn.GELU)]
    assert approximations == ["none", "tanh"]


class Halves(nn.Module):
    """Channels in two, one half behind a convolution without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return torch.cat([self.conv(a), b], 1)


def test_a_file_that_is_not_optimized_is_the_same_network(tmp_path: Path) -> None:
    """Biases of zeros that it computes, and parts of a tensor that it takes from a sequence."""
    torch.manual_seed(0)
    model, images = Halves().eval(), torch.randn(3, 4, 8, 8)
    loaded = load_model(export(model, images[:1], tmp_path / "net.onnx", 18, dynamo=True, optimize=False))
    assert [site.op for site in trace(loaded, images).sites()] == ["split", "conv2d", "batch_norm", "cat"]
    assert [module.bias for module in loaded.modules() if isinstance(module, nn.Conv2d)] == [None]
    assert torch.equal(loaded(images), model(images))


def test_addresses_are_the_files_own_names(tmp_path: Path) -> None:
    """Also where a name is part of another, holds dots and slashes, or is an attribute of every module."""
    names = ["/features/0.1/conv", "a", "a.b", "float", "weight.2"]
    nodes: list[onnx.NodeProto] = []
    given = "x"
    for name in names:
        nodes.append(node("Conv", f"{given} w.{len(nodes)}", name))
        given = name
    constants = {f"w.{i}": np.random.default_rng(i).normal(size=(3, 3, 1, 1)).astype(np.float32) for i in range(5)}
    file = write(tmp_path / "net.onnx", [*nodes, node("Relu", given)], constants)
    sites = trace(load_model(file), torch.zeros(1, 3, 8, 8)).sites()
    assert [str(site) for site in sites] == ["/features/0.1/conv", "a", "a.b", "float_", "weight.2", "y"]


def test_nodes_without_a_name_or_with_anothers_are_held_against_onnx_runtime_too(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Relu", ["x"], ["a"]), *(node("Relu", "a", name) for name in ("b", "y"))]
    nodes[1].name = nodes[2].name = "twice"
    sites = trace(load_model(write(tmp_path / "net.onnx", nodes)), torch.zeros(1, 3, 8, 8)).sites()
    assert [str(site) for site in sites] == ["a", "b", "y"]


def test_a_finding_says_which_node_of_which_file(tmp_path: Path) -> None:
    file = write(tmp_path / "net.onnx", [node("Relu", "x")])
    call = trace(load_model(file), torch.zeros(1, 3, 8, 8)).calls[0]
    assert str(call.source) == f"{tmp_path.name}/net.onnx: Relu 'Relu_y'"


def test_sizes_that_follow_from_the_image_stay_numbers(tmp_path: Path) -> None:
    """Shape, Gather and Concat before a Reshape leave nothing in the trace, and export with any number of images."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n"),
        node("Unsqueeze", "n axis", "n1"),
        node("Concat", "n1 rest", "target", axis=0),
        node("Conv", "x w", "c"),
        node("Reshape", "c target"),
    ]
    constants = {
        "zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]),
        "w": np.ones((2, 3, 1, 1), np.float32),
    }  # fmt: skip
    loaded = load_model(write(tmp_path / "net.onnx", nodes, constants, ("batch", 3, 8, 8)))
    assert [site.op for site in trace(loaded, torch.zeros(2, 3, 8, 8)).sites()] == ["conv2d", "reshape"]
    quantized = calibrate(loaded, torch.randn(4, 3, 8, 8), "simple")
    assert export_onnx(quantized, tmp_path / "integers.onnx").dynamic_batch


def test_a_network_that_mixes_its_images_takes_as_many_as_the_file_says(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x s", "flat"), node("Softmax", "flat", "soft", axis=0), node("Reshape", "soft t")]
    constants = {"s": np.array([-1]), "t": np.array([1, 3, 8, 8])}
    loaded = load_model(write(tmp_path / "net.onnx", nodes, constants))
    loaded(torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"takes 1 image.*net\.onnx holds that number"):
        loaded(torch.zeros(2, 3, 8, 8))


def test_half_precision_is_read_in_float32(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float16)
    file = write(tmp_path / "net.onnx", [node("Conv", "x w")], {"w": weight}, kind=onnx.TensorProto.FLOAT16)
    loaded = load_model(file)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(next(loaded.parameters()), torch.from_numpy(weight).float())


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    file = write(tmp_path / "net.onnx", [node("Conv", "x w")], {"w": weight})
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert torch.equal(next(load_model(file).parameters()), torch.from_numpy(weight))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match="files with its weights"):
        load_model(file)


def test_a_node_that_computes_something_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a converter be wrong, loading says where."""
    from qdiag.loading.operators import table

    file = write(tmp_path / "net.onnx", [node("Relu", "x", "r"), node("Tanh", "r")])
    monkeypatch.setitem(table.OPERATORS, "Tanh", table.OPERATORS["Sigmoid"])
    with pytest.raises(ModelError, match=r"Tanh 'Tanh_y' \(opset 17\) computes something else .* 'y' differs"):
        load_model(file)


def test_several_results_come_by_their_names(tmp_path: Path) -> None:
    file = write(
        tmp_path / "net.onnx", [node("Relu", "x", "boxes"), node("Tanh", "x", "scores")], outputs=("boxes", "scores")
    )
    assert list(load_model(file)(torch.zeros(2, 3, 8, 8))) == ["boxes", "scores"]


def test_a_loaded_model_can_be_copied_and_pickled(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 8, 8)
    loaded = load_model(export(Tail(), images[:1], tmp_path / "tail.onnx", 18, dynamo=True))
    assert torch.equal(copy.deepcopy(loaded)(images), loaded(images))
    assert torch.equal(pickle.loads(pickle.dumps(loaded))(images), loaded(images))
    kept = io.BytesIO()
    torch.save(loaded.state_dict(), kept)


def test_yolox_as_it_is_found(shared_data: Path) -> None:
    import onnxruntime

    file = shared_data / "yolox_nano" / "yolox_nano_416.onnx"
    loaded, images = load_model(file), torch.rand(2, 3, 416, 416) * 255
    session = onnxruntime.InferenceSession(file)
    with torch.no_grad():
        ours = loaded(images)
    for one, image in zip(ours, images, strict=True):
        theirs = torch.from_numpy(session.run(None, {"images": image[None].numpy()})[0][0])
        assert reference.difference(one, theirs) < 1e-4
    assert sum(site.op == "silu" for site in trace(loaded, images[:1]).sites()) == 104
