"""The integers that the target holds where the simulation computes in the user's own scale."""

import torch
from torch import Tensor

from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats


def stored_integers(formats: Formats, layer: Layer, stored: Tensor) -> Tensor:
    """The codes of what was stored of a layer: int32 of the same shape."""
    factor = formats.factor(layer, stored)
    scaled = stored if factor is None else stored * factor
    return (scaled / formats.qparams[layer.site].scale(scaled)).to(torch.int32)
