"""A close look at single layers: histograms of float and fixed point, and channels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qdiag.errors import SiteNotFound
from qdiag.planning.layer import Layer
from qdiag.planning.plan import plan_quantization
from qdiag.progress import Progress, report
from qdiag.quantization.lane import Lane
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel, layout
from qdiag.tracing.guest import borrow
from qdiag.tracing.inputs import first_batch
from qdiag.tracing.site import Site
from qdiag.tracing.tracer import trace

BINS = 128
IMAGES = 8
MAPS = 3
MAP_SIZE = 64


@dataclass(frozen=True)
class FeatureMap:
    """One channel of the first image, [height, width], at most MAP_SIZE each way: in float, and in the last lane."""

    channel: int
    reference: np.ndarray
    version: np.ndarray


@dataclass(frozen=True)
class SiteDetail:
    """One stored tensor on a few images.

    edges: BINS + 1 borders shared by all histograms. counts: values in each bin, for "float" and each lane.
    ends: least and greatest value of each lane's format. channel_low, channel_high: extremes of each channel (axis 1)
    of the float tensor, empty where it has no such axis. weight_magnitudes: largest weight of each output channel.
    maps: the channels [H, W] that differ most, for their size; empty where a channel is no picture.
    """

    site: Site
    images: int
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]
    ends: Mapping[str, tuple[float, float]]
    channel_low: tuple[float, ...]
    channel_high: tuple[float, ...]
    weight_magnitudes: tuple[float, ...]
    maps: tuple[FeatureMap, ...] = ()


def inspect(
    model: nn.Module, data: Any, quantized: Mapping[str, QuantizedModel], sites: Sequence[Site | str]
) -> tuple[SiteDetail, ...]:
    """Look at some layers on the first images of the data, in one forward.

    Inside `progress.listening` it tells how many were looked at.
    Raises SiteNotFound for an address that is no layer's.
    """
    batch = first_batch(data, model).split(IMAGES)[0]
    plan = plan_quantization(trace(model, batch.inputs), None)
    wanted = {plan.layer(name).site for name in sites}
    channels_last = all(qm.channels_last for qm in quantized.values())
    reference = Lane(model, plan, channels_last=channels_last)
    lanes = {name: qm.lane for name, qm in quantized.items()}
    found: dict[Site, SiteDetail] = {}

    def meet(layer: Layer, value: Tensor, twins: list[Tensor], _: list[Tensor]) -> None:
        if layer.site in wanted:
            tensors = {"float": value, **dict(zip(lanes, twins, strict=True))}
            facts = reference.weight_facts.get(layer.site)
            weights = () if facts is None else tuple(facts.channel_max.tolist())
            ends = {name: (q.low, q.high) for name, lane in lanes.items() if (q := lane.qparams.get(layer.site))}
            found[layer.site] = _detail(layer.site, batch.inputs.batch_size, tensors, ends, weights)
            report(Progress("looking at layers", len(found), len(wanted)))

    with borrow(model):
        Lockstep(reference, list(lanes.values()), meet, alone=False).run(layout(batch.inputs, channels_last))
    missing = sorted(str(site) for site in wanted - set(found))
    if missing:
        raise SiteNotFound(f"layer {missing[0]!r} did not run on these images.")
    return tuple(found[plan.layer(name).site] for name in sites)


def _detail(
    site: Site,
    images: int,
    tensors: Mapping[str, Tensor],
    ends: Mapping[str, tuple[float, float]],
    weights: tuple[float, ...],
) -> SiteDetail:
    value = tensors["float"]
    low = min((float(t.min()) for t in tensors.values() if t.numel()), default=0.0)
    high = max((float(t.max()) for t in tensors.values() if t.numel()), default=0.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, math.nextafter(high, math.inf), BINS + 1)
    counts = {name: _histogram(tensor, edges) for name, tensor in tensors.items()}
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    if value.ndim in (2, 3, 4, 5) and value.numel():
        rows = value.transpose(0, 1).flatten(1)
        lows, highs = tuple(rows.amin(1).tolist()), tuple(rows.amax(1).tolist())
    maps = _maps(value, list(tensors.values())[-1])
    return SiteDetail(site, images, tuple(edges.tolist()), counts, ends, lows, highs, weights, maps)


def _maps(value: Tensor, version: Tensor) -> tuple[FeatureMap, ...]:
    if value.ndim != 4 or not value.numel() or min(value.shape[2:]) < 2:
        return ()
    step = -(-max(value.shape[2:]) // MAP_SIZE)
    reference, twin = (tensor[0, :, ::step, ::step].detach().float().cpu() for tensor in (value, version))
    noise = (twin - reference).square().mean((1, 2)) / reference.square().mean((1, 2)).clamp(min=1e-12)
    worst = noise.topk(min(MAPS, len(noise))).indices.tolist()
    return tuple(FeatureMap(channel, reference[channel].numpy(), twin[channel].numpy()) for channel in worst)


def _histogram(tensor: Tensor, edges: np.ndarray) -> tuple[int, ...]:
    counts, _ = np.histogram(tensor.detach().to("cpu", torch.float64).numpy(), bins=edges)
    return tuple(counts.tolist())
