"""QD503."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.trace import Call


class LayerOffAccelerator(Rule):
    """An operation along an axis, or between tensors, that the target's accelerator does not have.

    **Why it hurts.** TIDL computes such a layer on the host processor, in float: the network is parted there, each part
    is started by itself, and the tensors between are converted. In a comparison nothing of it shows.

    **Fix.** Move the axis: join along the channels, height or width; softmax along height or width, or behind the
    network. A difference of two tensors is a sum with one of them multiplied by -1.

    **Reference.** TI, edgeai-tidl-tools, docs/supported_ops_rts_versions.md of 11.0: Concat (axes -3, -2, -1, and
    not the batch), Softmax (width and height), Sub (not of two variable inputs).
    """

    code = "QD503"
    name = "layer-off-accelerator"
    title = "operation along an axis, or between tensors, that the accelerator does not have"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            fault = _fault(call)
            if fault is not None:
                why, fix = fault
                yield self.finding(call, why, fix)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)

            def forward(self, x: Tensor) -> Tensor:
                x = self.conv(x)
                return torch.cat([x, x], dim=0)  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=(":cat",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)

            def forward(self, x: Tensor) -> Tensor:
                x = self.conv(x)
                return torch.cat([x, x], dim=1)

        return Example(Net(), torch.zeros(1, 3, 8, 8))


def _fault(call: Call) -> tuple[str, str] | None:
    rank = len(call.inputs[0].shape) if call.inputs else 0
    axis = call.arguments.get("dim", call.arguments.get("arg1", 0 if call.op in _JOINS else None))
    behind = axis - rank if isinstance(axis, int) and axis >= 0 else axis
    if call.op in _JOINS and isinstance(behind, int) and (behind < -3 or behind == -rank):
        return f"It joins along axis {axis}; TIDL joins channels, rows or columns, never images.", _JOIN
    if call.op == "softmax" and rank == 4 and behind == -3:
        return "It goes along the channels; TIDL has softmax along width and height.", _SOFTMAX
    if call.op == "sub" and len([v for v in call.inputs if v.is_floating and v.producer is not None]) > 1:
        return "It takes one tensor from another; TIDL takes off constants alone.", _SUB
    return None


_JOINS = ("cat", "concat", "concatenate")
_JOIN = "x = torch.cat([a, b], dim=1)"
_SOFTMAX = "return x  # and softmax behind the network; the largest stays the largest"
_SUB = "x = a + b * -1.0  # a product with a constant, and a sum, which the target has"
