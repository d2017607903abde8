"""The integers that the target holds where a lane computes in the user's own scale."""

import torch
from torch import Tensor

from qdiag.planning.layer import Layer
from qdiag.quantization.lane import Lane


def stored_integers(lane: Lane, layer: Layer, stored: Tensor) -> Tensor:
    """What a lane stored of a layer, in steps of its format: int32 of the same shape."""
    factor = lane.factor(layer, stored)
    scaled = stored if factor is None else stored * factor
    return (scaled / lane.qparams[layer.site].scale(scaled)).to(torch.int32)
