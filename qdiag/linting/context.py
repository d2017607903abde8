"""What a rule may ask about a model."""

from functools import cached_property

from torch import Tensor, nn
from torch.optim import Optimizer

from qdiag.linting.layer_weight import LayerWeight, measure, merged_weight
from qdiag.numerics.merge import NormState
from qdiag.tracing.norms import MergedNorm, norm_after, only_consumer
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.status import Status, statuses
from qdiag.tracing.trace import Call, Trace, Value


class LintContext:
    """One model, one forward of it, its optimizer, and the answers that several rules need, computed once.

    Args:
        model: The user's own.
        trace: One forward of it.
        optimizer: What it is trained with, where that is known.
    """

    def __init__(self, model: nn.Module, trace: Trace, optimizer: Optimizer | None = None):
        self.model, self.trace, self.optimizer = model, trace, optimizer

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """By name."""
        return dict(self.model.named_parameters())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its name."""
        return {**self.parameters, **dict(self.model.named_buffers())}

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """By name; "" is the model itself."""
        return dict(self.model.named_modules())

    @cached_property
    def features(self) -> tuple[Call, ...]:
        """The operations that the target computes: those on the way from the inputs, without post-processing."""
        return tuple(call for call in self.trace.calls if self.is_feature(call.outputs[0]))

    def is_feature(self, value: Value) -> bool:
        """True for a tensor that the target computes.

        Args:
            value: A tensor of the trace.
        """
        return self._status.get(value.number) is Status.FEATURE

    def is_outside(self, value: Value) -> bool:
        """True for a floating-point tensor that the target does not compute in fixed point.

        Args:
            value: A tensor of the trace.
        """
        return value.is_floating and self._status.get(value.number) is Status.OUTSIDE

    @cached_property
    def _status(self) -> dict[int, Status]:
        return statuses(self.trace)

    def only_consumer(self, call: Call) -> Call | None:
        """The one operation that takes this one's result, if nothing else sees it.

        Args:
            call: An operation of the trace.
        """
        return only_consumer(self.trace, call)

    @cached_property
    def norms(self) -> dict[Site, MergedNorm]:
        """The BatchNorm merged into each convolution or linear layer that has one."""
        weighted = (call for call in self.features if call.kind is OperationKind.WEIGHTED)
        found = ((call.site, norm_after(self.trace, call)) for call in weighted)
        return {site: norm for site, norm in found if norm is not None}

    @cached_property
    def merged_sites(self) -> frozenset[Site]:
        """The operations of all merged BatchNorms."""
        return frozenset(site for norm in self.norms.values() for site in norm.sites)

    def norm_state(self, norm: MergedNorm) -> NormState:
        """The BatchNorm's statistics and affine parameters.

        Args:
            norm: One of `norms`.
        """
        tensors = {
            name: self.tensors[name].detach() for name in (norm.mean, norm.variance, norm.weight, norm.bias) if name
        }
        return NormState(
            tensors[norm.mean], tensors[norm.variance], tensors.get(norm.weight), tensors.get(norm.bias), norm.eps
        )

    def weight(self, call: Call) -> Tensor | None:
        """A layer's weight merged with its BatchNorm, output channels first; None where it is computed.

        Args:
            call: An operation of the trace.
        """
        value = call.tensor("weight")
        tensor = self.tensors.get(value.name) if value is not None else None
        if tensor is None or not tensor.is_floating_point():
            return None
        norm = self.norms.get(call.site)
        return merged_weight(call, tensor, self.norm_state(norm) if norm else None)

    @cached_property
    def layer_weights(self) -> tuple[LayerWeight, ...]:
        """The figures of every layer's weight, once for each weight; without those that hold NaN or infinity."""
        found: dict[str, LayerWeight | None] = {}
        for call in self.features:
            value = call.tensor("weight")
            if call.kind is OperationKind.WEIGHTED and value is not None and value.name not in found:
                weight = self.weight(call)
                found[value.name] = None if weight is None else measure(call, value.name, weight)
        return tuple(layer for layer in found.values() if layer is not None)

    def feeds_weights(self, call: Call) -> bool:
        """True where a convolution or linear layer computes on what comes of this operation.

        What only says where to look, as boxes and indices do, does not count: a detector's first head is a head.

        Args:
            call: An operation of the trace.
        """
        return any(value.number in self._fed for value in call.outputs)

    @cached_property
    def _fed(self) -> frozenset[int]:
        """The values that convolutions and linear layers depend on; one pass from the end to the front."""
        fed: set[int] = set()
        for call in reversed(self.trace.calls):
            is_layer = call.kind is OperationKind.WEIGHTED and self.is_feature(call.outputs[0])
            if is_layer or any(value.number in fed for value in call.outputs):
                taken = (
                    call.inputs[:1] if call.kind is OperationKind.RESIZE else call.inputs
                )  # the others are boxes or a grid
                fed.update(value.number for value in taken if value.is_floating)
        return frozenset(fed)

    @cached_property
    def parents(self) -> frozenset[str]:
        """The modules of which a submodule ran."""
        paths = {use.path for use in self.trace.uses}
        return frozenset(path[:i] for path in paths for i, letter in enumerate(path) if letter == ".")
