"""Running sums of one layer in all lanes, and what they come to."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qdiag.comparison.layer_error import LayerComparison, LayerError, WeightError
from qdiag.numerics.channels import DEAD
from qdiag.numerics.metrics.metric import METRICS, FormatFacts
from qdiag.numerics.metrics.sqnr import sqnr_db
from qdiag.numerics.moments import Moments, MomentSums, ReferenceSums
from qdiag.numerics.qparams import QParams
from qdiag.numerics.ready_weight import WeightFacts
from qdiag.planning.layer import Layer
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.trace import Trace


class LayerSums:
    """Accumulates one layer's errors over batches: as they arise in the network, and from float inputs."""

    def __init__(self, layer: Layer, lanes: Sequence[QuantizedModel]):
        self.layer, self.lanes = layer, lanes
        self.accumulated = [MomentSums() for _ in lanes]
        self.added = [MomentSums() for _ in lanes]
        self.signal = ChannelPower(layer)
        self.added_error = [ChannelPower(layer) for _ in lanes]
        self.rounding_error = [ChannelPower(layer) for _ in lanes]
        self.clipping_error = [ChannelPower(layer) for _ in lanes]

    def update(self, reference: Tensor, twins: Sequence[Tensor], added: Sequence[Tensor]) -> None:
        """reference, twins: this batch's tensor in float and each lane; added: the same from float inputs, or []."""
        if not reference.numel():
            return
        shared = ReferenceSums(reference)
        if added:
            self.signal.update(reference)
        for number, lane in enumerate(self.lanes):
            qparams = lane.formats.qparams.get(self.layer.site)
            ends = None if qparams is None else representable(qparams)
            factor = lane.formats.factor(self.layer, reference)
            stored = None if factor is None else ReferenceSums(reference * factor)
            self.accumulated[number].update(shared, twins[number], ends, stored)
            if added:
                self.added[number].update(shared, added[number], ends, stored)
                self.added_error[number].update(added[number] - reference)
                rounding = lane.interpreter.store(self.layer.site, reference.clone()) - reference
                self.rounding_error[number].update(rounding)
                held = shared if stored is None else stored
                if ends is not None and not (held.low >= ends[0] and held.high <= ends[1]):
                    scaled = reference if factor is None else reference * factor
                    self.clipping_error[number].update(rounding * ((scaled < ends[0]) | (scaled > ends[1])))

    def comparison(self, names: Sequence[str], trace: Trace) -> LayerComparison:
        layer = self.layer
        return LayerComparison(
            site=layer.site,
            title=layer.title,
            sites=layer.sites,
            source=None if layer.is_input else trace[layer.site].source,
            is_weighted=layer.is_weighted,
            is_depthwise=layer.is_depthwise,
            lanes={name: self._error(number) for number, name in enumerate(names)},
        )

    def _error(self, number: int) -> LayerError:
        lane, site = self.lanes[number], self.layer.site
        qparams, facts = lane.formats.qparams.get(site), lane.interpreter.weight_facts.get(site)
        channel, loudness = self.signal.loudest()
        shifted, shift = self.signal.farthest_shift(self.added_error[number])
        limits = None if qparams is None else FormatFacts(qparams.low, qparams.high, qparams.qtype.signed)
        return LayerError(
            format="float" if qparams is None else str(qparams),
            accumulated=_metrics(self.accumulated[number].moments(), limits),
            added=_metrics(self.added[number].moments(), limits),
            added_noise=noise(self.added_error[number].power, self.signal.power),
            rounding_noise=noise(self.rounding_error[number].power, self.signal.power),
            clipping_noise=noise(self.clipping_error[number].power, self.signal.power),
            shift_noise=noise(self.added_error[number].mean_power(), self.signal.power),
            shifted_channel=shifted,
            shift=shift,
            weight_noise=0.0 if facts is None else noise(facts.noise, facts.signal),
            loudest_channel=channel,
            loudness=loudness,
            constancy=self.signal.constancy(channel),
            offset=self.signal.offset(),
            weight=None if facts is None else weight_error(facts),
        )


def representable(qparams: QParams) -> tuple[float, float]:
    """Between which values a (per-tensor) format only rounds: white of 1.0 is one scale off under a range of 2^0."""
    return qparams.low - 0.5 * qparams.tensor_scale, qparams.clip


class ChannelPower:
    """Sums and sums of squares of each channel, over batches."""

    def __init__(self, layer: Layer):
        self.is_last = layer.site.op in ("linear", "layer_norm")  # [..., C]; all else is [N, C, ...]
        self.power: Tensor = torch.zeros(1)
        self.sums: Tensor = torch.zeros(1)
        self.count = 0

    def update(self, x: Tensor) -> None:
        axis = None if x.ndim < 2 else x.ndim - 1 if self.is_last else 1
        others = [d for d in range(x.ndim) if d != axis]
        squares, sums = x.square().sum(others).reshape(-1), x.sum(others).reshape(-1)
        self.power, self.sums = self.power.to(squares) + squares, self.sums.to(sums) + sums
        self.count += x.numel() // max(1, len(squares))

    def mean_power(self) -> Tensor:
        """What each channel's mean makes of its power."""
        return self.sums.square() / max(1, self.count)

    def farthest_shift(self, error: "ChannelPower") -> tuple[int, float]:
        """The channel whose mean an error moves farthest, in the channel's standard deviations; constants left out."""
        deviation = ((self.power - self.mean_power()).clamp(min=0) / max(1, self.count)).sqrt()
        varies = deviation > 1e-6 * deviation.max()
        shift = torch.where(varies, error.sums / max(1, error.count) / deviation, 0.0)
        channel = int(shift.abs().argmax())
        return channel, float(shift[channel])

    def constancy(self, channel: int) -> float:
        """The part of a channel's power that its mean makes, 0 to 1."""
        power = float(self.power[channel])
        return min(1.0, float(self.mean_power()[channel]) / power) if power > 0 else 0.0

    def offset(self) -> float:
        """The median channel's mean over its standard deviation; channels that are the same everywhere left out."""
        means, variances = self.mean_power(), (self.power - self.mean_power()).clamp(min=0)
        varies = variances > 1e-6 * means
        return float((means[varies] / variances[varies]).median().sqrt()) if bool(varies.any()) else 0.0

    def loudest(self) -> tuple[int, float]:
        """The channel of greatest power, and its amplitude over the median channel's."""
        median = float(self.power.median())
        channel = int(self.power.argmax())
        return channel, math.sqrt(float(self.power[channel]) / median) if median > 0 else 1.0


def noise(error: Tensor, signal: Tensor) -> float:
    """Error over signal power, mean over the channels that carry a signal; a channel counts at most 1, as lost."""
    error, signal = torch.broadcast_tensors(error, signal)
    alive = signal > 0
    ratios = (error[alive] / signal[alive]).clamp(max=1.0)
    return float(ratios.mean()) if len(ratios) else 0.0


def weight_error(facts: WeightFacts) -> WeightError:
    """A lane's facts about a weight, as figures."""
    magnitudes = facts.channel_max.tolist()
    alive_from = max(magnitudes, default=0.0) * DEAD
    alive = [(m, channel) for channel, m in enumerate(magnitudes) if m > alive_from]
    least, poorest = min(alive, default=(0.0, 0))
    most, widest = max(alive, default=(0.0, 0))
    noise, signal = float(facts.noise.sum()), float(facts.signal.sum())
    poorest_bits = math.inf
    if facts.qparams is not None and alive:
        poorest_bits = facts.qparams.used_bits(least, poorest)
    input_spread, input_bits = _inputs(facts)
    return WeightError(
        channel_spread=most / least if least else 1.0,
        poorest_bits=poorest_bits,
        poorest_channel=poorest,
        widest_channel=widest,
        channel_magnitudes=tuple(magnitudes),
        sqnr_db=sqnr_db(signal, noise),
        saturated_biases=facts.saturated,
        input_spread=input_spread,
        poorest_input_bits=input_bits,
        peak=1.0 if facts.peak is None else float(facts.peak),
    )


def _inputs(facts: WeightFacts) -> tuple[float, float]:
    """How far apart the weights of input channels are, and the bits of the smallest; under one scale for all."""
    if facts.input_max is None or facts.qparams is None or facts.qparams.axis is not None:
        return 1.0, math.inf
    largest = float(facts.input_max.max())
    alive = facts.input_max[facts.input_max > largest * DEAD]
    if not len(alive):
        return 1.0, math.inf
    return largest / float(alive.min()), facts.qparams.used_bits(float(alive.min()))


def _metrics(moments: Moments, limits: FormatFacts | None) -> dict[str, float | None]:
    """Every metric of the open set; all None where no value was seen."""
    if moments.count == 0:
        return {metric.key: None for metric in METRICS}
    return {metric.key: metric.compute(moments, limits) for metric in METRICS}
