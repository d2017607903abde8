"""QD201."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind

RECOMMENDED = 1e-4
DECOUPLED = 1e-2
"""Of optimizers that do not scale the decay by the gradient's size, as AdamW: at their learning rates as much."""


class SmallWeightDecay(Rule):
    """Parameters that are trained with no weight decay, or with less than 1e-4; for AdamW with less than 1e-2.

    **Why it hurts.** Weight decay keeps weights, biases and BatchNorm parameters small and close together. Without it
    some channels grow, and since all share one power-of-two scale, the others lose bits. Recipes that spare biases,
    BatchNorm parameters or depthwise weights gain a tenth of a percent in float and can lose several percent in 8 bits.

    **Fix.** Give every parameter a weight decay of about 1e-4 (SGD), in one group. AdamW shrinks weights by learning
    rate times weight decay in each step (arXiv:1711.05101): at its usual learning rates, 1e-2 corresponds to SGD's
    1e-4.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md) and edgeai-tidl-tools,
    docs/tidl_fsg_quantization.md, section E: about 1e-4 for all parameters, and not as little as 1e-5.
    """

    code = "QD201"
    name = "small-weight-decay"
    title = "parameters trained with too little weight decay"
    severity = "warning"

    def inapplicable(self, context: LintContext) -> str:
        return "" if context.optimizer else NO_OPTIMIZER

    def check(self, context: LintContext) -> Iterator[Finding]:
        kinds = _kinds(context)
        names = {id(parameter): name for name, parameter in context.parameters.items()}
        for number, group in enumerate(context.optimizer.param_groups if context.optimizer else ()):
            trained = [names[id(p)] for p in group["params"] if p.requires_grad and id(p) in names]
            decay = float(group.get("weight_decay", 0.0))
            if decay >= _recommended(context.optimizer):
                continue
            counts = Counter(kinds[name] for name in trained)
            for name in trained:
                why = _why(context.optimizer, number, decay, counts)
                yield self.finding(name, why, _fix(number, context.optimizer), cause=f"group {number}")

    @staticmethod
    def bad() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        groups: list[dict[str, Any]] = [
            {"params": net[0].parameters()},
            {"params": net[1].parameters(), "weight_decay": 0.0},
        ]
        optimizer = SGD(groups, lr=0.1, weight_decay=1e-4)
        return Example(net, torch.zeros(1, 3, 8, 8), optimizer, sites=("1.weight", "1.bias"))

    @staticmethod
    def good() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        optimizer = SGD(net.parameters(), lr=0.1, weight_decay=1e-4)
        return Example(net, torch.zeros(1, 3, 8, 8), optimizer)


NO_OPTIMIZER = "no optimizer was given: `lint_model(model, inputs, optimizer)` checks its weight decay"


def _kinds(context: LintContext) -> dict[str, str]:
    """What each parameter is, in words: by its use in the forward, else by its shape."""
    kinds = {name: "weights" if p.ndim > 1 else "other parameters" for name, p in context.parameters.items()}
    for call in context.trace.calls:
        weight, bias = call.tensor("weight"), call.tensor("bias")
        if call.kind is OperationKind.NORM:
            found = {weight: "BatchNorm scales (γ)", bias: "BatchNorm shifts (β)"}
        elif call.kind is OperationKind.WEIGHTED:
            found = {weight: "depthwise weights" if call.is_depthwise else "weights", bias: "biases"}
        elif call.kind is OperationKind.NORMALIZE:
            found = dict.fromkeys(call.inputs, "normalization parameters")
        else:
            continue
        kinds.update({value.name: kind for value, kind in found.items() if value is not None and value.name in kinds})
    return kinds


def _recommended(optimizer: Any) -> float:
    return DECOUPLED if _is_decoupled(optimizer) else RECOMMENDED


def _is_decoupled(optimizer: Any) -> bool:
    """True for AdamW and its kin, and for Adam told to be one."""
    groups = getattr(optimizer, "param_groups", ())
    return type(optimizer).__name__.endswith("W") or any(group.get("decoupled_weight_decay") for group in groups)


def _why(optimizer: Any, number: int, decay: float, counts: Counter[str]) -> str:
    name = type(optimizer).__name__
    how_much = f"of {decay:g}, under the recommended {_recommended(optimizer):g}" if decay else "of 0"
    which = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    why = f"Group {number} of this {name} has a weight decay {how_much}: {which}."
    if _is_decoupled(optimizer):
        why += f" {name} multiplies it by the learning rate: 1e-2 corresponds to SGD's 1e-4."
    return why


def _fix(number: int, optimizer: Any) -> str:
    value = "1e-2" if _is_decoupled(optimizer) else "1e-4"
    return f"optimizer.param_groups[{number}]['weight_decay'] = {value}  # and train again with it"
