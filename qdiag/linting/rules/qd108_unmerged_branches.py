"""QD108."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.branches import ParallelBranches, parallel_branches


class UnmergedBranches(Rule):
    """Parallel convolutions of one tensor whose sum is taken, as RepVGG and MobileOne have them in training.

    **Why it hurts.** Such branches are one convolution after training: the target is meant to run that one. Deployed as
    they are, every branch is stored and rounded by itself, and the sum once more; their scales differ, and branches
    that partly cancel leave a sum that is small beside the steps it was rounded in.

    **Fix.** Merge the branches before anything is calibrated or exported: `fix_model` does it for any model, and the
    models' own packages have a method for it (reparameterize, fuse, switch to deploy). Look at the merged weights
    afterwards: their channels may lie far apart, since every BatchNorm adds its own factors.

    **Reference.** Ding et al., RepVGG: Making VGG-style ConvNets Great Again, arXiv:2101.03697, section 3.3. Chu et
    al., Make RepVGG Greater Again: A Quantization-aware Approach, arXiv:2212.01593.
    """

    code = "QD108"
    name = "unmerged-branches"
    title = "parallel convolutions that one could replace"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for one in parallel_branches(context.trace):
            if context.is_feature(one.sums[0].outputs[0]):
                yield self.finding(one.sums[0], _why(one), _FIX)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv3, self.bn3 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
                self.conv1, self.bn1 = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
                self.relu = nn.ReLU()

            def forward(self, x: Tensor) -> Tensor:
                return self.relu(self.bn3(self.conv3(x)) + self.bn1(self.conv1(x)) + x)  # <-

        return Example(Net(), torch.zeros(1, 8, 8, 8), sites=(":add#1",))

    @staticmethod
    def good() -> Example:
        net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        return Example(net, torch.zeros(1, 8, 8, 8))


_FIX = "model = fix_model(model, images).model  # before calibration; or the package's own reparameterize()"


def _why(one: ParallelBranches) -> str:
    kernels = ", ".join("x".join(map(str, call.inputs[1].shape[2:])) for call in one.convolutions)
    others = len(one.branches) - len(one.convolutions)
    rest = f" and {others} without a convolution" if others else ""
    return (
        f"{len(one.branches)} branches of one tensor are added, {kernels}{rest}: one convolution computes the same, "
        "and is rounded once."
    )
