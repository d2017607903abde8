"""From a trace to number formats."""

import dataclasses
import fnmatch
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from qdiag.errors import ModelError, OptionError, SiteNotFound
from qdiag.numerics.granularity import PerChannel, PerTensor
from qdiag.numerics.qscheme import QScheme
from qdiag.planning.layer import Layer
from qdiag.planning.targets.target import TARGETS, Target
from qdiag.planning.widths import Bits, LayerBits, Widths
from qdiag.tracing.norms import norm_after, only_consumer
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.status import Status, statuses
from qdiag.tracing.trace import Call, Trace, Value

PerChannelOption = Literal["depthwise", "all"] | None
Formats = Mapping[Site, QScheme | None]


@dataclass(frozen=True, repr=False)
class QuantPlan:
    """Every stored tensor's number format, and what stays in float and why.

    layers: in the order of the forward, the network's inputs first.
    floating: operations that are computed in float, or a part of them, each with the reason.
    trace: what the plan was made from.
    """

    layers: tuple[Layer, ...]
    floating: dict[Site, str]
    trace: Trace
    target: type[Target]
    label: str = ""

    def __repr__(self) -> str:
        return f"QuantPlan {self.label}: {len(self.layers)} layers, {len(self.floating)} operations in float"

    @cached_property
    def traced(self) -> frozenset[Site]:
        """Every operation that the trace saw."""
        return frozenset(self.trace.sites())

    @cached_property
    def by_site(self) -> dict[Site, Layer]:
        """The layer that each planned operation belongs to."""
        return {site: layer for layer in self.layers for site in layer.sites}

    @cached_property
    def overwritten(self) -> frozenset[Site]:
        """Layers whose stored tensor, or a view of it, a later operation writes to, as `out += identity` does.

        Or would in training, as Dropout(inplace=True) does.
        """
        found = set()
        for call in self.trace.calls:
            writes = call.in_place or call.arguments.get("inplace") is True
            value = call.inputs[0] if writes and call.inputs else None
            while value is not None and value.producer is not None and value.producer not in self.by_site:
                before = self.trace[value.producer].inputs
                value = before[0] if before else None
            if value is not None and value.producer is not None:
                found.add(self.by_site[value.producer].site)
        return frozenset(found)

    def layer(self, name: Site | str) -> Layer:
        """The layer of an operation, by Site or text. Raises SiteNotFound."""
        for site, layer in self.by_site.items():
            if name == site or name == str(site):
                return layer
        raise SiteNotFound(f"no layer at {str(name)!r}. List them with [layer.site for layer in plan.layers].")

    def matching(self, pattern: str) -> list[Layer]:
        """Layers by name, module path or pattern; "*" for all. Raises OptionError where there is none."""
        found = [layer for layer in self.layers if any(_matches(site, pattern) for site in layer.sites)]
        if not found:
            names = ", ".join(str(layer.site) for layer in self.layers[:8])
            raise OptionError(f"no layer is called {pattern!r}. There are: {names} …")
        return found

    def in_float(self) -> "QuantPlan":
        """The same layers without formats."""
        nothing: Formats = {layer.site: None for layer in self.layers}
        return self.change(nothing, nothing)

    def change(self, output: Formats | None = None, weight: Formats | None = None) -> "QuantPlan":
        """The same plan with some layers' formats exchanged: `plan.change(output={site: scheme, other: None})`."""
        outputs, weights = output or {}, weight or {}
        layers = tuple(
            dataclasses.replace(
                layer,
                output=outputs.get(layer.site, layer.output),
                weight=weights.get(layer.site, layer.weight),
            )
            for layer in self.layers
        )
        return dataclasses.replace(self, layers=layers)

    def only(self, site: Site) -> "QuantPlan":
        """Nothing but this layer in its formats, all others in float."""
        others: Formats = {layer.site: None for layer in self.layers if layer.site != site}
        return self.change(others, others)

    def with_bits(self, sites: Collection[Site], bits: int | Widths, label: str = "") -> "QuantPlan":
        """The same plan with other bits for what these layers multiply by and store."""
        widths = Widths.of(bits)
        layers = tuple(_resized(layer, widths, self.target) if layer.site in sites else layer for layer in self.layers)
        return dataclasses.replace(self, layers=layers, label=label or self.label)

    def with_formats(self, formats: Mapping[Site, tuple[LayerBits, bool]]) -> "QuantPlan":
        """The same plan with some layers planned anew: (bits, whether weights have a scale for each channel)."""

        def planned(layer: Layer) -> Layer:
            if layer.site not in formats:
                return layer
            bits, by_channel = formats[layer.site]
            return _formatted(layer, bits, "all" if by_channel else None, self.target)

        return dataclasses.replace(self, layers=tuple(map(planned, self.layers)))

    def state(self) -> dict[str, Any]:
        """The formats in plain values, by address."""
        layers = {
            str(layer.site): {
                "output": None if layer.output is None else layer.output.state(),
                "weight": None if layer.weight is None else layer.weight.state(),
                "accumulator_bits": layer.accumulator_bits,
            }
            for layer in self.layers
        }
        return {"label": self.label, "layers": layers}

    def of_state(self, state: Mapping[str, Any]) -> "QuantPlan":
        """The same layers with the formats of a saved plan. Raises ModelError where it is of other layers."""
        saved = state["layers"]
        names = [str(layer.site) for layer in self.layers]
        differing = [name for name in (*saved, *names) if name not in saved or name not in names]
        if differing:
            raise ModelError(f"the saved formats are of another model: only one of the two has {differing[0]!r}.")

        def scheme(known: dict[str, Any] | None) -> QScheme | None:
            return None if known is None else QScheme.of_state(known)

        layers = tuple(
            dataclasses.replace(
                layer,
                output=scheme(known["output"]),
                weight=scheme(known["weight"]),
                accumulator_bits=known["accumulator_bits"],
            )
            for layer, known in zip(self.layers, (saved[name] for name in names), strict=True)
        )
        return dataclasses.replace(self, layers=layers, label=state["label"])


def plan_quantization(
    trace: Trace, bits: Bits = 8, per_channel: PerChannelOption = None, target: str = "tidl"
) -> QuantPlan:
    """Number formats for a traced model: power-of-two scale, symmetric.

    bits: for weights and activations, or `Widths` for each; None plans the float network with Conv and BatchNorm
    merged. A mapping gives them for some layers by name, module path or pattern, and "*" for all others (8 where it is
    missing).
    per_channel: weights with one scale for each output channel, for depthwise convolutions or for all layers.

    Raises OptionError for a pattern that no layer matches, and for options that are not on offer.
    """
    if per_channel not in (None, "depthwise", "all"):
        raise OptionError(f"per_channel={per_channel!r}: it is None, 'depthwise' or 'all'.")
    engine = TARGETS[target]
    builder = _Builder(trace)
    layers = tuple(_formatted(layer, _bits_for(layer, bits), per_channel, engine) for layer in builder.layers)
    if isinstance(bits, Mapping):
        _check_patterns(bits, layers)
    label = " ".join(filter(None, [_label(bits), f"{per_channel} per-channel" if per_channel else ""]))
    return QuantPlan(layers, builder.floating, trace, engine, label)


def _label(bits: Bits) -> str:
    if isinstance(bits, Mapping):
        return "mixed"
    return "float" if bits is None else f"{bits}-bit" if isinstance(bits, int) else str(bits)


def _bits_for(layer: Layer, bits: Bits) -> LayerBits:
    if not isinstance(bits, Mapping):
        return bits
    for pattern, value in bits.items():
        if pattern != "*" and any(_matches(site, pattern) for site in layer.sites):
            return value
    return bits.get("*", 8)


def _matches(site: Site, pattern: str) -> bool:
    return fnmatch.fnmatchcase(str(site), pattern) or site.path == pattern or site.path.startswith(pattern + ".")


def _check_patterns(bits: Mapping[str, LayerBits], layers: tuple[Layer, ...]) -> None:
    sites = [site for layer in layers for site in layer.sites]
    for pattern in bits:
        if pattern != "*" and not any(_matches(site, pattern) for site in sites):
            raise OptionError(
                f"bits for {pattern!r}: no layer is called that. There are: {', '.join(map(str, sites[:8]))} …"
            )


def _resized(layer: Layer, widths: Widths, target: type[Target]) -> Layer:
    output, weight = layer.output, layer.weight
    return dataclasses.replace(
        layer,
        output=None if output is None else dataclasses.replace(output, bits=widths.activations),
        weight=None if weight is None else dataclasses.replace(weight, bits=widths.weights),
        accumulator_bits=target.accumulator_bits(widths.activations),
    )


def _formatted(layer: Layer, bits: LayerBits, per_channel: PerChannelOption, target: type[Target]) -> Layer:
    if bits is None:
        return dataclasses.replace(layer, output=None, weight=None)
    widths = Widths.of(bits)
    weight = None
    if layer.is_weighted:
        by_channel = per_channel == "all" or (per_channel == "depthwise" and layer.is_depthwise)
        weight = QScheme(widths.weights, PerChannel(0) if by_channel else PerTensor(), True, target.weight_rounding)
    output = QScheme(widths.activations, rounding=target.rounding)
    accumulator_bits = target.accumulator_bits(widths.activations)
    return dataclasses.replace(layer, output=output, weight=weight, accumulator_bits=accumulator_bits)


@dataclass
class _Builder:
    """Groups a trace's calls into layers, front to back."""

    trace: Trace
    layers: list[Layer] = field(default_factory=list)
    floating: dict[Site, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.status = statuses(self.trace)
        self.stored: dict[int, Site] = {}  # value number -> the layer whose format it carries
        self.absorbed: set[Site] = set()
        for number, value in enumerate(v for v in self.trace.inputs if v.is_floating):
            site = Site("", "input", number)
            self.layers.append(Layer((site,), None))
            self.stored[value.number] = site
        for call in self.trace.calls:
            if call.site not in self.absorbed:
                self._plan(call)

    def _plan(self, call: Call) -> None:
        output = call.outputs[0]
        status = self.status[output.number]
        if status is Status.OUTSIDE and output.is_floating:
            self.floating[call.site] = self._reason(call)
        if status is not Status.FEATURE:
            return
        if moves_values(call):
            source = next((self.stored[v.number] for v in call.activations if v.number in self.stored), None)
            if source is not None:
                self.stored.update({value.number: source for value in call.outputs})
            return
        self._add_layer(call)

    def _add_layer(self, call: Call) -> None:
        chain, norm, bounds = [call], None, None
        if call.kind is OperationKind.WEIGHTED:
            norm = norm_after(self.trace, call)
            if norm is not None:
                chain += [self.trace[site] for site in norm.sites]
        after = only_consumer(self.trace, chain[-1])
        if after is not None and after.kind is OperationKind.CLIP and clip_bounds(after) is not None:
            chain.append(after)
        if chain[-1].kind is OperationKind.CLIP:
            bounds = clip_bounds(chain[-1])
        sites = tuple(member.site for member in chain)
        self.absorbed.update(sites)
        sources = tuple(dict.fromkeys(self.stored[v.number] for v in call.activations if v.number in self.stored))
        groups = call.arguments.get("groups", 1) if call.kind is OperationKind.WEIGHTED else 1
        layer = Layer(
            sites, call.kind, sources, norm=norm, bounds=bounds, is_depthwise=call.is_depthwise, groups=groups
        )
        self.layers.append(layer)
        for value in chain[-1].outputs:
            self.stored[value.number] = layer.site
        if call.inputs[0].kind == "unseen":
            self.floating[call.site] = f"its input {_UNSEEN}"
        elif call.op in _MULTIPLIES and any(map(self._is_weight, call.inputs)):
            self.floating[call.site] = "its weights stay in float: it is neither a convolution nor a linear layer"

    def _is_weight(self, value: Value) -> bool:
        return self.status[value.number] is Status.STATIC and value.is_floating and math.prod(value.shape) > 1

    def _reason(self, call: Call) -> str:
        if call.kind is OperationKind.OTHER:
            return f"{call.op} is not a layer of the target"
        if any(value.kind == "unseen" for value in call.inputs):
            return f"takes a tensor that {_UNSEEN}"
        return "computed from values that do not come out of the network's layers (pre- or post-processing)"


_UNSEEN = "cannot be followed: register it as a buffer, or compute it with torch's operations, not NumPy or a script"

# Operations that multiply by weights, where these are not computed in the forward as the other factor is.
_MULTIPLIES = (
    *("matmul", "bmm", "mm", "einsum", "baddbmm", "addmm"),
    *("multi_head_attention_forward", "deform_conv2d"),
)


def moves_values(call: Call) -> bool:
    """True where every output value is one of the input's: reshaping, selecting, nearest-neighbour resizing."""
    nearest = call.op == "interpolate" and "nearest" in call.arguments.get("mode", "nearest")
    return call.kind is OperationKind.SAME_RANGE or nearest


def clip_bounds(call: Call) -> tuple[float, float] | None:
    """The bounds of a ReLU-like operation; (-inf, inf) for one that bends instead; None where they are computed."""
    arguments = call.arguments
    if call.op == "relu":
        return 0.0, math.inf
    if call.op == "relu6":
        return 0.0, 6.0
    if call.op == "hardtanh":
        return float(arguments.get("min_val", -1.0)), float(arguments.get("max_val", 1.0))
    if call.op in ("leaky_relu", "prelu"):
        return -math.inf, math.inf
    low, high = arguments.get("min"), arguments.get("max")
    if call.op == "clamp_min":
        low = arguments.get("min", arguments.get("arg1"))
    if call.op == "clamp_max":
        low, high = None, arguments.get("max", arguments.get("arg1"))
    if isinstance(low, Value) or isinstance(high, Value):
        return None
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)
