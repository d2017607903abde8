"""HOUSE1: a lint rule of our own."""

from collections.abc import Iterator

import torch
from torch import nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind


class LargeKernel(Rule):
    """A convolution with a kernel over 5 x 5.

    **Why it hurts.** Our accelerator computes kernels over 5 x 5 on its slow core, and in an accumulator of 24 bits.

    **Fix.** Two smaller kernels one after the other see as much and cost less.

    **Reference.** Our accelerator's manual, section 4.2.
    """

    code = "HOUSE1"
    name = "large-kernel"
    title = "kernel over 5 x 5"
    severity = "warning"

    def inapplicable(self, context: LintContext) -> str:
        has_layers = any(call.kind is OperationKind.WEIGHTED for call in context.features)
        return "" if has_layers else "the model has no layer with weights"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            weight = call.tensor("weight")
            if call.kind is OperationKind.WEIGHTED and weight is not None and max((0, *weight.shape[2:])) > 5:
                size = " x ".join(map(str, weight.shape[2:]))
                yield self.finding(call, f"A kernel of {size}.", "nn.Sequential(nn.Conv2d(…, 5), nn.Conv2d(…, 5))")

    @staticmethod
    def bad() -> Example:
        return Example(nn.Sequential(nn.Conv2d(3, 4, 7)), torch.zeros(1, 3, 9, 9), sites=("0",))

    @staticmethod
    def good() -> Example:
        return Example(nn.Sequential(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 3)), torch.zeros(1, 3, 9, 9))
