"""QD106."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule


class UnusedParameter(Rule):
    """A parameter that the forward does not touch.

    **Why it matters.** It costs nothing in 8 bits, but it is not part of what was compared or exported. Either a layer
    was forgotten when the forward was written, which is worth knowing before anything is measured, or it belongs to a
    branch that runs in training only, as an auxiliary head; then this is a note.

    **Fix.** Use it, or remove it. For a branch that is for training only there is nothing to do.

    **Reference.** PyTorch's DistributedDataParallel stops at such parameters too (`find_unused_parameters`).
    """

    code = "QD106"
    name = "unused-parameter"
    title = "parameter that the forward does not touch"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        used = {value.name for call in context.trace.calls for value in call.inputs if value.kind == "parameter"}
        used |= {value.name for _, value in context.trace.outputs if value.kind == "parameter"}
        ran = {use.path for use in context.trace.uses} | {""}
        for name, parameter in context.parameters.items():
            if name in used:
                continue
            idle = _outermost_idle(name, ran | context.parents)
            if idle:
                why = f"`{idle}` does not run in eval mode: a branch for training only, or one that was forgotten."
                yield self.finding(name, why, f"del model.{idle}  # if nothing needs it", severity="note", cause=idle)
            else:
                why = f"This parameter of shape {list(parameter.shape)} is not used, though its module runs."
                yield self.finding(name, why, f"del model.{name}  # or use it in forward")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
                self.scale = nn.Parameter(torch.ones(8, 1, 1))

            def forward(self, x: Tensor) -> Tensor:
                return self.conv(x)  # and self.scale was forgotten

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("scale",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
                self.scale = nn.Parameter(torch.ones(8, 1, 1))

            def forward(self, x: Tensor) -> Tensor:
                return self.conv(x) * self.scale

        return Example(Net(), torch.zeros(1, 3, 8, 8))


def _outermost_idle(name: str, ran: set[str] | frozenset[str]) -> str:
    """The largest module around a parameter of which nothing ran; "" where its own module did."""
    parts = name.split(".")[:-1]
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        if module not in ran:
            return module
    return ""
