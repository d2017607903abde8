"""QD101."""

import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding, Severity
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call


class MissingBatchNorm(Rule):
    """A convolution whose result is not normalized by a BatchNorm right after it.

    **Why it hurts.** Nothing holds the channels of such a convolution to a common range: they drift apart in training,
    the tensor's one power-of-two scale has to fit the widest, and the others are left with few of the 8 bits. Depthwise
    convolutions suffer most, since their channels never mix; for them there is no exception to the rule.

    **Fix.** Put a BatchNorm between the convolution and its activation, and train again. It costs nothing on the
    target, where it is merged into the convolution.

    A prediction layer is exempt: a convolution with no convolution or linear layer behind it, in every head of the
    network. One that a linear classifier follows is not, as its output is a feature like any other. Fixed filters
    (buffers) are exempt too. LayerNorm and GroupNorm do not count, because they cannot be merged.

    A graph of many convolutions with biases and without a single BatchNorm is a deployed one, whose BatchNorm are
    merged already, as in every file that an exporter wrote: that is one note, not a finding for each. In a model from
    Python it is one warning, since there may never have been any.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md): BatchNorm immediately
    after every convolution. Sheng et al., A Quantization-Friendly Separable Convolution for MobileNets,
    arXiv:1803.08607.
    """

    code = "QD101"
    name = "missing-batchnorm"
    title = "convolution without a BatchNorm right after it"
    severity = "warning"

    def inapplicable(self, context: LintContext) -> str:
        return "" if any(map(is_convolution, context.features)) else "the model has no convolution"

    def check(self, context: LintContext) -> Iterator[Finding]:
        found = [call for call in context.features if _is_bare(context, call)]
        if _looks_merged(context, found):
            is_graph = isinstance(context.model, torch.fx.GraphModule)
            severity: Severity = "note" if is_graph or _has_gaps(context.model) else "warning"
            why = _WHY_MERGED if severity == "note" else _WHY_NONE
            yield self.finding(found[0], why.format(count=len(found)), _FIX_MERGED, severity=severity)
            return
        for call in found:
            severity = "error" if call.is_depthwise else "warning"
            yield self.finding(call, _why(context, call), _fix(call), severity=severity)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Conv2d(3, 8, 3)
                self.relu = nn.ReLU()
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.stem(x)  # <-
                return self.head(self.relu(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("stem",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Conv2d(3, 8, 3, bias=False)
                self.stem_bn = nn.BatchNorm2d(8)
                self.relu = nn.ReLU()
                self.head = nn.Conv2d(8, 2, 1)  # a prediction layer needs none

            def forward(self, x: Tensor) -> Tensor:
                x = self.stem_bn(self.stem(x))
                return self.head(self.relu(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


def is_convolution(call: Call) -> bool:
    """A convolution or transposed convolution of any dimension."""
    return call.kind is OperationKind.WEIGHTED and call.op != "linear"


MANY = 4
"""Convolutions, all with biases, from which on a network without any normalization looks merged."""
_WHY_MERGED = (
    "None of {count} convolutions is followed by a BatchNorm, and all have biases: these were merged already, as in "
    "every file from an exporter. There is nothing to mend here; to train again, start from the model before the merge."
)
_WHY_NONE = (
    "None of {count} convolutions is followed by a BatchNorm, and all have biases. Where they were merged already, "
    "there is nothing to mend; where there never were any, nothing holds the ranges of the channels together."
)
_FIX_MERGED = "# train and calibrate the model that has its BatchNorm: qdiag merges them as the target does"


def _is_bare(context: LintContext, call: Call) -> bool:
    """True for a convolution that is no prediction layer and has no BatchNorm to be merged."""
    weight = call.tensor("weight")
    if not is_convolution(call) or weight is None or weight.kind in ("buffer", "constant"):
        return False
    is_prediction = not (call.is_depthwise or context.feeds_weights(call))
    return call.site not in context.norms and not is_prediction


def _looks_merged(context: LintContext, found: Sequence[Call]) -> bool:
    """True for a network whose many convolutions all have biases, and that normalizes nowhere."""
    normalizes = any(call.kind in (OperationKind.NORM, OperationKind.NORMALIZE) for call in context.trace.calls)
    return len(found) >= MANY and not normalizes and all(call.tensor("bias") is not None for call in found)


def _has_gaps(model: nn.Module) -> bool:
    """True where something was taken out of the model, as fusing leaves Identity in the place of a BatchNorm."""
    return any(isinstance(module, nn.Identity) for module in model.modules())


def _why(context: LintContext, call: Call) -> str:
    kind = "depthwise convolution" if call.is_depthwise else "convolution"
    return f"This {kind} of {_channels(call)} channels {_followers(context, call)}."


def _followers(context: LintContext, call: Call) -> str:
    normalizer = _normalizer(context, call)
    if normalizer is not None:
        return f"is followed by `{normalizer.op}`, which takes its statistics from each input and cannot be merged"
    consumers = context.trace.consumers(call.outputs[0])
    ops = ", ".join(dict.fromkeys(f"`{consumer.op}`" for consumer in consumers))
    if any(consumer.kind is OperationKind.NORM for consumer in consumers):
        return f"is followed by a BatchNorm, but not alone ({ops} read it), so that it cannot be merged"
    return f"is followed by {ops}, not by a BatchNorm" if ops else "is not followed by a BatchNorm"


def _normalizer(context: LintContext, call: Call) -> Call | None:
    """A LayerNorm or the like after the convolution, with nothing but changes of shape between."""
    after = context.only_consumer(call)
    while after is not None and after.kind is OperationKind.SAME_RANGE:
        after = context.only_consumer(after)
    return after if after is not None and after.kind is OperationKind.NORMALIZE else None


def _channels(call: Call) -> int:
    dimensions = int(call.op.rstrip("d")[-1])
    return call.outputs[0].shape[-dimensions - 1]


def _fix(call: Call) -> str:
    norm = f"nn.BatchNorm{call.op[-2]}d({_channels(call)})"
    parent, _, name = call.site.path.rpartition(".")
    if name.isdigit():
        return f"{norm},  # in the Sequential {parent or 'model'!r}, right after ({name})"
    name = re.sub(r"\W", "_", name) or "conv"  # of modules made in the forward, and of files
    return f"self.{name}_bn = {norm}  # in __init__\nx = self.{name}_bn(self.{name}(x))  # in forward"
