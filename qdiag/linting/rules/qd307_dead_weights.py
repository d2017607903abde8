"""QD307."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule


class DeadWeights(Rule):
    """A layer, or some of its output channels, whose weights are zero once the BatchNorm is merged.

    **Why it matters.** A layer of zeros is a layer that was never trained, or whose BatchNorm scale has gone to zero.
    Single dead channels are usual in networks trained with strong weight decay. They cost no accuracy, yet each is
    computed on the target, and statistics over channels are distorted by them; they are a note. A channel counts as
    dead under 2^-16 of the layer's largest weight: it is zero even in 16 bits.

    **Fix.** For a whole layer, check the checkpoint. Dead channels can be pruned.

    **Reference.** Mehta et al., On Implicit Filter Level Sparsity in Convolutional Neural Networks, arXiv:1811.12495.
    """

    code = "QD307"
    name = "dead-weights"
    title = "layer or channels whose weights are zero"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for layer in context.layer_weights:
            dead = int((~layer.alive).sum())
            if layer.largest == 0:
                why = f"All {len(layer.ranges)} channels of this `{layer.call.op}` have merged weights of 0."
                yield self.finding(layer.call, why, _CHECK, cause="layer")
            elif dead:
                why = f"{dead} of {len(layer.ranges)} channels have merged weights that are 0 even in 16 bits."
                yield self.finding(layer.call, why, _PRUNE, severity="note", cause="channels")

    @staticmethod
    def bad() -> Example:
        net = _Net()
        nn.init.zeros_(net.bn.weight)
        return Example(net, torch.zeros(1, 3, 8, 8), sites=("conv",))

    @staticmethod
    def good() -> Example:
        return Example(_Net(), torch.zeros(1, 3, 8, 8))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))  # <-


_CHECK = 'print(load_weights(model, "trained.pth"))  # did the checkpoint reach this layer?'
_PRUNE = "# nothing to do for accuracy; pruning these channels saves time on the target"
