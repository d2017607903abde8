"""The workbench's own pictures: the worst layers with what their errors are made of, and feature maps."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.comparison.site_detail import FeatureMap
from qdiag.explanation.culprit import Culprit
from qdiag.report.chart import Chart, Series
from qdiag.report.chart_scale import shorten
from qdiag.report.colours import DIFFERENCES, INK, MAGNITUDES
from qdiag.report.to_matplotlib import encoded

BARS = 20
NAME = 30


def worst_layers(culprits: Sequence[Culprit], layers: Sequence[LayerComparison], lane: str) -> list[LayerComparison]:
    """The culprits, then the layers that add most noise."""
    loud = sorted(layers, key=lambda layer: -layer.lanes[lane].added_noise)
    found = {layer.site: layer for layer in [*(culprit.layer for culprit in culprits), *loud]}
    return list(found.values())[:BARS]


def part_chart(layers: Sequence[LayerComparison], lane: str) -> Chart:
    """What the error of each layer is made of, as it arises in the network."""
    errors = [layer.lanes[lane] for layer in layers]
    parts = {
        "weights": [error.added_percent * error.weight_share for error in errors],
        "output": [error.added_percent * (1 - error.weight_share) for error in errors],
        "inherited": [_inherited_percent(error) for error in errors],
    }
    return Chart(
        kind="bar",
        title="Worst layers, and what their errors are made of",
        series=tuple(Series(part, tuple(values), "%", ".2f") for part, values in parts.items()),
        names=tuple(str(layer.site) for layer in layers),
        x_title="layer",
        y_title="error, % of the layer's signal",
        stacked=True,
        key="parts",
    )


def _inherited_percent(error: LayerError) -> float:
    """What the error as it arises in the network is more than that."""
    arisen = error.accumulated["relative_error"]
    return 0.0 if arisen is None else max(0.0, 100 * min(arisen, 1.0) - error.added_percent)


def feature_maps(maps: Sequence[FeatureMap], lane: str) -> bytes:
    """The channels that differ most, as a picture: float, the lane, and their difference. Empty where there is none."""
    if not maps:
        return b""
    made = Figure(figsize=(5.4, 1.3 * len(maps)), layout="constrained", facecolor="none")
    grid = made.subplots(len(maps), 3, squeeze=False)
    for axes, shown in zip(grid, maps, strict=True):
        low, high = float(shown.reference.min()), float(shown.reference.max())
        difference = shown.version - shown.reference
        most = max(abs(float(difference.min())), abs(float(difference.max())), 1e-12)
        axes[0].imshow(shown.reference, vmin=low, vmax=high, cmap=MAGNITUDES)
        axes[1].imshow(shown.version, vmin=low, vmax=high, cmap=MAGNITUDES)
        axes[2].imshow(difference, vmin=-most, vmax=most, cmap=DIFFERENCES)
        texts = (f"channel {shown.channel}, float", lane, f"difference, up to {most:.3g}")
        for place, text in zip(axes, texts, strict=True):
            place.set_title(shorten(text, NAME), fontsize=8, color=INK)
            place.set_axis_off()
    return encoded(made, dpi=90)
