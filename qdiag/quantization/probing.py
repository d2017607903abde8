"""Random probes at the outputs of the float network, sent back to every stored tensor."""

from collections.abc import Callable

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.inputs import Inputs, floating_leaves

PROBES = 4

Watch = Callable[[Layer, Tensor], Callable[[Tensor], None] | None]
"""Takes a layer and its stored tensor; gives what is to take that tensor's gradient, for each probe."""


class Probing:
    """One float forward with gradients, and the passes back through it.

    Where r has random signs, the mean of (r' J e)^2 is |J e|^2: the error that an error e of a stored tensor makes at
    the outputs, to first order. One backward pass from r gives J' r at every layer (Hutchinson 1989, for e e').
    """

    def __init__(self, model: QuantizedModel, watch: Watch):
        self.model, self.watch = model, watch

    def run(self, inputs: Inputs, generator: torch.Generator, probes: int = PROBES) -> float:
        """Send probes back; the power of the outputs' signal.

        Raises:
            ModelError: Where no gradient comes back from the outputs.
        """
        run = InterpreterRun(self.model.in_float(Watchers(stored=self._stored)))
        with torch.enable_grad():
            leading = inputs.map(lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
            try:
                outputs = floating_leaves(run.forward(leading.map(torch.clone)))  # a leaf may not be written to
            except (RuntimeError, ModelError) as error:  # went well without gradients, but asks for NumPy's values, say
                raise _no_gradient(str(error).partition("\n")[0]) from error
            _send_back(floating_leaves((leading.args, leading.kwargs)), outputs, probes, generator)
        return sum(float(output.detach().double().square().sum()) for output in outputs)

    def _stored(self, layer: Layer, stored: Tensor) -> None:
        if not stored.requires_grad or layer.site not in self.model.formats.qparams:
            return
        met = self.watch(layer, stored)
        if met is not None:
            stored.register_hook(met)  # of the values as they are now, whatever is written to the tensor later


def _send_back(leading: list[Tensor], outputs: list[Tensor], probes: int, generator: torch.Generator) -> None:
    ends = [output for output in outputs if output.requires_grad]
    if not ends:
        raise _no_gradient("none of its floating-point outputs depends on its inputs in a way that autograd sees")
    for number in range(probes):
        signs = [_random_signs(end, generator) for end in ends]
        try:
            # Not backward(), which would leave gradients in the user's own parameters.
            torch.autograd.grad(ends, leading, signs, retain_graph=number < probes - 1, allow_unused=True)
        except RuntimeError as error:  # an operation without a derivative, a tensor overwritten since
            raise _no_gradient(str(error).partition("\n")[0]) from error


def _random_signs(like: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, like.shape, generator=generator) * 2 - 1
    return signs.to(like)


def _no_gradient(why: str) -> ModelError:
    return ModelError(
        f"no gradient goes back through the model: {why}. Take method='exact', which needs none.",
        code="not-differentiable",
    )
