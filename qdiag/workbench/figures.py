"""The workbench's pictures: all layers, one of them, and its channels."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.inspect import SiteDetail
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.report.chart_scale import GRID, INK, shorten
from qdiag.report.to_matplotlib import encoded

BARS = 20
NAME = 30
WIDTH = 590
CLEAR = "rgba(0, 0, 0, 0)"
COLOURS = {"float": "#858585", "16-bit": "#0072B2", "8-bit": "#D55E00"}
WEIGHTS, OUTPUT, INHERITED = "#D55E00", "#0072B2", "#BBBBBB"


def on_page(figure: go.Figure) -> go.FigureWidget:
    """A widget that has its whole content before it is shown: what comes while the page draws it may be lost."""
    widget = go.FigureWidget(figure)
    widget._config = widget._config | {"displaylogo": False, "displayModeBar": False}
    return widget


def redraw(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Put another figure's content on a widget that the page shows already, in one message."""
    with widget.batch_update():
        widget.data = []
        widget.layout = figure.layout
        widget.add_traces(figure.data)


def overview(diagnosis: Diagnosis, worst: Sequence[str]) -> go.Figure:
    """The worst layers as bars, all layers as a strip."""
    comparison = diagnosis.comparison
    lane = comparison.lanes[-1]
    errors = [comparison.layer(name).lanes[lane] for name in worst]
    made = make_subplots(rows=2, cols=1, row_heights=[0.84, 0.16], vertical_spacing=0.13)
    for name, colour, share in (
        ("by weights", WEIGHTS, lambda e: e.weight_share),
        ("by output", OUTPUT, lambda e: 1 - e.weight_share),
    ):
        lengths = [100 * math.sqrt(e.added_noise) * share(e) for e in errors]
        made.add_bar(
            y=[shorten(n, NAME) for n in worst],
            x=lengths,
            name=name,
            orientation="h",
            marker={"color": colour},
            customdata=worst,
            hovertemplate="%{customdata}<br>" + name + " %{x:.2f} %<extra></extra>",
            row=1,
            col=1,
        )
    names = [str(layer.site) for layer in comparison.layers]
    rows = list(comparison.lanes)
    made.add_heatmap(
        z=[[_sqnr(comparison, name, lane) for name in names] for lane in rows],
        y=rows,
        x=list(range(len(names))),
        customdata=[names] * len(rows),
        colorscale="Cividis",
        showscale=True,
        colorbar={"title": {"text": "dB"}, "thickness": 8, "len": 0.22, "y": 0.07},
        hovertemplate="%{customdata}<br>%{y}: %{z:.1f} dB<extra></extra>",
        row=2,
        col=1,
    )
    made.update_yaxes(autorange="reversed", automargin=True, row=1, col=1)
    made.update_xaxes(title_text="error this layer adds, % of its signal", gridcolor=GRID, row=1, col=1)
    made.update_xaxes(title_text="all layers, first to last (click)", showticklabels=False, row=2, col=1)
    return made.update_layout(**_look(600), barmode="stack", legend={"orientation": "h", "y": 1.06})


def worst_layers(diagnosis: Diagnosis) -> list[str]:
    """The culprits, then the layers that add most noise."""
    lane = diagnosis.comparison.lanes[-1]
    loud = sorted(diagnosis.comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)
    names = [str(culprit.layer.site) for culprit in diagnosis.culprits] + [str(layer.site) for layer in loud]
    return list(dict.fromkeys(names))[:BARS]


def drill_down(detail: SiteDetail) -> go.Figure:
    """One layer: histograms of float and fixed point with the format's ends, and its channels."""
    made = make_subplots(rows=2, cols=1, row_heights=[0.55, 0.45], vertical_spacing=0.2)
    centres = [(a + b) / 2 for a, b in zip(detail.edges, detail.edges[1:], strict=False)]
    for name, counts in detail.counts.items():
        made.add_scatter(
            x=centres,
            y=[count or None for count in counts],
            name=name,
            line={"shape": "hvh", "color": COLOURS.get(name, "#009E73"), "width": 1.5},
            fill="tozeroy" if name == "float" else None,
            hovertemplate=name + ": %{y} values near %{x:.3g}<extra></extra>",
            row=1,
            col=1,
        )
    lowest, highest = detail.edges[0], detail.edges[-1]
    for name, ends in list(detail.ends.items())[-1:]:
        for end in ends:
            if lowest <= end <= highest * 1.3:
                made.add_vline(x=end, line={"dash": "dash", "color": COLOURS.get(name, INK), "width": 1}, row=1, col=1)
    series = channel_series(detail)
    for name, values, colour in series:
        made.add_scatter(y=sorted(values, reverse=True), name=name, mode="lines", line={"color": colour}, row=2, col=1)
    made.update_yaxes(type="log", gridcolor=GRID, automargin=True, exponentformat="power", dtick=1)
    made.update_yaxes(title_text="values", row=1, col=1)
    made.update_yaxes(title_text="magnitude", row=2, col=1)
    made.update_xaxes(gridcolor=GRID, row=1, col=1, title_text=f"value of the stored tensor, {detail.images} images")
    made.update_xaxes(gridcolor=GRID, row=2, col=1, title_text="channels, the largest first")
    return made.update_layout(**_look(520), legend={"orientation": "h", "y": 1.08})


def feature_maps(detail: SiteDetail, lane: str) -> bytes:
    """The channels that differ most, as a picture: float, the lane, and their difference. Empty where there is none."""
    if not detail.maps:
        return b""
    made = Figure(figsize=(5.4, 1.3 * len(detail.maps)), layout="constrained", facecolor="none")
    grid = made.subplots(len(detail.maps), 3, squeeze=False)
    for axes, shown in zip(grid, detail.maps, strict=True):
        low, high = float(shown.reference.min()), float(shown.reference.max())
        difference = shown.version - shown.reference
        most = max(abs(float(difference.min())), abs(float(difference.max())), 1e-12)
        axes[0].imshow(shown.reference, vmin=low, vmax=high, cmap="cividis")
        axes[1].imshow(shown.version, vmin=low, vmax=high, cmap="cividis")
        axes[2].imshow(difference, vmin=-most, vmax=most, cmap="PuOr")
        texts = (f"channel {shown.channel}, float", lane, f"difference, up to {most:.3g}")
        for place, text in zip(axes, texts, strict=True):
            place.set_title(shorten(text, NAME), fontsize=8, color=INK)
            place.set_axis_off()
    return encoded(made, dpi=90)


def channel_series(detail: SiteDetail) -> list[tuple[str, Sequence[float], str]]:
    """Magnitudes by channel of the output and of the weight, where there are any."""
    outputs = [max(abs(low), abs(high)) for low, high in zip(detail.channel_low, detail.channel_high, strict=True)]
    series = [("output by channel", outputs, OUTPUT), ("weight by channel", detail.weight_magnitudes, WEIGHTS)]
    return [(name, values, colour) for name, values, colour in series if len(values)]


def _look(height: int) -> dict[str, object]:
    return {
        "template": go.layout.Template(),
        "height": height,
        "width": WIDTH,  # a FigureWidget takes 700 pixels whatever its cell has, unless it is told
        "font": {"color": INK, "size": 12},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 8, "r": 8, "t": 28, "b": 44},
    }


def _sqnr(comparison: Comparison, name: str, lane: str) -> float | None:
    value = comparison.layer(name).lanes[lane].accumulated["sqnr_db"]
    return None if value is None else min(value, 100.0)
