"""Running sums of one layer in all lanes, and what they come to."""

import math
from collections.abc import Sequence

from torch import Tensor

from qdiag.comparison.layer_error import LayerComparison, LayerError, WeightError
from qdiag.numerics.fake_quantize import fake_quantize_
from qdiag.numerics.metrics.metric import METRICS, FormatFacts
from qdiag.numerics.moments import Moments, MomentSums, ReferenceSums
from qdiag.planning.layer import Layer
from qdiag.quantization.lane import Lane, WeightFacts
from qdiag.tracing.trace import Trace

DEAD_BITS = 16
"""A channel this many bits below the widest is dead: it would be zero in 16 bits too."""


class LayerSums:
    """Accumulates one layer's errors over batches: as they arise in the network, and from float inputs."""

    def __init__(self, layer: Layer, lanes: Sequence[Lane]):
        self.layer, self.lanes = layer, lanes
        self.accumulated = [MomentSums() for _ in lanes]
        self.added = [MomentSums() for _ in lanes]
        self.added_by_channel = [ChannelNoise(layer) for _ in lanes]
        self.rounding_by_channel = [ChannelNoise(layer) for _ in lanes]

    def update(self, reference: Tensor, twins: Sequence[Tensor], solo: Sequence[Tensor]) -> None:
        """reference, twins: this batch's tensor in float and each lane; solo: the same from float inputs, or []."""
        if not reference.numel():
            return
        shared = ReferenceSums(reference)
        for number, lane in enumerate(self.lanes):
            qparams = lane.qparams.get(self.layer.site)
            ends = None if qparams is None else (qparams.low, qparams.high)
            self.accumulated[number].update(shared, twins[number], ends)
            if solo:
                self.added[number].update(shared, solo[number], ends)
                self.added_by_channel[number].update(reference, solo[number])
                rounded = reference.clone()
                if qparams is not None:
                    fake_quantize_(rounded, qparams, *(self.layer.bounds or ()))
                self.rounding_by_channel[number].update(reference, rounded)

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
        qparams, facts = lane.qparams.get(site), lane.weight_facts.get(site)
        limits = None if qparams is None else FormatFacts(qparams.low, qparams.high, qparams.qtype.signed)
        return LayerError(
            format="float" if qparams is None else str(qparams),
            accumulated=_metrics(self.accumulated[number].moments(), limits),
            added=_metrics(self.added[number].moments(), limits),
            rounding_noise=self.rounding_by_channel[number].mean(),
            added_noise=self.added_by_channel[number].mean(),
            weight=None if facts is None else weight_error(facts),
        )


class ChannelNoise:
    """Error power over signal power of each channel, and their mean."""

    def __init__(self, layer: Layer):
        self.last_axis = layer.site.op in ("linear", "layer_norm")
        self.signal: Tensor | float = 0.0
        self.error: Tensor | float = 0.0

    def update(self, reference: Tensor, test: Tensor) -> None:
        """Fold one batch in: [N, C, ...], or [..., C] after a linear layer."""
        self.signal = self.signal + self._by_channel(reference)
        self.error = self.error + self._by_channel(test - reference)

    def _by_channel(self, x: Tensor) -> Tensor:
        if x.ndim < 2:
            return x.square().sum().reshape(1)
        axis = x.ndim - 1 if self.last_axis else 1
        return x.square().sum([d for d in range(x.ndim) if d != axis])

    def mean(self) -> float:
        """Mean over the channels that carry a signal; each counts at most 1, as a channel that is lost."""
        if not isinstance(self.signal, Tensor) or not isinstance(self.error, Tensor):
            return 0.0
        alive = self.signal > 0
        ratios = (self.error[alive] / self.signal[alive]).clamp(max=1.0)
        return float(ratios.mean()) if len(ratios) else 0.0


def weight_error(facts: WeightFacts) -> WeightError:
    """A lane's facts about a weight, as figures."""
    magnitudes = facts.channel_max.tolist()
    alive = [(m, channel) for channel, m in enumerate(magnitudes) if m > max(magnitudes) * 2.0**-DEAD_BITS]
    least, poorest = min(alive, default=(0.0, 0))
    most, widest = max(alive, default=(0.0, 0))
    noise, signal = float(facts.noise.sum()), float(facts.signal.sum())
    poorest_bits = math.inf
    if facts.qparams is not None and alive:
        exponent = facts.qparams.exponent
        step = 2.0 ** (exponent if isinstance(exponent, int) else int(exponent[poorest]))
        poorest_bits = math.log2(max(least / step, 0.5)) + 1
    return WeightError(
        channel_spread=most / least if least else 1.0,
        poorest_bits=poorest_bits,
        poorest_channel=poorest,
        widest_channel=widest,
        channel_magnitudes=tuple(magnitudes),
        sqnr_db=10 * math.log10(signal / noise) if noise and signal else math.inf,
        saturated_biases=facts.saturated,
    )


def _metrics(moments: Moments, limits: FormatFacts | None) -> dict[str, float | None]:
    """Every metric of the open set; all None where no value was seen."""
    if moments.count == 0:
        return {metric.key: None for metric in METRICS}
    return {metric.key: metric.compute(moments, limits) for metric in METRICS}
