"""QD302."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.linting.rules.qd104_unmergeable_batchnorm import uses_batch_statistics
from qdiag.tracing.operations import OperationKind


class BatchNormWithoutStatistics(Rule):
    """A BatchNorm that normalizes by the batch even in eval mode, as with `track_running_stats=False`.

    **Why it hurts.** Its mean and variance depend on the images of the batch, and so does the factor of every channel.
    There are no constants to merge into the convolution before it, and the target, which runs one image at a time,
    would have to compute statistics that float took over a batch.

    **Fix.** Use `track_running_stats=True` (the default) and train, or run some training batches to fill the
    statistics.

    **Reference.** Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167, section 3.1 (inference).
    """

    code = "QD302"
    name = "batchnorm-without-statistics"
    title = "BatchNorm that has no running statistics"
    severity = "error"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            if call.kind is OperationKind.NORM and uses_batch_statistics(call):
                channels = call.inputs[0].shape[1]
                why = f"This BatchNorm of {channels} channels takes its statistics from the batch, in eval mode too."
                yield self.finding(call, why, f"nn.BatchNorm2d({channels})  # with track_running_stats=True")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, bias=False)
                self.bn = nn.BatchNorm2d(8, track_running_stats=False)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("bn",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, bias=False)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8))
