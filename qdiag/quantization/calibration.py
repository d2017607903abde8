"""What calibration found out: all that a quantized model holds beside the user's module and the plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from qdiag.errors import ModelError
from qdiag.numerics.ranges.range import Range
from qdiag.quantization.saved_state import check_ranges, check_tensors
from qdiag.tracing.site import Site

KEPT = "tops"
"""What saved states call `weight_clip_exponents`."""


@dataclass(frozen=True)
class Fidelity:
    """Signal over error power, in dB: of all the network's outputs together, and of every stored tensor.

    clipped_percent: of a stored tensor's values, in float, those that lie beyond the ends of its format.
    """

    output_db: float
    layers: Mapping[Site, float]
    clipped_percent: Mapping[Site, float]

    def state(self) -> dict[str, Any]:
        """Plain containers, by address."""
        parts = {"layers": self.layers, "clipped_percent": self.clipped_percent}
        by_name = {name: {str(site): value for site, value in part.items()} for name, part in parts.items()}
        return {"output_db": self.output_db, **by_name}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], sites: Mapping[str, Site]) -> "Fidelity":
        parts = [{sites[name]: value for name, value in state[part].items()} for part in ("layers", "clipped_percent")]
        return cls(state["output_db"], *parts)


@dataclass(frozen=True)
class Applied:
    """A technique that was tried: how near to float tensors were before and after it, and whether it was kept."""

    name: str
    title: str
    kept: bool
    before: Fidelity
    after: Fidelity

    @property
    def reached(self) -> Fidelity:
        """Of the model that the next technique was given."""
        return self.after if self.kept else self.before

    def state(self) -> dict[str, Any]:
        """Plain containers, by address."""
        fidelities = {"before": self.before.state(), "after": self.after.state()}
        return {"name": self.name, "title": self.title, "kept": self.kept, **fidelities}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], sites: Mapping[str, Site]) -> "Applied":
        fidelities = [Fidelity.of_state(state[part], sites) for part in ("before", "after")]
        return cls(state["name"], state["title"], state["kept"], *fidelities)


@dataclass(frozen=True)
class LayerWeights:
    """A weight and bias in place of the module's own, which they were made from.

    weight: merged with BatchNorm, output channels first [C, ...], not yet rounded. bias: [C], or None.
    made_from: `contents_of` the module's own tensors (weight, bias, BatchNorm) when these were made.
    """

    weight: Tensor
    bias: Tensor | None
    made_from: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """By layer; what is missing is the module's own.

    ranges: that the formats of stored tensors cover, their channels multiplied by 2^shift.
    seen: the extremes on the calibration images, at the same scale.
    shifts: for each channel [C] of a stored tensor, the power of two that it is multiplied by on the target. The
    weights around it absorb that, so that the network computes the same.
    weights: what takes the place of the module's own.
    weight_clip_exponents: log2 of the ends of weights' formats, where these are kept; [] or by output channel [C]. A
    weight beyond is clipped. Other formats follow the largest weight.
    history: the techniques that were applied, in order.
    images: that the extremes were seen on; 0 where that is not known.
    """

    ranges: Mapping[Site, Range]
    seen: Mapping[Site, Range] = field(default_factory=dict)
    shifts: Mapping[Site, Tensor] = field(default_factory=dict)
    weights: Mapping[Site, LayerWeights] = field(default_factory=dict)
    weight_clip_exponents: Mapping[Site, Tensor] = field(default_factory=dict)
    history: tuple[Applied, ...] = ()
    images: int = 0

    def noting(self, applied: Applied) -> "Calibration":
        """The same with one more entry in its history."""
        return replace(self, history=(*self.history, applied))

    def change(
        self,
        ranges: Mapping[Site, Range] | None = None,
        seen: Mapping[Site, Range] | None = None,
        shifts: Mapping[Site, Tensor] | None = None,
        weights: Mapping[Site, LayerWeights] | None = None,
    ) -> "Calibration":
        """The same with some layers' entries exchanged."""
        return replace(
            self,
            ranges={**self.ranges, **(ranges or {})},
            seen={**self.seen, **(seen or {})},
            shifts={**self.shifts, **(shifts or {})},
            weights={**self.weights, **(weights or {})},
        )

    def state(self) -> dict[str, Any]:
        """Plain containers of numbers and tensors, by address."""
        return {
            "ranges": {str(site): (found.low, found.high) for site, found in self.ranges.items()},
            "seen": {str(site): (found.low, found.high) for site, found in self.seen.items()},
            "shifts": {str(site): shift for site, shift in self.shifts.items()},
            "weights": {str(site): (w.weight, w.bias, w.made_from) for site, w in self.weights.items()},
            KEPT: {str(site): exponent for site, exponent in self.weight_clip_exponents.items()},
            "history": [applied.state() for applied in self.history],
            "images": self.images,
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any], sites: Iterable[Site]) -> "Calibration":
        """The inverse of `state`. Raises ModelError for an address that is none of the sites, InputError for damage."""
        check_ranges(state)
        check_tensors(state, "shifts")
        check_tensors(state, KEPT)
        by_name = {str(site): site for site in sites}
        by_layer = [state[part] for part in ("ranges", "seen", "shifts", "weights", KEPT)]
        unknown = sorted(name for part in by_layer for name in part if name not in by_name)
        if unknown:
            raise ModelError(
                f"the saved state is of {unknown[0]!r}, which this model's plan does not hold.", code="other-model"
            )
        return cls(
            {by_name[name]: Range(*ends) for name, ends in state["ranges"].items()},
            {by_name[name]: Range(*ends) for name, ends in state["seen"].items()},
            {by_name[name]: shift for name, shift in state["shifts"].items()},
            {by_name[name]: LayerWeights(*parts) for name, parts in state["weights"].items()},
            {by_name[name]: exponent for name, exponent in state[KEPT].items()},
            tuple(Applied.of_state(entry, by_name) for entry in state["history"]),
            state["images"],
        )
