"""The quantized network with gradients: what quantization-aware training computes."""

from typing import Any

import torch
from torch import Tensor, nn

from qdiag.numerics.channels import by_channel
from qdiag.numerics.merge import input_first, merge, output_first
from qdiag.numerics.qparams import QParams, activation_qparams, weight_qparams
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.ste import store_through, weight_through
from qdiag.numerics.tqt import learned_through
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.lane import Lane
from qdiag.quantization.running_ranges import RunningRanges
from qdiag.quantization.thresholds import Thresholds
from qdiag.tracing.intercept import Function
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.operations import OperationKind, replace_arguments
from qdiag.tracing.site import Site

# Their gradient does not need their result, which may therefore be overwritten.
_FORGETTING = (
    OperationKind.WEIGHTED,
    OperationKind.NORM,
    OperationKind.ELEMENTWISE,
    OperationKind.CONCAT,
    OperationKind.POOL,
)


class QatLane(Lane):
    """One forward in train mode: weights and stored tensors rounded, gradients straight through, ranges followed.

    A convolution runs once. Where its BatchNorm normalizes by the batch, the weight is rounded as it will be merged
    with the running statistics, and divided by the merging factor again, channel by channel: so the convolution gives
    what BatchNorm expects, and BatchNorm runs as the user wrote it. Where norms are frozen, or in eval mode, BatchNorm
    is merged, with gradients to all that it is made of. Biases are not rounded: their steps are the accumulator's.

    calibration: with the ranges known by now. ranges: followed in place, unless frozen. thresholds: learned in their
    place, where given.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: QuantPlan,
        calibration: Calibration,
        ranges: RunningRanges,
        *,
        ranges_frozen: bool,
        norms_frozen: bool,
        channels_last: bool,
        thresholds: Thresholds | None = None,
    ):
        super().__init__(model, plan, calibration, channels_last=channels_last)
        self.thresholds = thresholds
        self.ranges, self.ranges_frozen, self.norms_frozen = ranges, ranges_frozen, norms_frozen
        self.counts = ranges.counts()

    def run(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.norms_frozen and site.op == "batch_norm":
            args, kwargs = replace_arguments(site.op, args, kwargs, {"training": False})
        return super().run(site, function, args, kwargs)

    # Stored tensors -----------------------------------------------------------------------------------

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        if layer.output is None:
            return result
        factor = self.factor(layer, result)
        scaled = result if factor is None else result * factor
        qparams = self._qparams(layer, layer.output, scaled)
        if qparams is None:
            return result
        if self.thresholds is not None:
            learned = learned_through(scaled, self.thresholds.output(layer.site), qparams, layer.bounds)
            return learned if factor is None else learned / factor
        exact = scaled.dtype in (torch.float32, torch.float64)
        in_place = exact and not layer.is_input and (factor is not None or self._is_ours(layer, result))
        overwritten = factor is None and layer.site in self.plan.overwritten
        stored = store_through(scaled, qparams, layer.bounds, in_place=in_place, overwritten=overwritten)
        return stored if factor is None else stored / factor

    def _qparams(self, layer: Layer, scheme: QScheme, stored: Tensor) -> QParams | None:
        """By the batches before this one, so that no step waits for the device; by this one where it is the first."""
        known = self.qparams.get(layer.site)
        if (self.ranges_frozen and known is not None) or not stored.numel():
            return known
        seen = self.ranges.see(layer.site, stored, self.counts.get(layer.site, 0), layer.bounds)
        return known or activation_qparams(scheme, Range(*seen.tolist()))

    def _is_ours(self, layer: Layer, result: Tensor) -> bool:
        """True where no gradient needs the result, and whoever else holds it expects it to be overwritten."""
        ends_in_function = layer.bounds is not None and not self._bounds_merge(layer)
        return layer.kind in _FORGETTING and not ends_in_function and not result._is_view()

    def _rounds(self, layer: Layer) -> bool:
        return layer.output is not None

    # Weights ------------------------------------------------------------------------------------------

    def _merges_norm(self, layer: Layer, site: Site) -> bool:
        return super()._merges_norm(layer, site) and not self._by_batch(layer.norm)

    def _by_batch(self, norm: MergedNorm | None) -> bool:
        """True where a BatchNorm is to normalize by the batch, and to learn its statistics."""
        if norm is None or self.norms_frozen or norm.sites[0].op != "batch_norm":
            return False
        return self.model.get_submodule(norm.mean.rpartition(".")[0]).training

    def _prepare(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        own = output_first(weight, layer.is_transposed, layer.groups)
        factor = self.weight_factor(layer, own.detach())
        norm, by_batch = None if layer.norm is None else layer.norm.state(self.model), self._by_batch(layer.norm)
        if norm is not None and by_batch:
            factor = factor * by_channel(norm.factor().detach(), own, 0)
        elif norm is not None:
            own, bias = merge(own, bias, norm)
        learned = None if self.thresholds is None else self.thresholds.weight(layer.site)
        if layer.weight is not None and learned is not None:
            qparams = weight_qparams(layer.weight, own, self.weight_top(layer))
            own = learned_through(own * factor, learned, qparams) / factor
        elif layer.weight is not None:
            own = weight_through(own, layer.weight, factor, self.weight_top(layer), keeps_lost=by_batch)
        prepared = input_first(own, layer.is_transposed, layer.groups)
        if self.channels_last and prepared.ndim == 4:
            prepared = prepared.contiguous(memory_format=torch.channels_last)
        return prepared, bias
