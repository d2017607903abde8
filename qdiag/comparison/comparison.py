"""What `compare()` found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdiag.comparison.comparison_parts import (
    error_chart,
    floating_section,
    layer_data,
    layer_table,
    not_finite_callouts,
    output_facts,
    worst_chart,
)
from qdiag.comparison.float_figures import FloatFigures
from qdiag.comparison.layer_error import LayerComparison
from qdiag.comparison.not_finite import NotFinite
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.probe import Probe
from qdiag.errors import SiteNotFound
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class Comparison(Displayable):
    """Float against fixed point at every stored tensor.

    Attributes:
        model_name: The model's class.
        images: How many were compared.
        lanes: The versions' names in the order given, as "16-bit", "8-bit".
        layers: Errors of each, in the order of the forward.
        outputs: Errors of the network's outputs, by lane.
        float_top1_percent: Of float on the labels, where there are any that count as classes.
        floating: Operations that no lane quantizes, each with the reason.
        float_figures: How float meets the labels, where there are any.
        probe: What runs of the float model alone show.
        not_finite: Outputs of the float model that hold NaN or infinity.
        trained: The float outputs of a network that was trained, beside the model that was brought in, as `outputs`
            are.
    """

    model_name: str
    images: int
    lanes: tuple[str, ...]
    layers: tuple[LayerComparison, ...]
    outputs: Mapping[str, OutputError]
    float_top1_percent: float | None
    floating: tuple[tuple[str, str], ...]
    float_figures: FloatFigures | None = None
    probe: Probe = field(default_factory=Probe)
    trained: OutputError | None = None
    not_finite: tuple[NotFinite, ...] = ()

    def layer(self, name: Site | str) -> LayerComparison:
        """The layer at an address, or that an operation at an address belongs to.

        Args:
            name: An address, as `layer1.0.conv2`.

        Raises:
            SiteNotFound: For one that no layer has.
        """
        for layer in self.layers:
            if any(name == site or name == str(site) for site in layer.sites):
                return layer
        raise SiteNotFound(
            f"no layer at {str(name)!r} in this comparison. List them with comparison.to_pandas().", code="no-layer"
        )

    def report(self) -> Report:
        """Figures at the output, error along the network, every layer, and what stays in float."""
        blocks: list[Block] = [
            *not_finite_callouts(self.not_finite),
            output_facts(self.outputs, self.float_top1_percent, self.images),
            error_chart(self.layers, self.lanes),
            worst_chart(self.layers, self.lanes[-1]),
            layer_table(self.layers, self.lanes),
        ]
        if self.floating:
            blocks.append(floating_section(self.floating))
        title = f"{self.model_name}: float against {' and '.join(self.lanes)}, {self.images} images"
        return Report(title, tuple(blocks), "comparison", self._data())

    def _data(self) -> dict[str, object]:
        broken = {"not_finite": [str(one) for one in self.not_finite]} if self.not_finite else {}
        return broken | {
            "model": self.model_name,
            "images": self.images,
            "float_top1_percent": self.float_top1_percent,
            "outputs": {lane: self.outputs[lane].state() for lane in self.lanes},
            "layers": [layer_data(layer) for layer in self.layers],
            "floating": [{"site": site, "reason": reason} for site, reason in self.floating],
        }
