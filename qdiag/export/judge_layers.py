"""Which layers of a device are wrong, each judged by what the device gave it."""

from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from qdiag.export.agreement import SiteAgreement, distances
from qdiag.export.device_tensors import DeviceTensors
from qdiag.export.layer_alone import LayerAlone
from qdiag.numerics.device_roundings import OF_TIES, ROUNDINGS, in_words
from qdiag.numerics.layer_output import LayerOutput
from qdiag.numerics.look_alikes import LookAlike, look_alike
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.formats import Formats
from qdiag.tracing.site import Site

NEAR = 0.02
"""Steps beyond half of one that an average may be off by, which targets multiply by a rounded reciprocal."""


@dataclass
class LayerJudge:
    """Takes each layer's output as it is computed; judges them when all are known, as they tell how the device rounds.

    differences: what a device's layer adds to the simulation's, in steps, of layers that differ.
    """

    plan: QuantPlan
    formats: Formats
    tensors: DeviceTensors
    differences: dict[Site, Tensor] = field(default_factory=dict)
    _agreements: dict[Site, SiteAgreement] = field(default_factory=dict)
    _roundings: dict[Site, frozenset[str]] = field(default_factory=dict)
    _misses: dict[Site, dict[str, int]] = field(default_factory=dict)
    _odd: dict[Site, LayerOutput] = field(default_factory=dict)  # no rounding of ties gives these

    def __call__(self, layer: Layer, output: LayerOutput, expected: Tensor) -> None:
        site, found = layer.site, output.found
        apart = distances(found.numpy(force=True), expected.numpy(force=True))
        self._agreements[site] = SiteAgreement.of(str(site), str(self.formats.qparams[site]), apart)
        if apart.keys() != {0}:
            self.differences[site] = (found - expected).float()
        self._roundings[site] = frozenset(name for name in ROUNDINGS if output.fits(name))
        self._misses[site] = {name: output.differing(output.codes(output.exact, name)) for name in ROUNDINGS}
        if not self._roundings[site] & OF_TIES:
            self._odd[site] = output

    @property
    def rounding(self) -> str:
        """The one that gives most layers, and of those most integers; the plan's own among those that give as many."""
        inner = [site for site in self._roundings if not self.plan.layer(site).is_input] or list(self._roundings)
        layers = Counter(name for site in inner for name in self._roundings[site])
        explained = [site for site in inner if self._roundings[site] & OF_TIES]
        misses = {name: sum(self._misses[site][name] for site in explained) for name in ROUNDINGS}
        return max(ROUNDINGS, key=lambda name: (layers[name], -misses[name], name == self.own_rounding))

    @property
    def own_rounding(self) -> str:
        """The simulation's."""
        return next((in_words(qparams.rounding) for qparams in self.formats.qparams.values()), "half up")

    def judged(self) -> dict[Site, LayerAlone]:
        """Every layer that was compared."""
        rounding = self.rounding
        return {site: self._alone(self.plan.layer(site), rounding) for site in self._agreements}

    def _alone(self, layer: Layer, rounding: str) -> LayerAlone:
        site = layer.site
        judged_with = tuple(dict.fromkeys(self._unknown_before(layer)))
        alone = LayerAlone(self._agreements[site], judged_with=judged_with)
        if not alone.differing:
            return alone
        fits = self._roundings[site]
        if fits & (OF_TIES | {rounding}):
            name = min(fits, key=lambda name: (self._misses[site][name], name != rounding))
            text = f"rounds {name}, and the simulation {self.own_rounding}"
            return LayerAlone(alone.agreement, LookAlike("rounding", text, 100.0), False, None, judged_with)
        output = self._odd[site]
        if not layer.is_weighted and output.beyond_rounding < NEAR:
            text = "each value is the nearest but for a fiftieth of a step: a sum or an average of fewer bits"
            return LayerAlone(alone.agreement, LookAlike("rounding", text), False, None, judged_with)
        looks_like = look_alike(output, rounding, is_weighted=layer.is_weighted)
        is_coarse = looks_like.kind == "unknown" and alone.agreement.largest == 1
        return LayerAlone(alone.agreement, looks_like, not is_coarse, None, judged_with)

    def _unknown_before(self, layer: Layer) -> list[str]:
        """Layers whose stored tensors this one is computed from, back to those that the device's are known of."""
        found: list[str] = []
        for source in layer.sources:
            if self.tensors.is_known(source):
                continue
            before = self.plan.layer(source)
            found += [*self._unknown_before(before), *([str(source)] if source in self.formats.qparams else [])]
        return found
