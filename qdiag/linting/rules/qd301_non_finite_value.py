"""QD301."""

from collections.abc import Iterator

import torch
from torch import nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule


class NonFiniteValue(Rule):
    """A parameter or buffer that holds NaN or infinity.

    **Why it hurts.** One NaN in a layer makes everything after it NaN, or is hidden by a ReLU or a max pooling until
    the day it is not. No fixed-point format can hold it, and no range can be found around it.

    **Fix.** Look for it in the checkpoint and in the training's loss; a BatchNorm that has seen one bad batch keeps it.

    **Reference.** IEEE 754: fixed point has neither.
    """

    code = "QD301"
    name = "non-finite-value"
    title = "NaN or infinity in a parameter or buffer"
    severity = "error"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for name, tensor in context.tensors.items():
            if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):
                continue  # a sum is quickly taken, and not finite where a value is not
            nans, infinite = int(torch.isnan(tensor).sum()), int(torch.isinf(tensor).sum())
            if nans or infinite:
                why = f"Of {tensor.numel()} values, {nans} are NaN and {infinite} infinite."
                yield self.finding(name, why, _FIX, cause="not finite")

    @staticmethod
    def bad() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        net.get_buffer("1.running_var")[3] = torch.nan
        return Example(net, torch.zeros(1, 3, 8, 8), sites=("1.running_var",))

    @staticmethod
    def good() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        return Example(net, torch.zeros(1, 3, 8, 8))


_FIX = "model.load_state_dict(torch.load(…))  # from a checkpoint before the loss became NaN"
