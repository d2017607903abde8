"""Channels multiplied by powers of two, so that one scale serves all of them."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.ranges.channel_minmax import ChannelMinMax
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.shifts import as_shift, power_cut_off
from qdiag.planning.channels import ChannelGroup, channel_groups
from qdiag.planning.layer import Layer
from qdiag.progress import Steps
from qdiag.quantization.observe import run_over
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.site import Site

SWEEPS = 30
MOST = 8
"""The largest shift, either way."""
CUT_OFF = 1e-3
"""The part of a channel's power that a factor may cut off: -30 dB, below what 8 bits make of a stretched tensor."""


class Equalization(Technique):
    """Cross-layer equalization (arXiv:1906.04721, 4.1), with powers of two, which are exact in float.

    A channel whose weights are small beside its tensor's largest is multiplied up, and the weights that read it are
    divided. Every channel has room up to the end of its tensor's format, or to a ReLU6's 6, which goes on as it is:
    a few values may be cut off there, as long as they hold less than a thousandth of the channel's power. A channel
    that a ReLU6 bounds is only ever multiplied up, since a 6 that is divided would need a bound of its own.

    sites: of layers, whose tensors alone are equalized, those that they write and those that they read; None for all.
    """

    name = "equalization"
    title = "multiplies channels by powers of two, so that one scale serves all of them"

    def __init__(self, sites: Collection[Site] | None = None):
        self.sites = sites

    def groups(self, model: QuantizedModel) -> list[ChannelGroup]:
        """Which channels are multiplied together."""
        return [group for group in channel_groups(model.plan) if self._is_wanted(group)]

    def _is_wanted(self, group: ChannelGroup) -> bool:
        around = {*group.stored, *(layer.site for layer in (*group.writers, *group.readers))}
        return self.sites is None or not around.isdisjoint(self.sites)

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        groups = self.groups(model)
        ceilings = {site: group.ceiling for group in groups for site in group.stored}
        clipping = _Clipping(model, ceilings)
        yield from run_over(model.in_float(Watchers(stored=clipping.see)), data, "equalizing")
        room = [_room(group, clipping) for group in groups]
        shifts = balance(groups, model, room)
        ranges = {site: clipping.range(site, shift) for site, shift in shifts.items()}
        return model.change(calibration=model.calibration.change(ranges, ranges, shifts))


class _Clipping:
    """Sums up what each channel of some of the float network's tensors would lose if multiplied and then cut off.

    clips: where the tensors are cut off. lost[site][k]: what a shift of k + 1 costs each channel, in power [K, C].
    """

    def __init__(self, model: QuantizedModel, ceilings: Mapping[Site, float]):
        ranges = model.calibration.ranges
        self.clips = {site: min(ranges[site].clip, ceiling) for site, ceiling in ceilings.items()}
        self.power: dict[Site, Tensor] = {}
        self.lost: dict[Site, Tensor] = {}
        self.extremes = {site: ChannelMinMax() for site in ceilings}

    def range(self, site: Site, shift: Tensor) -> Range:
        """Of a tensor whose channels are multiplied, and cut off at its end."""
        shifted, clip = self.extremes[site].shifted(shift), self.clips[site]
        return Range(max(shifted.low, -clip), min(shifted.high, clip))

    def see(self, layer: Layer, stored: Tensor) -> None:
        """Watches stored tensors."""
        site = layer.site
        if site in self.clips and stored.numel():
            rows = stored.transpose(0, 1).flatten(1).abs()
            self.lost[site] = self.lost.get(site, 0) + power_cut_off(rows, self.clips[site], MOST)
            self.extremes[site].update(stored)
            self.power[site] = self.power.get(site, 0) + rows.square().sum(1)


def balance(groups: list[ChannelGroup], model: QuantizedModel, room: list[tuple[Tensor, Tensor]]) -> dict[Site, Tensor]:
    """The shift of every stored tensor of the groups, as whole numbers [C].

    room: for each group the least and the greatest shift of each channel.
    """
    weights = {layer.site: _magnitude(model, layer) for group in groups for layer in (*group.writers, *group.readers)}
    logs = [torch.zeros(group.channels) for group in groups]
    writer_of = {layer.site: number for number, group in enumerate(groups) for layer in group.writers}
    reader_of = {layer.site: number for number, group in enumerate(groups) for layer in group.readers}

    def scaled(layer: Layer) -> Tensor:
        """Largest magnitudes [C_out, C_in/groups] under the present shifts, in the unit of these."""
        own = weights[layer.site]
        if layer.site in writer_of:
            own = own + logs[writer_of[layer.site]][:, None]
        if layer.site in reader_of:
            before = logs[reader_of[layer.site]].reshape(layer.groups, 1, -1)
            own = own - before.expand(-1, len(own) // layer.groups, -1).flatten(0, 1)
        return own - own.max()

    for _ in range(SWEEPS):
        for number, group in enumerate(groups):
            rows = torch.stack([scaled(layer).amax(1) for layer in group.writers]).amax(0)
            columns = torch.stack([_by_input(scaled(layer), layer) for layer in group.readers]).amax(0)
            change = (columns - rows) / 2
            change[~torch.isfinite(change)] = 0.0
            least, most = room[number]
            logs[number] = torch.minimum(torch.maximum(logs[number] + change, least), most)
    return {site: _whole(logs[number], room[number]) for number, group in enumerate(groups) for site in group.stored}


def _whole(logs: Tensor, room: tuple[Tensor, Tensor]) -> Tensor:
    least, most = room
    return torch.minimum(torch.maximum(logs.round(), least.ceil()), most.floor()).to(torch.int8)


def _room(group: ChannelGroup, clipping: _Clipping) -> tuple[Tensor, Tensor]:
    """The least and the greatest shift of each channel [C]."""
    most = torch.full((group.channels,), float(MOST))
    for site in group.stored:
        bearable = clipping.lost[site] <= CUT_OFF * clipping.power[site]
        most = torch.minimum(most, bearable.cumprod(0).sum(0).cpu())
    return torch.full_like(most, 0.0 if math.isfinite(group.ceiling) else -MOST), most


def _magnitude(model: QuantizedModel, layer: Layer) -> Tensor:
    """The largest magnitude for each output and input channel [C_out, C_in/groups], in the unit of shifts."""
    weights = model.weights(layer)
    assert weights is not None, "channel groups hold layers with parameters alone"
    rows = weights.weight.abs().reshape(*weights.weight.shape[:2], -1)
    return as_shift(rows.amax(2)).cpu()


def _by_input(magnitudes: Tensor, layer: Layer) -> Tensor:
    """[C_out, C_in/groups] as the largest of each input channel [C_in]."""
    return magnitudes.reshape(layer.groups, -1, magnitudes.shape[1]).amax(1).flatten()
