"""A close look at single layers: histograms of float and fixed point, and channels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qdiag.comparison.check_versions import checked_versions
from qdiag.comparison.site_detail import BINS, MAP_SIZE, FeatureMap, SiteDetail
from qdiag.errors import SiteNotFound
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, report
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.site import Site

IMAGES = 8
MAPS = 3


def inspect(
    model: nn.Module | Subject,
    data: Any = None,
    quantized: Mapping[str, QuantizedModel] | None = None,
    sites: Sequence[Site | str] = (),
) -> tuple[SiteDetail, ...]:
    """Look at some layers on the first images of the data, in one forward.

    Inside `progress.listening` it tells how many were looked at.

    Args:
        model: Left as it was; or a `Subject`, which holds the data as well.
        data: As for `compare`; the first eight images of it run.
        quantized: Versions of this model to look at, by name.
        sites: Addresses of the layers.

    Raises:
        InputError: For data that cannot be used.
        OptionError: Where no version is given, or one of another model.
        SiteNotFound: For an address that is no layer's.

    >>> from qdiag.quantization.calibrate import calibrate
    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval(), torch.rand(16, 3, 6, 6)
    >>> (detail,) = inspect(net, images, {"8-bit": calibrate(net, images, "simple")}, ["0"])
    >>> detail.images, list(detail.counts), len(detail.channel_high)
    (8, ['float', '8-bit'], 4)
    """
    subject = Subject.of(model, data)
    quantized = checked_versions(subject, quantized)
    batch, plan = subject.data.first.split(IMAGES)[0], subject.plan()
    wanted = {plan.layer(name).site for name in sites}
    channels_last = all(version.channels_last for version in quantized.values())
    reference = Interpreter.in_float(subject.model, plan, channels_last=channels_last)
    found: dict[Site, SiteDetail] = {}

    def meet(layer: Layer, value: Tensor, twins: list[Tensor], _: list[Tensor]) -> None:
        if layer.site in wanted:
            tensors = {"float": value, **dict(zip(quantized, twins, strict=True))}
            found[layer.site] = _detail(layer, batch.inputs.batch_size, tensors, reference, quantized)
            report(Progress("looking at layers", len(found), len(wanted)))

    with borrow(subject.model):
        lanes = [version.interpreter for version in quantized.values()]
        Lockstep(reference, lanes, meet).run(batch.inputs.in_layout(channels_last))
    missing = sorted(str(site) for site in wanted - set(found))
    if missing:
        raise SiteNotFound(f"layer {missing[0]!r} did not run on these images.", code="no-layer")
    return tuple(found[plan.layer(name).site] for name in sites)


def _detail(
    layer: Layer,
    images: int,
    tensors: Mapping[str, Tensor],
    reference: Interpreter,
    quantized: Mapping[str, QuantizedModel],
) -> SiteDetail:
    value, site = tensors["float"], layer.site
    formats = {name: qparams for name, version in quantized.items() if (qparams := version.formats.qparams.get(site))}
    facts = reference.weight_facts.get(site)
    scales = {name: qparams.tensor_scale for name, qparams in formats.items()}
    edges, counts = _histograms(tensors, list(scales.values())[-1] if scales else 0.0)
    weight_edges, weight_counts = _histograms(*_weights(layer, reference, quantized))
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    if value.ndim in (2, 3, 4, 5) and value.numel():
        rows = value.transpose(0, 1).flatten(1)
        lows, highs = tuple(rows.amin(1).tolist()), tuple(rows.amax(1).tolist())
    return SiteDetail(
        site=site,
        images=images,
        edges=edges,
        counts=counts,
        limits={name: (qparams.low, qparams.high) for name, qparams in formats.items()},
        scales=scales,
        channel_low=lows,
        channel_high=highs,
        weight_magnitudes=() if facts is None else tuple(facts.channel_max.tolist()),
        weight_edges=weight_edges,
        weight_counts=weight_counts,
        maps=_maps(value, list(tensors.values())[-1]),
    )


def _maps(value: Tensor, version: Tensor) -> tuple[FeatureMap, ...]:
    if value.ndim != 4 or not value.numel() or min(value.shape[2:]) < 2:
        return ()
    step = -(-max(value.shape[2:]) // MAP_SIZE)
    reference, twin = (tensor[0, :, ::step, ::step].detach().float().cpu() for tensor in (value, version))
    noise = (twin - reference).square().mean((1, 2)) / reference.square().mean((1, 2)).clamp(min=1e-12)
    worst = noise.topk(min(MAPS, len(noise))).indices.tolist()
    return tuple(FeatureMap(channel, reference[channel].numpy(), twin[channel].numpy()) for channel in worst)


def _weights(
    layer: Layer, reference: Interpreter, quantized: Mapping[str, QuantizedModel]
) -> tuple[dict[str, Tensor], float]:
    """In float, and as the last lane multiplies with it; and the scale of its format, 0 where there is not one.

    Nothing where there is no weight, or the forward computes it.
    """
    if not layer.is_weighted:
        return {}, 0.0
    name, last = list(quantized.items())[-1]
    found = {"float": reference.operands(layer), name: last.interpreter.operands(last.interpreter.layers[layer.site])}
    facts = last.interpreter.facts(last.interpreter.layers[layer.site])
    qparams = None if facts is None else facts.qparams
    scale = 0.0 if qparams is None or qparams.axis is not None else qparams.tensor_scale
    return {name: operands.weight for name, operands in found.items() if operands is not None}, scale


def _histograms(tensors: Mapping[str, Tensor], scale: float) -> tuple[tuple[float, ...], dict[str, tuple[int, ...]]]:
    """Shared borders, and values in each bin by name; nothing of nothing.

    scale: of a format. A bin is a whole number of it wide, or some would hold more of its values than their neighbours.
    """
    if not tensors:
        return (), {}
    low = min((float(t.min()) for t in tensors.values() if t.numel()), default=0.0)
    high = max((float(t.max()) for t in tensors.values() if t.numel()), default=0.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    bins = BINS
    if scale > 0:
        first, last = math.floor(low / scale + 0.5), math.floor(high / scale + 0.5)
        width = -(-(last - first + 1) // BINS)  # of a bin, in scale units
        bins = -(-(last - first + 1) // width)
        low, high = (first - 0.5) * scale, (first - 0.5 + bins * width) * scale
    counts = {name: _counts(tensor, bins, low, high) for name, tensor in tensors.items()}
    return tuple(np.linspace(low, high, bins + 1).tolist()), counts


def _counts(tensor: Tensor, bins: int, low: float, high: float) -> tuple[int, ...]:
    # bins by number, not by their borders: of equal width they are found without a search
    counts, _ = np.histogram(tensor.detach().to("cpu", torch.float64).numpy(), bins, (low, high))
    return tuple(counts.tolist())
