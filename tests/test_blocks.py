import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.blocks import AddBlock, CatBlock, Mode, ResizeWith, resize_with
from qdiag.errors import InputError, OptionError

Options = dict[str, Any]

X = torch.arange(24.0).reshape(1, 2, 3, 4)


def test_add_block_sums_all_its_tensors_and_leaves_them_alone() -> None:
    parts = [X.clone(), 2 * X, X.flip(-1)]
    before = copy.deepcopy(parts)
    assert torch.equal(AddBlock()(*parts), X + 2 * X + X.flip(-1))
    assert all(torch.equal(part, kept) for part, kept in zip(parts, before, strict=True))


@pytest.mark.parametrize("block", [AddBlock(), CatBlock()])
def test_tensors_come_one_by_one_or_in_a_list_or_tuple(block: nn.Module) -> None:
    assert torch.equal(block([X, -X]), block(X, -X))
    assert torch.equal(block((X, -X)), block(X, -X))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_block_joins_along_its_dimension(dim: int) -> None:
    assert torch.equal(CatBlock(dim)(X, 3 * X), torch.cat([X, 3 * X], dim))


@pytest.mark.parametrize("block", [AddBlock(), CatBlock()])
@pytest.mark.parametrize("nothing", [(), ([],)])
def test_a_block_without_tensors_says_how_to_call_it(block: nn.Module, nothing: tuple[list[Tensor], ...]) -> None:
    with pytest.raises(InputError, match=r"Block was called without a tensor.*block\(x, y\)"):
        block(*nothing)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(6, 8), (3, 4), (6, 4), (2, 2), (5, 7)])
def test_a_resize_to_a_size_or_a_reference_is_interpolate_to_that_size(mode: Mode, size: tuple[int, int]) -> None:
    corners = {"align_corners": False} if mode == "bilinear" else {}
    expected = F.interpolate(X, size=size, mode=mode, **corners)
    torch.testing.assert_close(ResizeWith(size=size, mode=mode)(X), expected)
    torch.testing.assert_close(ResizeWith(mode=mode)(X, torch.zeros(1, 9, *size)), expected)
    torch.testing.assert_close(resize_with(X, size, mode=mode), expected)


def test_one_size_serves_height_and_width() -> None:
    assert resize_with(X, size=5).shape == (1, 2, 5, 5)


def test_a_resize_by_a_scale_factor_is_interpolate_by_it() -> None:
    expected = F.interpolate(X, scale_factor=(2.0, 1.5), mode="bilinear", align_corners=False)
    assert torch.equal(ResizeWith(scale_factor=(2.0, 1.5), mode="bilinear")(X), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resize_with(X), "exactly one of"),
        (lambda: resize_with(X, size=4, scale_factor=2), "exactly one of"),
        (lambda: ResizeWith(scale_factor=2)(X, X), "exactly one of"),
        (lambda: resize_with(X, size=(1, 3, 4)), "a height and a width"),
        (lambda: ResizeWith(size=4, scale_factor=2), "both size and scale_factor"),
        (lambda: ResizeWith(size=4, mode=cast("Mode", "bicubic")), "No resize mode 'bicubic'"),
        (lambda: resize_with(X, size=4, mode="bilinear", align_corners=True), "align_corners"),
    ],
)
def test_resize_options_not_on_offer_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


class Neck(nn.Module):
    """Resizes the second of two feature maps to the size of the first, and joins them."""

    def __init__(self, resize: ResizeWith, with_reference: bool) -> None:
        super().__init__()
        self.resize = resize
        self.with_reference = with_reference
        self.cat = CatBlock()

    def forward(self, large: Tensor, small: Tensor) -> Tensor:
        return self.cat(large, self.resize(small, large) if self.with_reference else self.resize(small))


LARGE, SMALL = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 8, 8)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("options", [{}, {"size": (16, 16)}, {"scale_factor": 2.0}])
def test_a_static_resize_exports_to_one_clean_onnx_node(options: Options, mode: Mode, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="reads the exported graph")
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    neck = Neck(ResizeWith(mode=mode, **options), with_reference=not options).eval()
    path = tmp_path / "neck.onnx"
    torch.onnx.export(neck, (LARGE, SMALL), path, dynamo=True, verbose=False)
    assert _operations(path) == ["Concat", "Resize"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter announces its own end
@pytest.mark.parametrize("options", [{}, {"size": (16, 16)}, {"scale_factor": 2.0}])
def test_a_whole_enlargement_is_as_clean_from_the_older_exporter(options: Options, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="reads the exported graph")
    neck = Neck(ResizeWith(**options), with_reference=not options).eval()
    path = tmp_path / "neck.onnx"
    torch.onnx.export(neck, (LARGE, SMALL), path, dynamo=False)
    assert _operations(path) == ["Concat", "Constant", "Resize"]


def test_the_exported_resize_computes_the_same_in_onnx_runtime(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported graph")
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    neck = Neck(ResizeWith(mode="bilinear"), with_reference=True).eval()
    path = tmp_path / "neck.onnx"
    torch.onnx.export(neck, (LARGE, SMALL), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    (output,) = session.run(None, dict(zip(names, (LARGE.numpy(), SMALL.numpy()), strict=True)))
    torch.testing.assert_close(torch.from_numpy(output), neck(LARGE, SMALL))


def test_a_reference_of_dynamic_size_stays_dynamic_in_torch_export() -> None:
    height = torch.export.Dim("height", min=4, max=64)
    neck = Neck(ResizeWith(), with_reference=True).eval()
    program = torch.export.export(neck, (LARGE, SMALL), dynamic_shapes=({2: height}, None))
    other = torch.randn(1, 3, 24, 16)
    torch.testing.assert_close(program.module()(other, SMALL), neck(other, SMALL))


def _operations(path: Path) -> list[str]:
    import onnx

    return sorted(node.op_type for node in onnx.load(path).graph.node)
