"""What `compare()` found."""

from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.comparison.layer_error import LayerComparison
from qdiag.comparison.outputs import OutputError


@dataclass(frozen=True, repr=False)
class Comparison:
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
