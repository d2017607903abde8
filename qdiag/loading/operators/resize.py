"""Resize, its older form Upsample, and GridSample."""

import math
from typing import Any

from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import Getitem, IndexSelect, Interpolate, operation

AXES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _resize(node: Operands) -> Step:
    """By scales or to a size, of the axes behind the channels."""
    first = 1 if node.opset < 11 or node.node.op == "Upsample" else 2  # from 11 on, a region comes before the scales
    scales = _of_all_axes(node, node.known(first, "scales"), [1.0] * node.rank())
    size = node.numbers(3) if first == 2 else None
    size = size if isinstance(size, Ref) else _of_all_axes(node, size, node.shape())
    _check(node)
    if scales and any(scale != 1 for scale in scales[: -_spatial(node)]):
        node.refuse("resizes the images' number or their channels")
    if size is None and not scales:
        node.refuse("has neither scales nor a size")
    factors = _scales(node, scales, size)
    mode, align_corners = _torch_mode(node, factors)
    if mode is None:
        return _picked(node, factors)
    if mode in AXES.values() and _grid(node) == "asymmetric" and any(factor != 1 for factor in factors):
        return _asymmetric(node, factors)
    scaled = None if size is not None else [float(scale) for scale in (scales or [])[-_spatial(node) :]]
    module = Interpolate(mode, align_corners, bool(node.get("antialias", 0)))
    return node.step(module, node.tensor(0), size, scaled)


def _of_all_axes(node: Operands, given: list[Any] | Ref | None, own: list[Any]) -> list[Any] | None:
    """Scales or lengths of the axes that the node names, with what the others have."""
    assert not isinstance(given, Ref), "asked before"
    axes = node.get("axes")
    if not given or axes is None:
        return given or None
    whole = list(own)
    for axis, value in zip(axes, given, strict=True):
        whole[axis] = value
    return whole


def _spatial(node: Operands) -> int:
    return node.rank() - 2


def _grid(node: Operands) -> str:
    found: str = node.get("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric")
    return found


def _check(node: Operands) -> None:
    """Refuse what torch has not: without antialiasing, it repeats the edge; with it, it leaves out what lies beyond."""
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse(f"has keep_aspect_ratio_policy={node.get('keep_aspect_ratio_policy')!r}")
    if node.get("antialias", 0) and (node.get("mode", "nearest") == "nearest" or _spatial(node) != 2):
        node.refuse("has antialias=1 where torch has none")
    if node.get("exclude_outside", 0) and not node.get("antialias", 0):
        node.refuse("has exclude_outside=1")
    if _grid(node) in ("tf_half_pixel_for_nn", "tf_crop_and_resize"):
        node.refuse(f"samples on the grid {_grid(node)!r}, which torch does not have", "Export with 'half_pixel'")
    coefficient = -0.5 if node.get("antialias", 0) else -0.75
    if node.get("mode") == "cubic" and abs(node.get("cubic_coeff_a", -0.75) - coefficient) > 1e-6:
        node.refuse(f"has cubic_coeff_a={node.get('cubic_coeff_a', -0.75)}, and torch has {coefficient} there")


def _scales(node: Operands, scales: list[Any] | None, size: list[Any] | Ref | None) -> list[float]:
    """How much larger each axis becomes on the example."""
    axes = _spatial(node)
    if size is None:
        return [float(scale) for scale in (scales or [])[-axes:]]
    wanted = (node.known(3) if isinstance(size, Ref) else size) or []
    return [float(to) / length for to, length in zip(wanted[-axes:], node.shape()[-axes:], strict=True)]


# Nearest ------------------------------------------------------------------------------------------------


def _torch_nearest(node: Operands, factors: list[float]) -> str | None:
    """torch's mode that picks the same places on the example; None where it has none."""
    pairs = _pairs(node, factors)
    wanted = [_nearest(node, length, factor) for length, factor in pairs]
    for mode, shift in (("nearest", 0.0), ("nearest-exact", 0.5)):
        found = [
            [min(int((place + shift) / factor), length - 1) for place in range(len(places))]
            for places, (length, factor) in zip(wanted, pairs, strict=True)
        ]
        if found == wanted:
            return mode
    return None


def _pairs(node: Operands, factors: list[float]) -> list[tuple[int, float]]:
    return list(zip(node.shape()[-len(factors) :], factors, strict=True))


def _nearest(node: Operands, length: int, factor: float) -> list[int]:
    """The places that are picked along an axis."""
    count = int(length * factor + 1e-6)
    rule = node.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")
    rounded = ROUNDINGS[rule]
    return [
        min(max(rounded(_source(_grid(node), place, length, count, factor)), 0), length - 1) for place in range(count)
    ]


def _source(grid: str, place: int, length: int, count: int, factor: float) -> float:
    """Where a place of the result lies in the input. Raises KeyError for a grid that is unknown."""
    if grid == "asymmetric":
        return place / factor
    if grid == "align_corners":
        return place * (length - 1) / (count - 1) if count > 1 else 0.0
    if grid == "pytorch_half_pixel" and count == 1:
        return 0.0
    return (place + 0.5) / factor - 0.5


ROUNDINGS = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _picked(node: Operands, factors: list[float]) -> Step:
    """Nearest values where torch would take others: picked by their places, for images of the file's size."""
    _check_size(node)
    x = node.tensor(0)
    places = [_nearest(node, length, factor) for length, factor in _pairs(node, factors)]
    first = node.rank() - len(factors)
    for number, picked in enumerate(places[:-1]):
        x = node.before(
            IndexSelect(first + number), x, node.numbers_as_constant(picked), suffix=f"axis{first + number}"
        )
    return node.step(IndexSelect(node.rank() - 1), x, node.numbers_as_constant(places[-1]))


def _check_size(node: Operands) -> None:
    if any(None in given.shape[1:] for given in node.graph.inputs):
        node.refuse("samples on a grid that torch does not have", "Export with 'half_pixel', or for one size of image")


# Linear and cubic ---------------------------------------------------------------------------------------


def _asymmetric(node: Operands, factors: list[float]) -> Step:
    """Linear on a grid from the first pixel on: corners aligned, of an image whose last pixels are there twice.

    n + 1 pixels, of which n * factor + 1 are made with aligned corners, have a distance of 1 / factor.
    """
    lengths = node.shape()[-len(factors) :]
    counts = [length * factor for length, factor in zip(lengths, factors, strict=True)]
    if any(abs(count - round(count)) > 1e-6 for count in counts):
        node.refuse("interpolates on the grid 'asymmetric', which torch does not have", "Export with 'half_pixel'")
    _check_size(node)
    axes, whole = len(factors), [round(count) for count in counts]
    longer = node.before(operation("pad"), node.tensor(0), [0, 1] * axes, "replicate", suffix="longer")
    sizes = [*node.shape()[:-axes], *(count + 1 for count in whole)]
    resized = node.before(Interpolate(AXES[axes], True), longer, sizes, None, suffix="resized")
    spatial = list(range(node.rank() - axes, node.rank()))
    return node.step(Getitem(), resized, [0] * axes, whole, spatial, [1] * axes)


def _torch_mode(node: Operands, factors: list[float]) -> tuple[str | None, bool | None]:
    """torch's mode, None where it has none; and whether corners are aligned."""
    kind = node.get("mode", "nearest")
    if kind == "nearest":
        return _torch_nearest(node, factors), None
    if kind == "cubic" and _grid(node) == "asymmetric":
        node.refuse("interpolates on the grid 'asymmetric', which torch does not have", "Export with 'half_pixel'")
    mode = "bicubic" if kind == "cubic" else AXES[_spatial(node)]
    return mode, _grid(node) == "align_corners"


def _grid_sample(node: Operands) -> Step:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(kind := node.get("mode", "bilinear"), kind)
    edges, corners = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return node.step(operation("grid_sample"), node.tensor(0), node.tensor(1), mode, edges, corners)


OPERATORS: dict[str, Converter] = {"Resize": _resize, "Upsample": _resize, "GridSample": _grid_sample}
