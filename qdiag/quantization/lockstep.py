"""Several numeric versions of one forward, operation by operation."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from qdiag.planning.layer import Layer
from qdiag.quantization.input_layers import input_layers
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.operation import Operation
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.intercept import Function, Interceptor, exchange_tensors, is_float, tensors_in
from qdiag.tracing.operations import RANDOM, OperationKind, kind_of
from qdiag.tracing.random_state import RandomState
from qdiag.tracing.site import Site

Meet = Callable[[Layer, Tensor, list[Tensor], list[Tensor]], None]
"""Called with a layer, the reference value, each lane's value, and each lane's value computed from float inputs."""


class Lockstep(Interceptor):
    """Runs the user's forward once in the reference, and every operation in the other lanes beside it.

    The user's code sees the reference values alone; each of its tensors has twins, one for each lane, that live as
    long as it does. Hence sites of all lanes correspond even where a forward branches on its data, and memory is that
    of one forward for each lane. Indices and masks are the reference's in every lane. Until a lane differs for the
    first time its twins are the reference's own tensors, and nothing is computed twice.

    meet: called for every stored tensor. added: also compute each layer from float inputs, so that what the layer
    itself adds is seen apart from what it inherits.
    """

    def __init__(
        self,
        reference: Interpreter,
        lanes: Sequence[Interpreter],
        meet: Meet = lambda *_: None,
        *,
        added: bool = False,
    ):
        super().__init__(reference.model)
        self.reference, self.lanes, self.meet, self.added = reference, lanes, meet, added
        self.twins: Any = WeakIdKeyDictionary()  # the reference's tensor -> one twin for each lane
        self.inner: Any = WeakIdKeyDictionary()  # the same inside a layer, for lanes that started from float inputs

    def run(self, inputs: Inputs) -> Any:
        """The model's result in the reference lane; `twin` gives what became of its tensors in the others."""
        self.restart()
        reference = self.reference.inputs(inputs)
        layers = input_layers(self.reference.model, self.reference.plan, inputs)
        versions = [lane.inputs(inputs) for lane in self.lanes]
        named = [[tensor for _, tensor in version.tensors()] for version in (inputs, reference, *versions)]
        for given, tensor, *twins in zip(*named, strict=True):
            layer = layers.get(id(given))
            if layer is not None:
                twins = [
                    tensor if x.leaves_alone(layer.site) else twin for x, twin in zip(self.lanes, twins, strict=True)
                ]
                self.twins[tensor] = twins
                self.meet(layer, tensor, twins, twins if self.added else [])
        with self:
            result = forward(self.reference.model, reference, self)
        leaves = [tensor for _, tensor in named_leaves(result)]
        self.reference.guard.end(leaves)
        for number, lane in enumerate(self.lanes):
            if lane.finite is not None:
                lane.finite.end((leaf, self.twin(leaf, number)) for leaf in leaves)
        return result

    def twin(self, tensor: Tensor, lane: int) -> Tensor:
        """What the reference's tensor is in a lane: the tensor itself where it does not depend on the inputs."""
        twins = self.twins.get(tensor)
        return tensor if twins is None else twins[lane]

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = Operation(site, function, args, kwargs)
        given, layer = operation.tensors, self.reference.layers.get(site)
        if layer is None and not any(tensor in self.twins for tensor in given):
            return self.reference.run(operation)
        if site.op in RANDOM:
            operation = replace(operation, function=_drawing_the_same(function))
        overwritten = _overwritten(operation)
        same = [self._same(number, layer, given) for number in range(len(self.lanes))]
        if overwritten is not None:
            twins = self.twins.get(overwritten, [overwritten] * len(self.lanes))
            self.twins[overwritten] = [
                twin.clone() if twin is overwritten and not same[number] else twin for number, twin in enumerate(twins)
            ]
        added = self._added(layer, operation, overwritten) if self.added and layer else []
        result = self.reference.run(operation)
        made = [tensor for tensor in tensors_in(result) if is_float(tensor)]
        if not made and overwritten is None:
            return result  # a question about the tensor, an index or a mask: the reference's answer counts
        self._run_lanes(replace(operation, beside=result), made, same)
        if layer is not None and made:
            if site == layer.sites[-1]:
                self.meet(layer, made[0], self.twins[made[0]], added)
            elif added:
                self.inner[made[0]] = added
        return result

    def _same(self, number: int, layer: Layer | None, given: list[Tensor]) -> bool:
        """True where a lane's result is the reference's own: it has no format here, and no input of it differs yet."""
        lane = self.lanes[number]
        return (layer is None or lane.leaves_alone(layer.site)) and all(
            self.twin(tensor, number) is tensor for tensor in given
        )

    def _run_lanes(self, operation: Operation, made: list[Tensor], same: list[bool]) -> None:
        """The operation in every lane; made: what it gave in the reference."""
        results = []
        for number, lane in enumerate(self.lanes):
            if same[number]:
                results.append(made)
                continue
            result = lane.run(_exchanged(operation, functools.partial(self.twin, lane=number)))
            results.append([tensor for tensor in tensors_in(result) if is_float(tensor)])
        for position, tensor in enumerate(made):
            self.twins[tensor] = [tensors[position] for tensors in results]

    def _added(self, layer: Layer, operation: Operation, overwritten: Tensor | None) -> list[Tensor]:
        """The operation in every lane, from the reference's values at the layer's beginning; [] where not under way."""
        begins = operation.site == layer.site
        if not begins and not any(tensor in self.inner for tensor in operation.tensors):
            return []
        results = []
        for number, lane in enumerate(self.lanes):

            def own(tensor: Tensor, number: int = number) -> Tensor:
                if begins:  # the reference's own value, which a lane must not overwrite
                    return tensor.clone() if tensor is overwritten else tensor
                inner = self.inner.get(tensor)
                return tensor if inner is None else inner[number]

            results.append(tensors_in(lane.run(_exchanged(operation, own), aside=True))[0])
        return results


def _drawing_the_same(function: Function) -> Function:
    """The function, which draws the same numbers at every call: what a lane draws must not tell it from another."""
    before: RandomState | None = RandomState.now()
    ran = False

    @functools.wraps(function)
    def again(*args: Any, **kwargs: Any) -> Any:
        nonlocal before, ran
        if before is not None and ran:
            before.restore()
        result = function(*args, **kwargs)
        if not ran and before is not None and RandomState.now() == before:
            before = None  # it draws nothing, as dropout in eval mode
        ran = True
        return result

    return again


def _exchanged(operation: Operation, new: Callable[[Tensor], Tensor]) -> Operation:
    """The operation with other tensors."""
    args, kwargs = exchange_tensors(operation.args, new), exchange_tensors(operation.kwargs, new)
    return replace(operation, args=args, kwargs=kwargs)


def _overwritten(operation: Operation) -> Tensor | None:
    """The tensor that an operation writes to, by its name, `out` or `inplace`; None where it makes a new one."""
    args, kwargs = operation.args, operation.kwargs
    name = getattr(operation.function, "__name__", "").partition(".")[0]
    if isinstance(kwargs.get("out"), Tensor):
        return kwargs["out"]
    by_name = (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or name.startswith("__i")
    by_option = kwargs.get("inplace") or (kind_of(operation.site.op) in _WITH_INPLACE and any(a is True for a in args))
    if by_name or by_option:
        first = args[0] if args else kwargs.get("input")
        return first if isinstance(first, Tensor) else None
    return None


_WITH_INPLACE = (OperationKind.CLIP, OperationKind.ACTIVATION)
