"""QD502."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call


class ConvolutionOffAccelerator(Rule):
    """A convolution or pooling whose kernel, stride or groups the target's accelerator does not have.

    **Why it hurts.** TIDL computes such a layer on the host processor, in float: the network is parted there, each part
    is started by itself, and the tensors between are converted. In a comparison nothing of it shows.

    **Fix.** What the finding says: two layers in place of one large stride, a transposed convolution of 2 x 2 or 4 x 4
    with stride 2 or a resize, a grouped convolution in place of an odd depthwise one.

    **Reference.** TI, edgeai-tidl-tools, docs/supported_ops_rts_versions.md of 11.0: Conv, ConvTranspose, AveragePool
    and MaxPool. What holds for some devices alone is not looked at.
    """

    code = "QD502"
    name = "convolution-off-accelerator"
    title = "convolution or pooling that the accelerator does not have"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            if call.kind is OperationKind.WEIGHTED and "conv" in call.op:
                faults = _transposed(call) if "transpose" in call.op else _convolution(call)
            elif call.op in ("max_pool2d", "avg_pool2d"):
                faults = _pooling(call)
            else:
                continue
            for why, fix in faults:
                yield self.finding(call, why, fix)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, stride=(2, 1), bias=False)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("conv",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, stride=2, bias=False)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


Faults = Iterator[tuple[str, str]]

_DEPTHWISE = {(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)}
"""Kernel and stride. The table has 5 x 5 with stride 2 twice, and with stride 1 only in its older versions."""


def _convolution(call: Call) -> Faults:
    kernel, strides = _kernel(call), _pair(call.arguments.get("stride", 1))
    if len(kernel) != 2:
        return
    size = " x ".join(map(str, kernel))
    if len(set(strides)) > 1:
        yield f"It has stride {strides[0]} x {strides[1]}, and TIDL has one for both directions.", _ONE_STRIDE
        return
    stride = strides[0]
    if stride == 4 and kernel not in ((11, 11), (4, 4)):  # 4 x 4 embeds patches: docs/tidl_fsg_vtfr.md
        yield f"It has stride 4 with a kernel of {size}; TIDL has that stride for 11 x 11 alone.", _TWO_STEPS
    elif stride == 2 and max(kernel) > 7:
        yield f"It has stride 2 with a kernel of {size}; TIDL has that stride up to 7 x 7.", _SMALLER
    elif call.is_depthwise and (kernel[0] != kernel[1] or (kernel[0], stride) not in _DEPTHWISE):
        yield (
            f"It is depthwise with a kernel of {size} and stride {stride}; TIDL has 3 x 3, 5 x 5 and 7 x 7 with "
            "stride 1 or 2.",
            _THREE,
        )


def _transposed(call: Call) -> Faults:
    kernel, strides = _kernel(call), _pair(call.arguments.get("stride", 1))
    if len(kernel) != 2:
        return
    if kernel not in ((2, 2), (4, 4)) or strides != (2, 2):
        size, step = " x ".join(map(str, kernel)), " x ".join(map(str, strides))
        yield f"It is transposed with a kernel of {size} and stride {step}; TIDL has 2 x 2 and 4 x 4 with 2.", _UP
    elif call.arguments.get("groups", 1) != 1:
        yield "It is transposed with groups, which TIDL does not have.", _UP


def _pooling(call: Call) -> Faults:
    if any(step != 1 for step in _pair(call.arguments.get("dilation", 1))):
        yield "It is dilated, which TIDL does not have.", _PLAIN_POOL


def _kernel(call: Call) -> tuple[int, ...]:
    weight = call.tensor("weight")
    return tuple(weight.shape[2:]) if weight is not None else ()


def _pair(value: object) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        return tuple(value) if len(value) > 1 else (*value, *value)
    return (value, value) if isinstance(value, int) else ()


_ONE_STRIDE = "self.conv = nn.Conv2d(…, stride=2)  # the same in both directions; pool the other direction by itself"
_TWO_STEPS = "two convolutions of stride 2, one behind the other, in place of one of stride 4"
_SMALLER = "self.conv = nn.Conv2d(…, kernel_size=7, stride=2, padding=3)"
_THREE = "self.conv = nn.Conv2d(…, kernel_size=3, padding=1, groups=channels)  # two of them see as far as 5 x 5"
_UP = 'self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(…, 3, padding=1))'
_PLAIN_POOL = "self.pool = nn.MaxPool2d(2)  # without dilation"
