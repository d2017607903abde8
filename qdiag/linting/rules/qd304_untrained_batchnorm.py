"""QD304."""

from collections.abc import Iterator

import torch
from torch import nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule


class UntrainedBatchNorm(Rule):
    """A BatchNorm whose running statistics are still those it was made with: mean 0, variance 1, no batch seen.

    **Why it matters.** Merged weights and ranges of an untrained network say nothing about the trained one. Either
    these are random weights, which is fine for a first look at the structure, or the checkpoint did not reach these
    layers.

    **Fix.** Load the trained weights, and look at what `load_weights` reports as missing.

    **Reference.** Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167.
    """

    code = "QD304"
    name = "untrained-batchnorm"
    title = "BatchNorm that has never seen a batch"
    severity = "note"

    def check(self, context: LintContext) -> Iterator[Finding]:
        norms = {name: m for name, m in context.modules.items() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
        untrained = [name for name, norm in norms.items() if _is_untrained(norm)]
        for name in untrained:
            why = f"{len(untrained)} of {len(norms)} BatchNorms have mean 0, variance 1 and no batch seen: untrained?"
            yield self.finding(name, why, _FIX, cause="untrained")

    @staticmethod
    def bad() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        return Example(net, torch.zeros(1, 3, 8, 8), sites=("1",))

    @staticmethod
    def good() -> Example:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        net.train()(torch.rand(4, 3, 8, 8))
        return Example(net, torch.zeros(1, 3, 8, 8))


_FIX = 'print(load_weights(model, "trained.pth"))'


def _is_untrained(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, variance, seen = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is None or variance is None or (seen is not None and int(seen) > 0):
        return False
    return not bool(mean.any()) and bool((variance == 1).all())
