# ruff: noqa: E501 - one case, one line
"""Every operator, in a file of its own, computes what ONNX Runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from qdiag import calibrate, compare, load_model, trace, verify
from qdiag.errors import InputError, ModelError
from tests.loading.files import node, write

rng = np.random.default_rng(0)


def f(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def i(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


# What a case holds: its name, nodes, constants, the shape of x, and the opset.
CASES: list[tuple[str, list[Any], dict[str, np.ndarray], tuple[int, ...], int]] = [
    ("conv", [node("Conv", "x w b", pads=[1, 1, 1, 1], strides=[2, 2])], {"w": f(4, 3, 3, 3), "b": f(4)}, (1, 3, 8, 8), 11),
    ("conv groups", [node("Conv", "x w", group=3, dilations=[2, 2])], {"w": f(6, 1, 3, 3)}, (1, 3, 8, 8), 17),
    ("conv uneven", [node("Conv", "x w", pads=[0, 0, 1, 1], strides=[2, 2])], {"w": f(4, 3, 3, 3)}, (1, 3, 8, 8), 17),
    ("conv same", [node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": f(4, 3, 3, 3)}, (1, 3, 7, 8), 17),
    ("conv lower", [node("Conv", "x w", auto_pad="SAME_LOWER")], {"w": f(4, 3, 2, 2)}, (1, 3, 7, 8), 17),
    ("conv 1d", [node("Conv", "x w")], {"w": f(4, 3, 3)}, (1, 3, 8), 17),
    ("conv 3d", [node("Conv", "x w")], {"w": f(4, 3, 2, 2, 2)}, (1, 3, 4, 4, 4), 17),
    ("transposed", [node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])], {"w": f(3, 4, 3, 3)}, (1, 3, 5, 5), 17),
    ("transposed uneven", [node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 0, 0])], {"w": f(3, 4, 3, 3)}, (1, 3, 5, 5), 17),
    ("gemm", [node("Gemm", "x w b", transB=1, alpha=0.5, beta=2.0)], {"w": f(5, 6), "b": f(5)}, (1, 6), 17),
    ("gemm plain", [node("Gemm", "x w")], {"w": f(6, 5)}, (1, 6), 17),
    ("matmul", [node("MatMul", "x w")], {"w": f(8, 5)}, (1, 3, 4, 8), 17),
    ("matmul bias", [node("MatMul", "x w", "p"), node("Add", "b p")], {"w": f(8, 5), "b": f(5)}, (1, 4, 8), 17),
    ("matmul both", [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], {}, (1, 4, 8), 17),
    ("batchnorm", [node("BatchNormalization", "x w b m v")], {"w": f(3), "b": f(3), "m": f(3), "v": abs(f(3)) + 1}, (1, 3, 8, 8), 9),
    ("instancenorm", [node("InstanceNormalization", "x w b")], {"w": f(3), "b": f(3)}, (1, 3, 8, 8), 17),
    ("layernorm", [node("LayerNormalization", "x w b", axis=-1)], {"w": f(8), "b": f(8)}, (1, 3, 8), 17),
    ("groupnorm", [node("GroupNormalization", "x w b", num_groups=2)], {"w": f(4), "b": f(4)}, (1, 4, 5, 5), 21),
    ("lrn", [node("LRN", "x", size=3)], {}, (1, 6, 5, 5), 17),
    ("lpnorm", [node("LpNormalization", "x", axis=1)], {}, (1, 6, 5, 5), 17),
    *[(op, [node(op, "x")], {}, (1, 3, 8, 8), 17) for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Selu", "Softplus", "Softsign", "Erf", "Exp", "Neg", "Abs", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Elu", "Celu", "LeakyRelu", "ThresholdedRelu", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Reciprocal")],
    ("mish", [node("Mish", "x")], {}, (1, 3, 8, 8), 18),
    ("gelu", [node("Gelu", "x")], {}, (1, 3, 8, 8), 20),
    ("gelu tanh", [node("Gelu", "x", approximate="tanh")], {}, (1, 3, 8, 8), 20),
    ("hardsigmoid", [node("HardSigmoid", "x")], {}, (1, 3, 8, 8), 17),
    ("hardsigmoid of torch", [node("HardSigmoid", "x", alpha=1 / 6)], {}, (1, 3, 8, 8), 17),
    ("clip", [node("Clip", "x low high")], {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}, (1, 3, 8, 8), 11),
    ("clip one side", [node("Clip", "x - high")], {"high": np.array(0.5, np.float32)}, (1, 3, 8, 8), 11),
    ("clip attributes", [node("Clip", "x", min=-1.0, max=0.5)], {}, (1, 3, 8, 8), 9),
    ("prelu", [node("PRelu", "x s")], {"s": f(3, 1, 1)}, (1, 3, 8, 8), 17),
    ("softmax", [node("Softmax", "x", axis=1)], {}, (1, 3, 4, 4), 13),
    ("softmax of old", [node("Softmax", "x", axis=1)], {}, (1, 3, 4, 4), 11),
    ("log softmax", [node("LogSoftmax", "x")], {}, (1, 10), 13),
    *[(f"{op} number", [node(op, "x c")], {"c": np.array(1.5, np.float32)}, (1, 3, 4, 4), 17) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")],
    *[(f"number {op}", [node(op, "c x")], {"c": np.array(1.5, np.float32)}, (1, 3, 4, 4), 17) for op in ("Add", "Sub", "Mul", "Div")],
    *[(f"{op} channels", [node(op, "x c")], {"c": f(3, 1, 1)}, (1, 3, 4, 4), 17) for op in ("Add", "Sub", "Mul", "Max")],
    ("pow", [node("Pow", "x c")], {"c": np.array(2, np.float32)}, (1, 3, 4, 4), 17),
    ("mod", [node("Mod", "x c", fmod=1)], {"c": np.array(0.3, np.float32)}, (1, 3, 4, 4), 17),
    ("sum", [node("Relu", "x", "r"), node("Sum", "x r x")], {}, (1, 3, 4, 4), 17),
    ("add self", [node("Relu", "x", "r"), node("Add", "x r")], {}, (1, 3, 4, 4), 17),
    ("where", [node("Greater", "x c", "m"), node("Where", "m x d")], {"c": np.array(0, np.float32), "d": f(1)}, (1, 3, 4, 4), 17),
    ("logic", [node("Less", "x c", "a"), node("Not", "a", "b"), node("Or", "a b", "o"), node("Cast", "o", to=TensorProto.FLOAT)], {"c": np.array(0, np.float32)}, (1, 3, 4, 4), 17),
    ("maxpool", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, (1, 3, 9, 9), 17),
    ("maxpool ceil", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, (1, 3, 8, 8), 17),
    ("maxpool uneven", [node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1])], {}, (1, 3, 7, 7), 17),
    ("maxpool uneven of 1d", [node("MaxPool", "x", kernel_shape=[4], strides=[2], pads=[1, 2])], {}, (1, 3, 9), 17),
    ("maxpool same", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")], {}, (1, 3, 8, 8), 17),
    ("avgpool", [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, (1, 3, 9, 9), 17),
    ("avgpool zeros", [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], {}, (1, 3, 9, 9), 17),
    ("avgpool at the end", [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])], {}, (1, 3, 8, 8), 9),
    ("avgpool of all", [node("AveragePool", "x", kernel_shape=[5, 5], pads=[0, 0, 1, 1])], {}, (1, 3, 4, 4), 9),
    ("avgpool same", [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")], {}, (1, 3, 8, 8), 17),
    *[(op, [node(op, "x", axes=[2, 3])], {}, (1, 3, 4, 4), 11) for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd")],
    ("mean of 18", [node("ReduceMean", "x a", keepdims=0)], {"a": i(-1)}, (1, 3, 4, 4), 18),
    ("argmax", [node("ArgMax", "x", axis=1)], {}, (1, 3, 4, 4), 17),
    ("topk", [node("TopK", "x k", "y at")], {"k": i(3)}, (1, 10), 17),
    ("reshape", [node("Reshape", "x s")], {"s": i(0, -1, 4)}, (1, 3, 4, 4), 17),
    ("reshape of 19", [node("Reshape", "x s", allowzero=0)], {"s": i(1, 12, 4)}, (1, 3, 4, 4), 19),
    ("flatten", [node("Flatten", "x")], {}, (1, 3, 4, 4), 17),
    ("transpose", [node("Transpose", "x", perm=[0, 2, 3, 1])], {}, (1, 3, 4, 5), 17),
    ("squeeze", [node("Squeeze", "x a")], {"a": i(2)}, (1, 3, 1, 5), 13),
    ("squeeze of old", [node("Squeeze", "x", axes=[2])], {}, (1, 3, 1, 5), 11),
    ("unsqueeze", [node("Unsqueeze", "x a")], {"a": i(1, -1)}, (1, 3, 5), 13),
    ("concat", [node("Relu", "x", "r"), node("Concat", "x r", axis=1)], {}, (1, 3, 4, 4), 17),
    ("split", [node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)], {"s": i(1, 2)}, (1, 3, 4, 4), 13),
    ("split in one", [node("Split", "x", "y", axis=1, num_outputs=1)], {}, (1, 3, 4, 4), 18),
    ("split of 18", [node("Split", "x", "a b", axis=1, num_outputs=2), node("Concat", "b a", axis=1)], {}, (1, 3, 4, 4), 18),
    ("slice", [node("Slice", "x s e a t")], {"s": i(1), "e": i(2**62), "a": i(2), "t": i(2)}, (1, 3, 6, 4), 13),
    ("slice back", [node("Slice", "x s e a t")], {"s": i(-1), "e": i(-(2**62)), "a": i(2), "t": i(-1)}, (1, 3, 6, 4), 13),
    ("slice back a part", [node("Slice", "x s e a t")], {"s": i(4, -1), "e": i(0, -4), "a": i(2, -1), "t": i(-2, -1)}, (1, 3, 6, 4), 13),
    ("slice back to the front", [node("Slice", "x s e a t")], {"s": i(2), "e": i(-99), "a": i(2), "t": i(-1)}, (1, 3, 6, 4), 13),
    ("slice of old", [node("Slice", "x", starts=[0, 1], ends=[3, -1], axes=[1, 2])], {}, (1, 3, 6, 4), 9),
    ("gather", [node("Gather", "x n", axis=1)], {"n": i(2, 0, -1)}, (1, 3, 4, 4), 17),
    ("gather one", [node("Gather", "x n", axis=2)], {"n": np.array(1)}, (1, 3, 4, 4), 17),
    ("gather elements", [node("GatherElements", "x n", axis=1)], {"n": i([[0, 1], [2, 1]])[:, :, None][:, :1].reshape(1, 2, 1)}, (1, 3, 1), 17),
    ("gather nd", [node("GatherND", "x n")], {"n": i([[0, 1], [0, 2]])}, (1, 3, 4), 17),
    ("scatter nd", [node("ScatterND", "x n u")], {"n": i([0, 1], [0, 2]), "u": f(2, 4)}, (1, 3, 4), 17),
    ("expand", [node("Expand", "x s")], {"s": i(1, 3, 4, 4)}, (1, 3, 1, 4), 17),
    ("tile", [node("Tile", "x s")], {"s": i(1, 2, 1, 3)}, (1, 3, 2, 4), 17),
    ("pad", [node("Pad", "x p v")], {"p": i(0, 0, 1, 2, 0, 0, 3, 0), "v": np.array(0.5, np.float32)}, (1, 3, 4, 4), 13),
    ("pad reflect", [node("Pad", "x p", mode="reflect")], {"p": i(0, 0, 1, 2, 0, 0, 1, 1)}, (1, 3, 4, 4), 13),
    ("pad of old", [node("Pad", "x", mode="edge", pads=[0, 0, 1, 2, 0, 0, 1, 1])], {}, (1, 3, 4, 4), 9),
    ("depth to space", [node("DepthToSpace", "x", blocksize=2)], {}, (1, 8, 4, 4), 17),
    ("pixel shuffle", [node("DepthToSpace", "x", blocksize=2, mode="CRD")], {}, (1, 8, 4, 4), 17),
    ("space to depth", [node("SpaceToDepth", "x", blocksize=2)], {}, (1, 2, 4, 4), 17),
    ("resize nearest", [node("Resize", "x - s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], {"s": np.array([1, 1, 2, 2], np.float32)}, (1, 3, 4, 4), 13),
    ("resize linear", [node("Resize", "x - - s", mode="linear")], {"s": i(1, 3, 7, 9)}, (1, 3, 4, 4), 13),
    ("resize corners", [node("Resize", "x - - s", mode="linear", coordinate_transformation_mode="align_corners")], {"s": i(1, 3, 7, 9)}, (1, 3, 4, 4), 13),
    ("resize cubic", [node("Resize", "x - s", mode="cubic")], {"s": np.array([1, 1, 2, 2], np.float32)}, (1, 3, 4, 4), 13),
    ("resize between pixels", [node("Resize", "x - s", mode="nearest", nearest_mode="ceil")], {"s": np.array([1, 1, 1.5, 0.5], np.float32)}, (1, 3, 8, 8), 13),
    ("resize of corners nearest", [node("Resize", "x - s", coordinate_transformation_mode="align_corners")], {"s": np.array([1, 1, 1.5, 2.5], np.float32)}, (1, 3, 8, 8), 13),
    ("resize from the first pixel", [node("Resize", "x - s", mode="linear", coordinate_transformation_mode="asymmetric")], {"s": np.array([1, 1, 2, 1.5], np.float32)}, (1, 3, 8, 8), 13),
    ("resize some axes", [node("Resize", "x - s", mode="nearest", axes=[3, 2])], {"s": np.array([2, 3], np.float32)}, (1, 3, 4, 4), 18),
    ("resize some axes to a size", [node("Resize", "x - - s", mode="linear", axes=[2])], {"s": i(7)}, (1, 3, 4, 4), 18),
    ("mean of several", [node("Relu", "x", "r"), node("Mean", "x r x")], {}, (1, 3, 4, 4), 17),
    ("resize smooth", [node("Resize", "x - - s", mode="linear", antialias=1, exclude_outside=1)], {"s": i(1, 3, 3, 3)}, (1, 3, 8, 8), 18),
    ("resize smooth cubic", [node("Resize", "x - - s", mode="cubic", antialias=1, exclude_outside=1, cubic_coeff_a=-0.5)], {"s": i(1, 3, 3, 3)}, (1, 3, 8, 8), 18),
    ("resize of 10", [node("Resize", "x s")], {"s": np.array([1, 1, 2, 2], np.float32)}, (1, 3, 4, 4), 10),
    ("upsample", [node("Upsample", "x s")], {"s": np.array([1, 1, 2, 2], np.float32)}, (1, 3, 4, 4), 9),
    ("grid", [node("GridSample", "x g", align_corners=1)], {"g": f(1, 5, 5, 2) / 2}, (1, 3, 4, 4), 16),
    ("trilu", [node("Trilu", "x", upper=0)], {}, (1, 4, 4), 17),
    ("cumsum", [node("CumSum", "x a")], {"a": np.array(1)}, (1, 4, 4), 17),
    ("einsum", [node("Einsum", "x w", equation="bij,jk->bik")], {"w": f(4, 5)}, (1, 3, 4), 17),
    ("dropout", [node("Dropout", "x")], {}, (1, 3, 4), 13),
    ("dropout with a mask", [node("Dropout", "x", "y mask")], {}, (1, 3, 4), 9),
    ("maxpool with places", [node("MaxPool", "x", "y places", kernel_shape=[2, 2])], {}, (1, 3, 4, 4), 17),
]  # fmt: skip


# Their constants are one image's own values.
ONE_IMAGE = {"gather elements", "gather nd", "scatter nd", "grid"}


@pytest.mark.parametrize(("name", "nodes", "constants", "shape", "opset"), CASES, ids=[case[0] for case in CASES])
def test_an_operator_computes_what_onnx_runtime_does(
    tmp_path: Path, name: str, nodes: list[Any], constants: dict[str, np.ndarray], shape: tuple[int, ...], opset: int
) -> None:
    """Loading holds every node against ONNX Runtime; here the module is, on four other images."""
    file = write(tmp_path / "net.onnx", nodes, constants, shape, opset=opset)
    model = load_model(file)
    session = onnxruntime.InferenceSession(file)
    images = torch.randn(4, *shape[1:], generator=torch.Generator().manual_seed(1))
    if name in ONE_IMAGE:
        with pytest.raises(InputError, match="takes 1 image"):
            model(images)
        images = images[:1]
    with torch.no_grad():
        ours = model(images)
    theirs = np.concatenate([session.run(["y"], {"x": one[None].numpy()})[0] for one in images])
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (node("STFT", "x s - n"), "STFT 'STFT_y' (opset 17) is an operator that qdiag does not know"),
        (node("LSTM", "x w w", hidden_size=4), "LSTM 'LSTM_y' (opset 17) is a recurrent layer, which is not simulated"),
        (node("Loop", "s - x"), "Loop 'Loop_y' (opset 17) is control flow"),
        (
            node("Resize", "x - s", mode="cubic", coordinate_transformation_mode="tf_crop_and_resize"),
            "grid 'tf_crop_and_resize'",
        ),
        (node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2], pads=[0, 0, 1, 1]), "around a window with holes"),
        (node("Dropout", "x", "z y"), "Dropout 'Dropout_z' (opset 17) gives its mask beside its result"),
        (node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 0, 0]), "pads its two sides differently"),
        (node("ConvTranspose", "x w", auto_pad="SAME_UPPER"), "has auto_pad SAME"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, made: Any, named: str) -> None:
    file = write(tmp_path / "net.onnx", [made], {"s": i(4), "n": i(4), "w": f(3, 4, 3, 3)})
    with pytest.raises(ModelError, match="cannot be loaded") as refused:
        load_model(file, check=False)
    assert named in str(refused.value)


def test_a_constant_standardized_by_its_own_statistics_is_a_constant(tmp_path: Path) -> None:
    """As networks without BatchNorm standardize their weights."""
    weight = np.random.default_rng(0).normal(size=(1, 4, 27)).astype(np.float32)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    nodes = [
        node("BatchNormalization", "w one zero zero one", "n m v", training_mode=1),
        node("Reshape", "n shape", "kernel"),
        node("Conv", "x kernel"),
    ]
    constants = {"w": weight, "one": ones, "zero": zeros, "shape": np.array([4, 3, 3, 3])}
    sites = trace(load_model(write(tmp_path / "net.onnx", nodes, constants)), torch.zeros(1, 3, 8, 8)).sites()
    assert [site.op for site in sites] == ["conv2d"]


@pytest.mark.parametrize("edges", [{"pads": [0, 0, 1, 1]}, {"auto_pad": "SAME_UPPER"}])
def test_padding_of_a_maximum_leaves_the_range_as_it_is(tmp_path: Path, edges: dict[str, Any]) -> None:
    """Values that never win would need a scale of 2^121, and leave nothing of the others."""
    nodes = [node("Conv", "x w", "c"), node("MaxPool", "c", kernel_shape=[3, 3], strides=[2, 2], **edges)]
    model = load_model(write(tmp_path / "net.onnx", nodes, {"w": f(4, 3, 1, 1)}))
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert compare(model, images).outputs["8-bit"].sqnr_db > 25
    verification = verify(calibrate(model, images, "simple"), images[:2])
    assert verification.equal == verification.values
