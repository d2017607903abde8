"""From a trace to number formats."""

from collections.abc import Mapping

from qdiag.errors import OptionError
from qdiag.planning.formats import PerChannelOption, formatted
from qdiag.planning.grouping import grouped
from qdiag.planning.layer import Layer
from qdiag.planning.matching import matches
from qdiag.planning.plan import QuantPlan
from qdiag.planning.targets.target import TARGETS
from qdiag.planning.widths import Bits, LayerBits
from qdiag.tracing.trace import Trace


def plan_quantization(
    trace: Trace, bits: Bits = 8, per_channel: PerChannelOption = None, target: str = "tidl"
) -> QuantPlan:
    """Number formats for a traced model: power-of-two scale, symmetric.

    Args:
        trace: Of the model's forward.
        bits: For weights and activations, or `Widths` for each; None plans the float network with Conv and BatchNorm
            merged. A mapping gives them for some layers by name, module path or pattern, and "*" for all others (8
            where it is missing).
        per_channel: Weights with one scale for each output channel: of depthwise convolutions, or of all layers.
        target: Whose arithmetic the formats are for, by name.

    Returns:
        The plan, which holds the trace.

    Raises:
        OptionError: For a pattern that no layer matches, and for options that are not on offer.

    >>> import torch
    >>> from qdiag.tracing.tracer import trace
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> plan_quantization(trace(network, torch.zeros(1, 3, 8, 8)), bits=8)
    QuantPlan 8-bit: 2 layers, 0 operations in float
    """
    if per_channel not in (None, "depthwise", "all"):
        raise OptionError(f"per_channel={per_channel!r}: it is None, 'depthwise' or 'all'.", code="option-value")
    engine = TARGETS[target]
    grouping = grouped(trace)
    layers = tuple(formatted(layer, _bits_for(layer, bits), per_channel, engine) for layer in grouping.layers)
    if isinstance(bits, Mapping):
        _check_patterns(bits, layers)
    label = " ".join(filter(None, [_label(bits), f"{per_channel} per-channel" if per_channel else ""]))
    return QuantPlan(layers, grouping.floating, trace, engine, label)


def _label(bits: Bits) -> str:
    if isinstance(bits, Mapping):
        return "mixed"
    return "float" if bits is None else f"{bits}-bit" if isinstance(bits, int) else str(bits)


def _bits_for(layer: Layer, bits: Bits) -> LayerBits:
    if not isinstance(bits, Mapping):
        return bits
    for pattern, value in bits.items():
        if pattern != "*" and any(matches(site, pattern) for site in layer.sites):
            return value
    return bits.get("*", 8)


def _check_patterns(bits: Mapping[str, LayerBits], layers: tuple[Layer, ...]) -> None:
    sites = [site for layer in layers for site in layer.sites]
    for pattern in bits:
        if pattern != "*" and not any(matches(site, pattern) for site in sites):
            raise OptionError(
                f"bits for {pattern!r}: no layer is called that. There are: {', '.join(map(str, sites[:8]))} …",
                code="no-layer-matches",
            )
