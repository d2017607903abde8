"""What `sensitivity()` found."""

from dataclasses import dataclass
from typing import Literal

from qdiag.numerics.metrics.sqnr import sqnr_db
from qdiag.quantization.sensitivity_parts import sensitivity_chart, sensitivity_table
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Fact, Facts, Report
from qdiag.tracing.site import Site

SensitivityMethod = Literal["exact", "fast"]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer, with all others in float.

    Attributes:
        site: Its address.
        title: What it is, as depthwise conv2d.
        format: Of its stored tensor.
        noise: The outputs' error power over their signal power; None where the fast method cannot tell, since no
            gradient reaches the layer.
        share: The part of the noise that all layers make, each alone; 0 to 1.
    """

    site: Site
    title: str
    format: str
    noise: float | None
    share: float | None

    @property
    def sqnr_db(self) -> float | None:
        """Of the outputs; infinite where the layer changes nothing."""
        return None if self.noise is None else sqnr_db(1.0, self.noise)


@dataclass(frozen=True, repr=False)
class Sensitivity(Displayable):
    """How far each layer alone takes the network's outputs from float.

    Attributes:
        model_name: The model's class.
        label: Of the formats, as "8-bit".
        method: "exact" or "fast".
        images: How many it was measured on.
        layers: All that are quantized, in the order of the forward.
    """

    model_name: str
    label: str
    method: SensitivityMethod
    images: int
    layers: tuple[LayerSensitivity, ...]

    @property
    def worst_first(self) -> tuple[LayerSensitivity, ...]:
        """By noise; what cannot be told stands last."""
        return tuple(sorted(self.layers, key=lambda layer: -1.0 if layer.noise is None else layer.noise, reverse=True))

    def report(self) -> Report:
        """How many layers make most of it, a picture of the worst, and every layer."""
        ordered = self.worst_first
        rows = [(str(x.site), x.title, x.share, x.sqnr_db, x.format) for x in ordered]
        facts = Facts((Fact("layers", len(rows)), Fact("method", self.method), Fact("images", self.images)))
        blocks = facts, sensitivity_chart(rows, self.label), sensitivity_table(rows, self.label, self.method)
        return Report(f"Sensitivity of {self.model_name}, {self.label}", blocks, "sensitivity", self._data())

    def _data(self) -> dict[str, object]:
        return {
            "model": self.model_name,
            "plan": self.label,
            "method": self.method,
            "images": self.images,
            "layers": [{"site": str(x.site), "noise": x.noise, "share": x.share} for x in self.layers],
        }
