"""QD107."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind


class FloatOperation(Rule):
    """An operation in the middle of the network that is computed in float, since no fixed-point layer does it.

    **Why it hurts.** On the target it leaves the accelerator, between two conversions; in a comparison it is exact, so
    that 8 bits look better than they are. It is one of three things: an operation that engines have no layer for (exp,
    pow, sort, writing into a slice); a tensor that cannot be seen (a plain attribute, NumPy, a scripted module); or a
    tensor that the forward makes, as a mask or a mean to subtract.

    **Fix.** Use operations that the target has. Register constants as buffers. Pass a module in place of its script.

    **Reference.** TI, edgeai-tidl-tools, docs/supported_ops_rts_versions.md: the layers that are accelerated.
    """

    code = "QD107"
    name = "float-operation"
    title = "operation inside the network that stays in float"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for path, module in context.modules.items():
            if isinstance(module, torch.jit.ScriptModule):
                why = "This is a ScriptModule: operations inside of it cannot be seen."
                yield self.finding(path, why, _UNSCRIPT, severity="error", cause="script")
        for call in context.trace.calls:
            if call.op in _MAKERS or not (context.feeds_weights(call) or call.kind is OperationKind.WEIGHTED):
                continue
            unseen = next((value for value in call.inputs if value.is_floating and value.kind == "unseen"), None)
            leaves = context.is_outside(call.outputs[0]) and any(map(context.is_feature, call.inputs))
            if unseen is not None:
                why = f"`{call.op}` takes a tensor of shape {list(unseen.shape)} that is neither parameter nor buffer."
                yield self.finding(call, why, _BUFFER, cause="unseen")
            elif leaves and call.kind is OperationKind.OTHER:
                yield self.finding(call, f"`{call.op}` is not a layer of fixed-point engines.", _REPLACE, cause=call.op)
            elif leaves:
                why = f"`{call.op}` takes a tensor that the forward makes, so that it is computed in float."
                yield self.finding(call, why, _BUFFER, severity="note", cause="made in forward")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                x = torch.exp(self.bn(self.conv(x)))  # <-
                return self.head(x)

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=(":exp",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.relu = nn.ReLU()
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.relu(self.bn(self.conv(x)))
                return self.head(x)

        return Example(Net(), torch.zeros(1, 3, 8, 8))


# They take a tensor for its shape and type only.
_MAKERS = (
    *("new_zeros", "new_ones", "new_empty", "new_full"),
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
)

_BUFFER = 'self.register_buffer("constant", tensor)  # in __init__, and use self.constant in forward'
_UNSCRIPT = "model = Net()  # pass the nn.Module that the script was made from"
_REPLACE = "x = self.relu(x)  # or another operation that the target has; or move it behind the last layer"
