"""Every stored tensor's number format."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qdiag.errors import ModelError, OptionError, SiteNotFound
from qdiag.numerics.qscheme import QScheme
from qdiag.planning.formats import formatted, resized
from qdiag.planning.layer import Layer
from qdiag.planning.matching import matches
from qdiag.planning.targets.target import Target
from qdiag.planning.widths import LayerBits, Widths
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Trace

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
        raise SiteNotFound(
            f"no layer at {str(name)!r}. List them with [layer.site for layer in plan.layers].", code="no-layer"
        )

    def matching(self, pattern: str) -> list[Layer]:
        """Layers by name, module path or pattern; "*" for all. Raises OptionError where there is none."""
        found = [layer for layer in self.layers if any(matches(site, pattern) for site in layer.sites)]
        if not found:
            names = ", ".join(str(layer.site) for layer in self.layers[:8])
            raise OptionError(f"no layer is called {pattern!r}. There are: {names} …", code="no-layer-matches")
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
        layers = tuple(resized(layer, widths, self.target) if layer.site in sites else layer for layer in self.layers)
        return dataclasses.replace(self, layers=layers, label=label or self.label)

    def with_formats(self, formats: Mapping[Site, tuple[LayerBits, bool]]) -> "QuantPlan":
        """The same plan with some layers planned anew: (bits, whether weights have a scale for each channel)."""

        def planned(layer: Layer) -> Layer:
            if layer.site not in formats:
                return layer
            bits, by_channel = formats[layer.site]
            return formatted(layer, bits, "all" if by_channel else None, self.target)

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
            raise ModelError(
                f"the saved formats are of another model: only one of the two has {differing[0]!r}.", code="other-model"
            )

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
