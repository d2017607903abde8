"""The workbench's own pictures: feature maps."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from qdiag.comparison.site_detail import FeatureMap
from qdiag.report.chart_scale import shorten
from qdiag.report.colours import DIFFERENCES, INK, MAGNITUDES
from qdiag.report.to_matplotlib import encoded

NAME = 30


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
