"""Padding as ONNX writes it: begins and ends, or by rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from qdiag.loading.conversion import Operands


@dataclass(frozen=True)
class Edges:
    """Values to add before and after each axis; `same` is the rule SAME_UPPER or SAME_LOWER, "" for numbers."""

    before: list[int]
    after: list[int]
    same: str = ""

    def of_torch(self) -> list[int]:
        """As of `F.pad`: the last axis first, before and after in turns."""
        return torch_order(self.before, self.after)

    def of(self, lengths: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> tuple[list[int], list[int]]:
        """Before and after each axis of these lengths; by the rule, as many as make length / stride results."""
        if not self.same:
            return self.before, self.after
        windows = zip(lengths, kernel, stride, strict=True)
        missing = [max((-(-length // s) - 1) * s + k - length, 0) for length, k, s in windows]
        small, large = [count // 2 for count in missing], [count - count // 2 for count in missing]
        return (small, large) if self.same == "SAME_UPPER" else (large, small)


def edges_of(node: Operands, axes: int) -> Edges:
    """The padding of a layer with a window of so many axes."""
    rule = node.get("auto_pad", "NOTSET")
    nothing = [0] * axes
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        return Edges(nothing, nothing, rule)
    pads = list(node.get("pads", ())) if rule == "NOTSET" else []
    pads = pads or [0] * (2 * axes)
    return Edges(pads[:axes], pads[axes:])


def torch_order(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Begins and ends of axes in order, as `F.pad` takes them."""
    return [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
