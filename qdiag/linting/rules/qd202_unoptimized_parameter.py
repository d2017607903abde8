"""QD202."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.optim import SGD

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.linting.rules.qd201_small_weight_decay import NO_OPTIMIZER


class UnoptimizedParameter(Rule):
    """A parameter that the optimizer does not hold, though it is not frozen.

    **Why it hurts.** It is never trained and never decayed, while the layers around it move. Often the optimizer was
    made before a layer was exchanged, or for another copy of the model; then what is trained is not what is quantized.

    **Fix.** Make the optimizer after the model is complete, from `model.parameters()`. Freeze on purpose with
    `parameter.requires_grad_(False)`; frozen parameters are not reported.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md): weight decay for all
    parameters.
    """

    code = "QD202"
    name = "unoptimized-parameter"
    title = "parameter that the optimizer does not hold"
    severity = "warning"

    def inapplicable(self, context: LintContext) -> str:
        return "" if context.optimizer else NO_OPTIMIZER

    def check(self, context: LintContext) -> Iterator[Finding]:
        groups = context.optimizer.param_groups if context.optimizer else ()
        held = {id(parameter) for group in groups for parameter in group["params"]}
        mine = {name: p for name, p in context.parameters.items() if p.requires_grad}
        missing = [name for name, parameter in mine.items() if id(parameter) not in held]
        if missing and len(missing) == len(mine):
            why = f"The optimizer holds none of this model's {len(mine)} parameters: it was made for another model."
            yield self.finding("", why, _FIX, severity="error")
            return
        for name in missing:
            why = f"{len(missing)} of {len(mine)} parameters that are to be trained are in no group of the optimizer."
            yield self.finding(name, why, _FIX, cause="missing")

    @staticmethod
    def bad() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
        optimizer = SGD(net[0].parameters(), lr=0.1, weight_decay=1e-4)
        return Example(net, torch.zeros(1, 3, 8, 8), optimizer, sites=("1.weight", "1.bias"))

    @staticmethod
    def good() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
        optimizer = SGD(net.parameters(), lr=0.1, weight_decay=1e-4)
        return Example(net, torch.zeros(1, 3, 8, 8), optimizer)


_FIX = "optimizer = SGD(model.parameters(), lr=…, momentum=0.9, weight_decay=1e-4)  # after the model is complete"
