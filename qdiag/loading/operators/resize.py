"""Resize, its older form Upsample, and GridSample."""

from typing import Any

from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import Interpolate, operation

AXES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _resize(node: Operands) -> Step:
    """By scales or to a size, of the axes behind the channels."""
    first = 1 if node.opset < 11 or node.node.op == "Upsample" else 2  # from 11 on, a region comes before the scales
    scales = node.known(first, "scales")
    size = node.numbers(3) if first == 2 else None
    _check(node)
    if scales and any(scale != 1 for scale in scales[: -_spatial(node)]):
        node.refuse("resizes the images' number or their channels")
    mode, align_corners = _torch_mode(node, _scales(node, scales, size))
    if size is None and not scales:
        node.refuse("has neither scales nor a size")
    factors = None if size is not None else [float(scale) for scale in (scales or [])[-_spatial(node) :]]
    module = Interpolate(mode, align_corners, bool(node.get("antialias", 0)))
    return node.step(module, node.tensor(0), size, factors)


def _spatial(node: Operands) -> int:
    return node.rank() - 2


def _check(node: Operands) -> None:
    """Refuse what torch has not: without antialiasing, it repeats the edge; with it, it leaves out what lies beyond."""
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse(f"has keep_aspect_ratio_policy={node.get('keep_aspect_ratio_policy')!r}")
    if node.get("antialias", 0) and (node.get("mode", "nearest") == "nearest" or _spatial(node) != 2):
        node.refuse("has antialias=1 where torch has none")
    if node.get("exclude_outside", 0) and not node.get("antialias", 0):
        node.refuse("has exclude_outside=1")
    coefficient = -0.5 if node.get("antialias", 0) else -0.75
    if node.get("mode") == "cubic" and abs(node.get("cubic_coeff_a", -0.75) - coefficient) > 1e-6:
        node.refuse(f"has cubic_coeff_a={node.get('cubic_coeff_a', -0.75)}, and torch has {coefficient} there")
    if node.get("axes") is not None:
        node.refuse("names the axes that it resizes")


def _scales(node: Operands, scales: list[Any] | None, size: list[Any] | Ref | None) -> list[float]:
    """How much larger each axis becomes on the example."""
    axes = _spatial(node)
    if size is None:
        return [float(scale) for scale in (scales or [])[-axes:]]
    wanted = (node.known(3) or [])[-axes:]
    return [float(to) / length for to, length in zip(wanted, node.shape()[-axes:], strict=True)]


def _torch_mode(node: Operands, factors: list[float]) -> tuple[str, bool | None]:
    """torch's mode, and whether corners are aligned. Raises ModelError for a grid that torch does not have."""
    kind = node.get("mode", "nearest")
    grid = node.get("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric")
    whole = all(factor == int(factor) for factor in factors)
    if kind == "nearest":
        exact = grid == "half_pixel" and not whole
        return ("nearest-exact" if exact else "nearest"), None
    if grid == "asymmetric" and any(factor != 1 for factor in factors):
        node.refuse("interpolates on the grid 'asymmetric', which torch does not have", "Export with 'half_pixel'")
    mode = "bicubic" if kind == "cubic" else AXES[_spatial(node)]
    return mode, grid == "align_corners"


def _grid_sample(node: Operands) -> Step:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(kind := node.get("mode", "bilinear"), kind)
    edges, corners = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return node.step(operation("grid_sample"), node.tensor(0), node.tensor(1), mode, edges, corners)


OPERATORS: dict[str, Converter] = {"Resize": _resize, "Upsample": _resize, "GridSample": _grid_sample}
