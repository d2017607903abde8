"""Channels multiplied by powers of two, so that one scale serves all of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.qparams import ceil_log2
from qdiag.numerics.ranges.channel_minmax import ChannelMinMax
from qdiag.numerics.ranges.range import Range
from qdiag.planning.channels import ChannelGroup, channel_groups
from qdiag.planning.layer import Layer
from qdiag.progress import Steps
from qdiag.quantization.lane import Lane
from qdiag.quantization.observe import ObservingLane, run_over
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.tracing.site import Site

SWEEPS = 30


class Equalization(Technique):
    """Cross-layer equalization (arXiv:1906.04721, 4.1), with powers of two, which are exact in float.

    A channel whose weights are small beside its tensor's largest is multiplied up, and the weights that read it are
    divided. Two things bound that. No channel may grow past the end of its tensor's format, where the others would
    lose bits to it. And a channel that a ReLU6 bounds must stay below 6 on the calibration images with its factor, so
    that the ReLU6 goes on as it is: such channels are only ever multiplied up, and one that reaches 6 stays as it is.
    """

    name = "equalization"
    title = "multiplies channels by powers of two, so that one scale serves all of them"
    prepares = True

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        lane = ObservingLane(model.module, model.plan.in_float(), ChannelMinMax, channels_last=model.channels_last)
        yield from run_over(lane, data, "equalizing")
        magnitudes = {site: estimator.magnitudes for site, estimator in lane.estimators.items()}
        groups = channel_groups(model.plan)
        shifts = balance(groups, Lane(model.module, model.plan, model.calibration), magnitudes)
        ranges = {site: _scaled(lane.estimators[site].extremes, shift) for site, shift in shifts.items()}
        return model.change(calibration=model.calibration.change(ranges, ranges, shifts))


def balance(groups: list[ChannelGroup], lane: Lane, magnitudes: Mapping[Site, Tensor]) -> dict[Site, Tensor]:
    """The shift of every stored tensor of the groups, as whole numbers [C]."""
    weights = {layer.site: _magnitude(lane, layer) for group in groups for layer in (*group.writers, *group.readers)}
    logs = [torch.zeros(group.channels) for group in groups]
    room = [_room(group, magnitudes) for group in groups]
    writer_of = {layer.site: number for number, group in enumerate(groups) for layer in group.writers}
    reader_of = {layer.site: number for number, group in enumerate(groups) for layer in group.readers}

    def scaled(layer: Layer) -> Tensor:
        """Largest magnitudes [C_out, C_in/groups] under the present shifts, in log2."""
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


def _room(group: ChannelGroup, magnitudes: Mapping[Site, Tensor]) -> tuple[Tensor, Tensor]:
    """The least and the greatest log2 factor of each channel."""
    most = torch.full((group.channels,), math.inf)
    for site in group.stored:
        seen = magnitudes[site].cpu()
        top = 2.0 ** ceil_log2(float(seen.max()))
        most = torch.minimum(most, torch.log2(min(top, group.ceiling) / seen.clamp(min=top * 2.0**-16)))
    most = most.clamp(min=0.0)
    least = torch.zeros_like(most) if math.isfinite(group.ceiling) else torch.full_like(most, -16.0)
    return least, most.clamp(max=16.0)


def _magnitude(lane: Lane, layer: Layer) -> Tensor:
    """log2 of the largest magnitude for each output and input channel [C_out, C_in/groups]."""
    weights = lane.weights(layer)
    assert weights is not None, "channel groups hold layers with parameters alone"
    return (
        weights.weight.flatten(2).abs().amax(2).log2().cpu()
        if weights.weight.ndim > 2
        else weights.weight.abs().log2().cpu()
    )


def _by_input(magnitudes: Tensor, layer: Layer) -> Tensor:
    """[C_out, C_in/groups] as the largest of each input channel [C_in]."""
    return magnitudes.reshape(layer.groups, -1, magnitudes.shape[1]).amax(1).flatten()


def _scaled(extremes: Tensor | None, shift: Tensor) -> Range:
    assert extremes is not None
    low, high = (extremes * torch.exp2(shift.to(extremes))).amin(1).tolist()
    return Range(low, -high + 0.0)
