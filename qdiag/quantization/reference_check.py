"""The reference is the model: what everything is compared with computes what the user's own forward does."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from qdiag.errors import ModelError, QdiagWarning
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.operation import Operation
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import floating_leaves
from qdiag.tracing.intercept import Function, Interceptor, exchange_tensors, is_float, tensors_in
from qdiag.tracing.random_state import Draws
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Trace

APART = 1e-3
"""Relative difference that no order of additions explains."""
WIDE = (torch.float32, torch.float64)


def check_reference(subject: Subject) -> None:
    """Run the model, and beside it the float network with Conv and BatchNorm merged, on the same images; once for each.

    Raises ModelError where their results lie apart, with the first site that computes something else from the same
    inputs; and where a layer computes in half precision, as under an autocast inside the forward.
    """
    subject.once("reference", lambda: _check(subject))


def _check(subject: Subject) -> None:
    check_precision(subject.trace)
    model, inputs = subject.model, subject.example
    said = {short_products(weight.device) for weight in model.parameters()} - {""}
    for text in said:
        warnings.warn(text, QdiagWarning, stacklevel=2)
    merged = Interpreter.in_float(model, subject.plan(), channels_last=subject.prefers_channels_last)
    with borrow(model):
        draws = Draws()
        expected = forward(model, inputs.map(torch.clone))
        draws.again()
        found = InterpreterRun(merged).forward(inputs.map(torch.clone).in_layout(merged.channels_last))
        apart = difference(expected, found)
        if not apart > APART:
            return
        draws.again()
        beside = _Beside(merged)
        with beside:
            forward(model, inputs.map(torch.clone), beside)
    if beside.left is not None:  # otherwise a selection fell otherwise, as of two boxes that score alike
        site, by = beside.left
        raise ModelError(
            f"the float network with BatchNorm merged, which all versions are compared with, is {apart:.2g} of the "
            f"signal off the model's own result. It leaves it at site {str(site)!r}, by {by:.2g}: what runs there is "
            "not what its name and arguments say. Write it with torch.nn's own modules or torch.nn.functional.",
            code="reference-differs",
        )


def check_precision(traced: Trace) -> None:
    """Raises ModelError where a layer with weights computes in half precision though its weights do not."""
    for call in traced.calls:
        weight = call.tensor("weight")
        dtype = call.outputs[0].dtype
        if weight is not None and weight.is_floating and dtype.is_floating_point and dtype not in WIDE:
            name = str(dtype).removeprefix("torch.")
            raise ModelError(
                f"site {str(call.site)!r} computes in {name}, itself coarser than 16-bit fixed point, though the "
                "model's weights may be float32: is there an autocast inside the forward? Leave it out for inference.",
                code="half-precision",
            )


def short_products(device: torch.device) -> str:
    """What to say where torch may multiply with 11 bits on a device, and 16-bit values need more; "" elsewhere."""
    flags = {
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }
    if device.type != "cuda" or not any(flags.values()):
        return ""
    lines = "; ".join(f"{name} = False" for name, is_on in flags.items() if is_on)
    return (
        "TF32 is on: GPUs that have it multiply with 11 bits, which 8-bit values fit in, and 16-bit ones and float's "
        f"do not. Switch it off for figures that compare these: {lines}."
    )


def difference(expected: Any, found: Any) -> float:
    """The largest relative difference of two results' floating tensors; 0 where they are of other shapes."""
    worst = 0.0
    for one, other in zip(floating_leaves(expected), floating_leaves(found), strict=False):
        norm = float(one.double().norm()) if one.shape == other.shape else 0.0
        apart = float((one.double() - other.double()).norm()) / norm if norm else 0.0
        worst = max(worst, apart if math.isfinite(apart) else 0.0)
    return worst


class _Beside(Interceptor):
    """Runs the model's own forward, and each layer of the merged network from the same inputs beside it.

    left: the first layer whose result is another, and by how much of its signal.
    """

    def __init__(self, merged: Interpreter):
        super().__init__(merged.model)
        self.merged = merged
        self.left: tuple[Site, float] | None = None
        self.twins: Any = WeakIdKeyDictionary()  # what a layer under way has computed -> the same in the merged network

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.merged.layers.get(site)
        if layer is None or self.left is not None:
            return function(*args, **kwargs)

        def own(tensor: Tensor) -> Tensor:
            if tensor in self.twins:
                return self.twins[tensor]
            is_value = is_float(tensor) and not isinstance(tensor, nn.Parameter)
            return tensor.clone() if is_value else tensor  # an operation in place must not reach the model's own

        own_args, own_kwargs = exchange_tensors((args, kwargs), own)
        beside = self.merged.run(Operation(site, function, own_args, own_kwargs))
        result = function(*args, **kwargs)
        made, mine = ([tensor for tensor in tensors_in(tree) if is_float(tensor)] for tree in (result, beside))
        if made and mine and site == layer.sites[-1]:
            apart = difference(made[0], mine[0])
            self.left = (layer.site, apart) if apart > APART else None
        elif made and mine:
            self.twins[made[0]] = mine[0]
        return result
