"""The workbench's pictures: all layers, one of them, and its channels."""

import itertools
import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.layer_error import LayerError
from qdiag.comparison.site_detail import SiteDetail
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.report.chart_scale import BLUE, GREEN, GRID, INK, LANE_COLOURS, VERMILLION, shorten
from qdiag.report.to_matplotlib import encoded

BARS = 20
NAME = 30
WIDTH = 590
CLEAR = "rgba(0, 0, 0, 0)"
WEIGHTS, OUTPUT, INHERITED = VERMILLION, BLUE, "rgba(128, 128, 128, 0.45)"
GRID_LINES = 64
"""Values of a format, at most, that are drawn as a grid."""


def on_page(figure: go.Figure) -> go.FigureWidget:
    """A widget that has its whole content before it is shown: what comes while the page draws it may be lost."""
    widget = go.FigureWidget(figure)
    widget._config = widget._config | {"displaylogo": False, "displayModeBar": False}
    return widget


def redraw(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Put another figure's content on a widget that the page shows already.

    Where both have the same traces it is one message, and one drawing.
    """
    with widget.batch_update():
        if [(t.type, t.name) for t in widget.data] == [(t.type, t.name) for t in figure.data]:
            for old, new in zip(widget.data, figure.data, strict=True):
                old.x, old.y = new.x, new.y
            for part in ("shapes", "annotations", "xaxis", "xaxis2", "yaxis2"):
                widget.layout[part] = figure.layout[part]
        else:
            widget.data = []
            widget.layout = figure.layout
            widget.add_traces(figure.data)


def overview(diagnosis: Diagnosis, worst: Sequence[str]) -> go.Figure:
    """The worst layers as bars, all layers as a strip."""
    comparison = diagnosis.comparison
    lane = comparison.lanes[-1]
    errors = [comparison.layer(name).lanes[lane] for name in worst]
    made = make_subplots(rows=2, cols=1, row_heights=[0.84, 0.16], vertical_spacing=0.13)
    for name, colour, lengths in (
        ("weights", WEIGHTS, [_own_percent(e) * e.weight_share for e in errors]),
        ("output", OUTPUT, [_own_percent(e) * (1 - e.weight_share) for e in errors]),
        ("inherited", INHERITED, [_inherited_percent(e) for e in errors]),
    ):
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
    title = "error, % of the layer's signal: by its weights, by its output, and inherited"
    made.update_xaxes(title_text=title, gridcolor=GRID, row=1, col=1)
    made.update_xaxes(title_text="all layers, first to last (click)", showticklabels=False, row=2, col=1)
    return made.update_layout(**_look(600), barmode="stack", legend={"orientation": "h", "y": 1.06})


def _own_percent(error: LayerError) -> float:
    """What the layer adds from exact inputs, in percent of its signal, each channel for itself."""
    return 100 * math.sqrt(error.added_noise)


def _inherited_percent(error: LayerError) -> float:
    """What the error as it arises in the network is more than that."""
    arisen = error.accumulated["relative_error"]
    return 0.0 if arisen is None else max(0.0, 100 * min(arisen, 1.0) - _own_percent(error))


def worst_layers(diagnosis: Diagnosis) -> list[str]:
    """The culprits, then the layers that add most noise."""
    lane = diagnosis.comparison.lanes[-1]
    loud = sorted(diagnosis.comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)
    names = [str(culprit.layer.site) for culprit in diagnosis.culprits] + [str(layer.site) for layer in loud]
    return list(dict.fromkeys(names))[:BARS]


def drill_down(detail: SiteDetail) -> go.Figure:
    """One layer: histograms of its output, with the ends of the format, and of its weights; and its channels.

    The traces are the same for every layer of a diagnosis, so that one can be redrawn as another.
    """
    titles = [f"output, {detail.images} images", "weights, BatchNorm merged", "channels, the largest first"]
    made = make_subplots(rows=3, cols=1, row_heights=[0.4, 0.26, 0.34], vertical_spacing=0.14)
    lane = list(detail.counts)[-1]
    _add_histogram(made, 1, detail.edges, detail.counts)
    _add_histogram(made, 2, detail.weight_edges, {name: detail.weight_counts.get(name, ()) for name in ("float", lane)})
    channels = [("output", detail.channel_magnitudes, OUTPUT), ("weights", detail.weight_magnitudes, WEIGHTS)]
    for name, values, colour in channels:
        style = {"name": name, "mode": "lines", "line": {"color": colour}, "legend": "legend2"}
        made.add_scatter(y=sorted(values, reverse=True), x=list(range(len(values))), **style, row=3, col=1)
    made.update_yaxes(type="log", gridcolor=GRID, automargin=True, exponentformat="power", dtick=1)
    for row, title in enumerate(titles, start=1):
        made.update_xaxes(gridcolor=GRID, zeroline=False, title={"text": title, "standoff": 4}, row=row, col=1)
        made.update_yaxes(title_text="magnitude" if row == 3 else "values", row=row, col=1)
    if lane in detail.ends:
        _mark_format(made, lane, detail)
    if not detail.weight_edges:
        made.add_annotation(text="no weights here", showarrow=False, xref="x2 domain", yref="y2 domain", x=0.5, y=0.5)
        made.update_xaxes(showticklabels=False, showgrid=False, row=2, col=1)
        made.update_yaxes(showticklabels=False, showgrid=False, row=2, col=1)
    legend = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "bgcolor": CLEAR}
    return made.update_layout(**_look(640), legend=legend, legend2=legend | {"y": 0.25}, bargap=0)


def _add_histogram(made: go.Figure, row: int, edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> None:
    """Float as a filled ground, each lane as a line over it."""
    centres = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    for name, values in counts.items():
        shared = {
            "x": centres,
            "y": [count or None for count in values],  # a log scale has no zero
            "name": name,
            "legendgroup": name,
            "showlegend": row == 1,
            "hovertemplate": name + ": %{y} values near %{x:.3g}<extra></extra>",
            "row": row,
            "col": 1,
        }
        if name == "float":
            made.add_bar(**shared, marker={"color": LANE_COLOURS[name], "opacity": 0.55, "line": {"width": 0}})
        else:
            colour = LANE_COLOURS.get(name, GREEN)
            made.add_scatter(
                **shared,
                mode="lines+markers",
                line={"shape": "hvh", "color": colour, "width": 1.5},
                marker={"size": 3, "color": colour},
            )


def _mark_format(made: go.Figure, lane: str, detail: SiteDetail) -> None:
    """The ends of a lane's format as lines; where they can be told apart, its values as a grid."""
    lowest, highest = detail.edges[0], detail.edges[-1]
    colour, step = LANE_COLOURS.get(lane, GREEN), detail.steps[lane]
    for end in detail.ends[lane]:
        if lowest <= end <= highest * 1.3:
            line = {"dash": "dash", "color": colour, "width": 1}
            text = f"end of {lane}" if end > 0 else ""
            made.add_vline(x=end, line=line, annotation={"text": text, "font": {"size": 10}}, row=1, col=1)
    if highest - lowest <= GRID_LINES * step:
        minor = {"dtick": step, "tick0": 0, "showgrid": True, "gridcolor": GRID, "griddash": "dot"}
        made.update_xaxes(minor=minor, row=1, col=1)


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
