"""Which BatchNorm can be merged into which convolution."""

from dataclasses import dataclass

from torch import Tensor, nn

from qdiag.numerics.merge import NormState
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.tensors import named_tensors
from qdiag.tracing.trace import Call, Trace


@dataclass(frozen=True)
class MergedNorm:
    """A BatchNorm that is merged into the convolution before it.

    sites: its operations. mean, variance, weight, bias: names of the model's buffers and parameters; "" for none.
    """

    sites: tuple[Site, ...]
    mean: str
    variance: str
    weight: str
    bias: str
    eps: float

    def tensors(self, model: nn.Module) -> list[Tensor | None]:
        """Mean, variance, weight and bias as the model holds them now, with gradients; None for what it has not."""
        return named_tensors(model, (self.mean, self.variance, self.weight, self.bias))

    def state(self, model: nn.Module) -> NormState:
        """The same, ready to be merged."""
        mean, variance, weight, bias = self.tensors(model)
        assert mean is not None, "a merged norm has running statistics"
        assert variance is not None, "a merged norm has running statistics"
        return NormState(mean, variance, weight, bias, self.eps)


def norm_after(trace: Trace, call: Call) -> MergedNorm | None:
    """The BatchNorm that alone reads what the call computed; None where there is none, or it cannot be merged."""
    norm = only_consumer(trace, call)
    if norm is None:
        return None
    if norm.kind is OperationKind.NORM:
        return batch_norm(norm)
    if norm.op == "mul" and norm.module_type.__name__ == "FrozenBatchNorm2d":
        shift = only_consumer(trace, norm)
        if shift is not None and shift.op == "add" and shift.site.path == norm.site.path:
            return _frozen_norm(trace, norm, shift)
    return None


def only_consumer(trace: Trace, call: Call) -> Call | None:
    """The one call that takes this one's one output as its first input, if nothing else sees that output."""
    if len(call.outputs) != 1 or trace.is_output(call.outputs[0]):
        return None
    consumers = trace.consumers(call.outputs[0])
    if len(consumers) != 1 or consumers[0].inputs[0].number != call.outputs[0].number:
        return None
    return consumers[0]


def batch_norm(call: Call) -> MergedNorm | None:
    """The norm by its tensors' names; None where it normalizes by the batch, or its tensors are computed."""
    named = {name: call.tensor(name) for name in ("running_mean", "running_var", "weight", "bias")}
    if call.arguments.get("training") or named["running_mean"] is None or named["running_var"] is None:
        return None
    if any(value is not None and value.kind not in ("parameter", "buffer") for value in named.values()):
        return None
    mean, variance, weight, bias = ("" if value is None else value.name for value in named.values())
    return MergedNorm((call.site,), mean, variance, weight, bias, eps=call.arguments.get("eps", 1e-5))


def _frozen_norm(trace: Trace, scale: Call, shift: Call) -> MergedNorm:
    """torchvision's FrozenBatchNorm2d writes x * scale + bias over buffers; its first addition is variance + eps."""
    path = scale.site.path
    eps = float(trace[Site(path, "add")].arguments["other"])
    mean, variance, weight, bias = (f"{path}.{name}" for name in ("running_mean", "running_var", "weight", "bias"))
    return MergedNorm((scale.site, shift.site), mean, variance, weight, bias, eps)
