"""Weights that calibration found, written into the model's own parameters: where training sets out from."""

import warnings
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from qdiag.errors import QdiagWarning
from qdiag.numerics.channels import by_channel
from qdiag.numerics.merge import input_first
from qdiag.planning.layer import Layer
from qdiag.quantization.calibration import Calibration, LayerWeights
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.tensors import named_tensor

INSIDE = 1 - 2**-20
"""Weights are multiplied by it: rounding undoes that, and the largest, on a power of two, cannot slip over it."""


@torch.no_grad()
def write_back(model: QuantizedModel) -> Calibration:
    """Write the calibrated weights into the module, BatchNorm taken out of them again; the calibration without them.

    A bias goes where it can: into BatchNorm's beta, or the convolution's bias. Warns of what the module has no place
    for: a bias without either, and weights of a module that is used more than once.
    """
    weights = model.calibration.weights
    uses = Counter(_parameter_names(model, layer)[0] for layer in model.plan.layers if layer.is_weighted)
    left_out = []
    for site, given in weights.items():
        layer = model.plan.by_site[site]
        if uses[_parameter_names(model, layer)[0]] > 1 or not _write(model, layer, given):
            left_out.append(str(site))
    if left_out:
        warnings.warn(
            f"what calibration found for {', '.join(left_out[:3])}{' …' if left_out[3:] else ''} has no place in the "
            "module: a bias where it has none, or weights of a module used more than once. Training sets out without "
            "it, and learns it where there is a parameter for it.",
            QdiagWarning,
            stacklevel=2,
        )
    return replace(model.calibration, weights={})


def _parameter_names(model: QuantizedModel, layer: Layer) -> tuple[str, str]:
    call = model.plan.trace[layer.site]
    found = [call.tensor(name) for name in ("weight", "bias")]
    weight, bias = ("" if value is None else value.name for value in found)
    return weight, bias


def _write(model: QuantizedModel, layer: Layer, given: LayerWeights) -> bool:
    """False where a bias found no place."""
    module, (weight, bias) = model.module, (named_tensor(model.module, name) for name in _parameter_names(model, layer))
    factor = torch.ones(len(given.weight), device=given.weight.device)
    offset, places = given.bias, [bias]
    if layer.norm is not None:
        state = layer.norm.state(module)
        factor = state.factor()
        if given.bias is not None and state.bias is not None:
            offset, places = given.bias - replace(state, bias=None).offset(bias), [state.bias]
        elif given.bias is not None:
            offset = given.bias / factor + state.mean
    along_channels = by_channel(factor, given.weight, 0)
    own = torch.where(along_channels == 0, 0.0, given.weight * INSIDE / along_channels)
    assert weight is not None, "calibration found it under this name"
    weight.copy_(input_first(own, layer.is_transposed, layer.groups))
    place: Tensor | None = places[0]
    if offset is None:
        return True
    if place is None:
        return not bool(offset.any())
    place.copy_(offset)
    return True
