"""What `compare()` found."""

from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.comparison.layer_error import LayerComparison
from qdiag.comparison.outputs import OutputError
from qdiag.comparison.page import page
from qdiag.errors import SiteNotFound
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class Comparison(Displayable):
    """Float against fixed point at every stored tensor, over `images` images.

    lanes: the versions' names in the order given, as "16-bit", "8-bit". layers: in the order of the forward.
    outputs: by lane. floating: operations that no lane quantizes, each with the reason.
    """

    model_name: str
    images: int
    lanes: tuple[str, ...]
    layers: tuple[LayerComparison, ...]
    outputs: Mapping[str, OutputError]
    float_top1_percent: float | None
    floating: tuple[tuple[str, str], ...]

    def layer(self, name: Site | str) -> LayerComparison:
        """The layer at an address, or that an operation at an address belongs to. Raises SiteNotFound."""
        for layer in self.layers:
            if any(name == site or name == str(site) for site in layer.sites):
                return layer
        raise SiteNotFound(f"no layer at {str(name)!r} in this comparison. List them with comparison.to_pandas().")

    def report(self) -> Report:
        return page(self)
