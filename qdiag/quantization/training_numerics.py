"""The quantized network with gradients: what quantization-aware training computes."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from qdiag.numerics.channels import by_channel
from qdiag.numerics.merge import input_first, merge
from qdiag.numerics.qparams import QParams, activation_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.ste import store_through, weight_through
from qdiag.numerics.tqt import learned_through
from qdiag.planning.layer import Layer
from qdiag.quantization.checkpointing import refuse_checkpointing
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.running_ranges import RunningRanges
from qdiag.quantization.thresholds import Thresholds
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.operations import OperationKind

# Their gradient does not need their result, which may therefore be overwritten.
_FORGETTING = (
    OperationKind.WEIGHTED,
    OperationKind.NORM,
    OperationKind.ELEMENTWISE,
    OperationKind.CONCAT,
    OperationKind.POOL,
)


@final
class TrainingNumerics(Numerics):
    """Weights and stored tensors rounded in one forward, gradients straight through, ranges followed.

    A convolution runs once. Where its BatchNorm normalizes by the batch, the weight is rounded as it will be merged
    with the running statistics, and divided by the merging factor again, channel by channel: so the convolution gives
    what BatchNorm expects, and BatchNorm runs as the user wrote it. Elsewhere BatchNorm is merged, with gradients to
    all that it is made of. Biases are not rounded: their scale is the accumulator's.

    formats: those known by now. by_batch: whether a BatchNorm normalizes by the batch. ranges: followed in place,
    unless frozen. thresholds: learned in their place, where given.
    """

    def __init__(
        self,
        formats: Formats,
        by_batch: Callable[[MergedNorm], bool],
        ranges: RunningRanges,
        *,
        ranges_frozen: bool,
        thresholds: Thresholds | None = None,
    ):
        self.formats, self.by_batch, self.thresholds = formats, by_batch, thresholds
        self.ranges, self.ranges_frozen, self.counts = ranges, ranges_frozen, ranges.counts()

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        refuse_checkpointing(layer.site)
        weight, bias, format = own.weight, own.bias, self.formats.weight(layer)
        factor = format.factor(weight.detach())
        by_batch = layer.norm is not None and self.by_batch(layer.norm)
        if own.norm is not None and by_batch:
            factor = factor * by_channel(own.norm.factor().detach(), weight, 0)
        elif own.norm is not None:
            weight, bias = merge(weight, bias, own.norm)
        learned = None if self.thresholds is None else self.thresholds.weight(layer.site)
        if format.scheme is not None and learned is not None:
            qparams = format.qparams(weight)
            assert qparams is not None, "a scheme gives a format"
            weight = learned_through(weight * factor, learned, qparams) / factor
        elif format.scheme is not None:
            weight = weight_through(weight, format.scheme, factor, format.clip_exponent, keeps_lost=by_batch)
        return Operands(input_first(weight, layer.is_transposed, layer.groups), bias, has_norm=not by_batch)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        factor = self.formats.factor(layer, result)
        scaled = result if factor is None else result * factor
        qparams = self._qparams(layer, scaled)
        if qparams is None:
            return result
        if self.thresholds is not None:
            learned = learned_through(scaled, self.thresholds.output(layer.site), qparams, layer.bounds)
            return learned if factor is None else learned / factor
        exact = scaled.dtype in (torch.float32, torch.float64)
        in_place = exact and not layer.is_input and (factor is not None or _is_ours(layer, result))
        overwritten = factor is None and layer.site in self.formats.plan.overwritten
        stored = store_through(scaled, qparams, layer.bounds, in_place=in_place, overwritten=overwritten)
        return stored if factor is None else stored / factor

    def _qparams(self, layer: Layer, stored: Tensor) -> QParams | None:
        """By the batches before this one, so that no step waits for the device; by this one where it is the first."""
        known = self.formats.qparams.get(layer.site)
        if (self.ranges_frozen and known is not None) or not stored.numel():
            return known
        assert layer.output is not None, "only what has a format is stored in one"
        seen = self.ranges.see(layer.site, stored, self.counts.get(layer.site, 0), layer.bounds)
        return known or activation_qparams(layer.output, Range(*seen.tolist()))


def _is_ours(layer: Layer, result: Tensor) -> bool:
    """True where no gradient needs the result, and whoever else holds it expects it to be overwritten."""
    ends_in_function = layer.bounds is not None and not layer.fuses_bounds
    return layer.kind in _FORGETTING and not ends_in_function and not result._is_view()
