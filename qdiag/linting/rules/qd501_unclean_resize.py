"""QD501."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.numerics.power_of_two import is_power_of_two
from qdiag.tracing.trace import Call


class UncleanResize(Rule):
    """A resize that exports as more than one node, or that the target cannot compute.

    **Why it hurts.** Sizes computed in the forward, and `recompute_scale_factor`, can turn one Resize into a tail of
    Shape, Gather, Slice and Concat nodes. The target knows nearest and bilinear resizing, without aligned corners, by a
    power of two that is the same for height and width; anything else leaves the accelerator, or is computed differently
    from float, which then looks like a loss from quantization.

    **Fix.** `ResizeWith` (or `resize_with`), which gives one Resize node with its scales, or
    `nn.Upsample(scale_factor=2)`. For other factors change the sizes, or resize outside the network. A functional
    `interpolate(size=…)` is a note: its size may come from a tensor's shape, which a traced forward cannot tell from a
    constant.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md:
    Interpolation/Upsample/Resize) and edgeai-tidl-tools, docs/supported_ops_rts_versions.md (TIDL_ResizeLayer).
    """

    code = "QD501"
    name = "unclean-resize"
    title = "resize that does not export cleanly"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            if call.op not in ("interpolate", "upsample"):
                continue
            faults = list(_faults(call))
            if faults:
                yield self.finding(call, f"This `{call.op}` has {', '.join(faults)}.", _fix(call))
            elif call.arguments.get("size") is not None and not issubclass(call.module_type, nn.Upsample):
                yield self.finding(call, _SIZE_WHY, _fix(call), severity="note")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, padding=1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.conv(x)
                return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=(":interpolate",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, padding=1)
                self.resize = nn.Upsample(scale_factor=2, mode="bilinear")

            def forward(self, x: Tensor) -> Tensor:
                return self.resize(self.conv(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


_SIZE_WHY = "The size is given as a number, which exports as several nodes where it was computed from a tensor's shape."


def _faults(call: Call) -> Iterator[str]:
    for option in ("recompute_scale_factor", "align_corners", "antialias"):
        if call.arguments.get(option):
            yield f"{option}=True"
    mode = call.arguments.get("mode", "nearest")
    if mode not in ("nearest", "bilinear"):
        yield f"mode={mode!r}"
    factors = _factors(call)
    if not all(map(is_power_of_two, factors)):
        yield f"a scale of {' x '.join(f'{factor:.4g}' for factor in factors)}, which is no power of two"
    elif len(set(factors)) > 1:
        yield f"different scales for height and width ({' x '.join(f'{factor:g}' for factor in factors)})"


def _factors(call: Call) -> list[float]:
    """How many times larger the output is, in each of the spatial dimensions."""
    return [b / a for a, b in zip(call.inputs[0].shape[2:], call.outputs[0].shape[2:], strict=True)]


def _fix(call: Call) -> str:
    mode = "bilinear" if "bi" in call.arguments.get("mode", "nearest") else "nearest"
    factor = _factors(call)[0]
    scale = f"scale_factor={factor:g}, " if factor >= 1 and is_power_of_two(factor) else ""
    operands = "x" if scale else "x, reference"
    return (
        f'self.resize = ResizeWith({scale}mode="{mode}")  # in __init__; from qdiag import ResizeWith\n'
        f"x = self.resize({operands})  # in forward"
    )
