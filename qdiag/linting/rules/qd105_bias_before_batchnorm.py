"""QD105."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.trace import Call


class BiasBeforeBatchNorm(Rule):
    """A convolution or linear layer with a bias, directly followed by a BatchNorm.

    **Why it matters.** The BatchNorm subtracts the mean, and with it the bias, which has no effect but wanders freely
    in training: weight decay pulls it to zero, the gradient does not see it. Once merged it is exact, so this is a
    note. It can only hurt where the running mean lags behind.

    **Fix.** Pass `bias=False`.

    **Reference.** Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167, section 3.2.
    """

    code = "QD105"
    name = "bias-before-batchnorm"
    title = "bias that the next BatchNorm takes away again"
    severity = "note"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            bias = call.tensor("bias")
            if call.site in context.norms and bias is not None:
                why = f"The bias of this `{call.op}`, {bias.shape[0]} values, is taken away by the BatchNorm after it."
                yield self.finding(call, why, _fix(context, call), cause="bias")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("conv",))

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


def _fix(context: LintContext, call: Call) -> str:
    name, module = call.site.path.rpartition(".")[2], context.modules.get(call.site.path)
    if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or not name.isidentifier():
        return f"{call.module_type.__name__}(…, bias=False)"
    without = repr(module).removesuffix(")").removesuffix(", bias=True")
    return f"self.{name} = nn.{without}, bias=False)  # in __init__"
