"""How much each layer takes the network's output from float, by random probes sent back through the float network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.fidelity import IMAGES
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.batches import Batch, batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import Inputs, floating_leaves
from qdiag.tracing.site import Site

PROBES = 4
AT_ONCE = 8
"""Images whose stored tensors are held at once, each beside its layer's own error."""


def probed_errors_steps(
    model: QuantizedModel, data: Any, images: int = IMAGES, probes: int = PROBES
) -> Steps[dict[Site, float | None]]:
    """An estimate of what `alone_errors_steps` measures, at the cost of four forwards and one for each probe.

    Where r has random signs, the mean of (r' J e)^2 is |J e|^2: the error that a layer's own error e makes at the
    outputs, to first order. One backward pass from r gives J' r at every layer (Hutchinson 1989, for e e'); each image
    is a sample by itself. None for layers that no gradient reaches, and so cannot be told of.

    Raises ModelError where no gradient comes back from the outputs.
    """
    sums: dict[Site, float | None] = {layer.site: None for layer in model.plan.layers if layer.output is not None}
    generator = torch.Generator().manual_seed(0)
    signal = 0.0

    def steps() -> Steps[None]:
        nonlocal signal
        for progress, batch in Progress.over(batches(data, model.module).upto(images), "probing layers"):
            for part in batch.split(AT_ONCE):
                inputs = part.inputs.in_layout(model.channels_last)
                probing = _Probing(model, _own_errors(model, inputs), part)
                signal += probing.run(inputs, probes, generator)
                for site, power in probing.powers.items():
                    sums[site] = (sums[site] or 0.0) + power / probes
            yield progress

    yield from borrow_stepwise(model.module, steps())
    return {site: None if power is None else power / signal if signal else 0.0 for site, power in sums.items()}


def _own_errors(model: QuantizedModel, inputs: Inputs) -> dict[Site, Tensor]:
    """What each layer adds to its stored tensor by itself, from exact inputs."""
    found: dict[Site, Tensor] = {}

    def meet(layer: Layer, reference: Tensor, _: list[Tensor], added: list[Tensor]) -> None:
        found[layer.site] = added[0] - reference

    Lockstep(model.in_float(), [model.interpreter], meet, added=True).run(inputs)
    return found


class _Probing:
    """One float forward with gradients, and the passes back through it.

    powers: of each layer that a gradient reached, the sum over probes of the squared products with its own error.
    """

    def __init__(self, model: QuantizedModel, own: Mapping[Site, Tensor], batch: Batch):
        self.model, self.own, self.images = model, own, batch.inputs.batch_size
        self.powers: dict[Site, float] = {}

    def run(self, inputs: Inputs, probes: int, generator: torch.Generator) -> float:
        """The power of the outputs' signal."""
        run = InterpreterRun(self.model.in_float(Watchers(stored=self._watch)))
        with torch.enable_grad():
            leading = inputs.map(lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
            outputs = floating_leaves(run.forward(leading))
            self._send_back(floating_leaves((leading.args, leading.kwargs)), outputs, probes, generator)
        return sum(float(output.detach().double().square().sum()) for output in outputs)

    def _watch(self, layer: Layer, stored: Tensor) -> None:
        own = self.own.get(layer.site)
        if own is None or not stored.requires_grad or layer.site not in self.model.formats.qparams:
            return

        def met(gradient: Tensor) -> None:
            products = (gradient * own).flatten(1) if len(own) == self.images else (gradient * own).flatten()[None]
            power = float(products.sum(1).double().square().sum())
            self.powers[layer.site] = self.powers.get(layer.site, 0.0) + power

        stored.register_hook(met)  # of the values as they are now, whatever is written to the tensor later

    def _send_back(self, leading: list[Tensor], outputs: list[Tensor], probes: int, generator: torch.Generator) -> None:
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
