"""A small report with every kind of block, cell and chart, and results that show it."""

import math
from dataclasses import dataclass

from qdiag.report.cells import Badge, Code, Place
from qdiag.report.chart import Chart, Mark, Series
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Callout, Fact, Facts, Gallery, Listing, Picture, Report, Section, Text
from qdiag.report.table import Column, Table

LAYERS = ("conv1.conv2d", "layer1.0.conv1.conv2d", "layer1.0.add", "fc.linear")

FACTS = Facts(
    (
        Fact("float", 71.94, "%", ".1f"),
        Fact("16-bit", 71.9, "%", ".1f", "ok"),
        Fact("8-bit", 61.24, "%", ".1f", "error"),
        Fact("drop", 10.7, "points", ".1f"),
        Fact("images", 10000),
        Fact("verdict", "quantization"),
    )
)

FINDINGS = Table(
    columns=(
        Column("severity", "Severity"),
        Column("site", "Layer"),
        Column("source", "Line"),
        Column("sqnr_db", "SQNR 8-bit", "dB", ".1f", "right", help="signal power over error power; 6 dB are one bit"),
        Column("weights", "Weights", align="right"),
        Column("merged", "BN merged"),
        Column("why", "Why"),
    ),
    rows=(
        (
            Badge("error", "error"),
            Code("layer1.0.conv1.conv2d"),
            Place("/home/ann/net/models/resnet.py", 92),
            3.14159,
            36864,
            False,
            "One channel's weights are **410 times** the median: with one scale for all, `layer1.0.conv1` has 1.2 bits "
            "left for the others.",
        ),
        (Badge("unusual", "warning"), Code("conv1.conv2d"), None, math.inf, 9408, True, "Equal in 8 bit & float."),
        (Badge("note", "note"), Code("fc.linear"), Place("/home/ann/net/train.py", 7), math.nan, None, None, None),
    ),
    title="Findings",
    caption="Worst first; **SQNR** under 10 dB is rarely survived.",
    key="findings",
)

BARS = Chart(
    kind="bar",
    title="Worst layers",
    series=(
        Series("16-bit", (math.inf, 51.5, 60.0, None), "dB", ".1f", True),
        Series("8-bit", (12.0, 3.0, 24.0, 30.0), "dB", ".1f", True),
    ),
    names=LAYERS,
    x_title="layer",
    y_title="SQNR in dB",
    caption="Short bars lose most.",
)

LINES = Chart(
    kind="line",
    title="Error along the network",
    series=(Series("8-bit", (0.001, 0.1, math.nan, 0.01), "", ".2g"),),
    names=LAYERS,
    x_title="layer, in the order of the forward",
    y_title="relative error",
    log_y=True,
)

HISTOGRAM = Chart(
    kind="histogram",
    title="Output of conv1",
    series=(Series("float", (2, 30, 400, 90)), Series("8-bit", (0, 32, 398, 92))),
    edges=(-2.0, -1.0, 0.0, 1.0, 2.0),
    marks=(Mark(-1.0, "clip"), Mark(0.992, "clip")),
    x_title="value",
    y_title="count",
    log_y=True,
)

SCATTER = Chart(
    kind="scatter",
    title="Values of the output",
    series=(
        Series("other channels", (0.0, 1.5, 3.0), at=(0.1, 1.4, 3.3), meaning="float"),
        Series("channel 3", (2.0, math.nan), at=(1.0, 2.0), meaning="8-bit"),
    ),
    x_title="float",
    y_title="8-bit",
    caption="On the dashed line nothing is lost.",
    diagonal=True,
)

COSTS = Chart(
    kind="scatter",
    title="Accuracy against cost",
    series=(Series("versions", (70.1, 71.8), "%", ".1f", at=(0.0, 12.5), labels=("simple", "conv1 & <fc>: 16-bit")),),
    x_title="operations in 16 bit (%)",
    y_title="top-1 (%)",
)

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
GALLERY = Gallery(
    (
        Picture(PIXEL, "image 7: cat → dog", "label **cat** · float **cat** 98 % · 8-bit **dog** 51 %", "error"),
        Picture(PIXEL, "image 3 & <more>"),
    ),
    "Images that are decided otherwise",
    "The gravest first.",
)

EVERY_KIND = Report(
    title="Diagnosis of ResNet <tiny> & friends",
    blocks=(
        Callout("error", "8 bits cost 10.7 points.", "The error enters at `layer1.0.conv1`; 16 bits are **fine**."),
        FACTS,
        Text("First paragraph, with `a + b` and **bold**.\n\nSecond paragraph, with <b>no</b> tag & two_under_scores."),
        FINDINGS,
        Section("Where the error enters", (BARS, LINES)),
        Section(
            "layer1.0.conv1.conv2d",
            (HISTOGRAM, Listing("plan = plan.with_bits('layer1.0.conv1', 16)\nquantized = calibrate(model)", "Repair")),
            anchor="layer1.0.conv1.conv2d",
            collapsed=True,
        ),
        Section("fc.linear", (Text("Nothing to see."),), anchor="fc.linear", collapsed=True),
        Section("What happened to the images", (GALLERY, SCATTER, COSTS)),
        Section("Not quantized", (Table((Column("site", "Operation"),), ()),)),
    ),
    kind="diagnosis",
    data={"model": "ResNet", "sqnr_db": [3.14159, math.inf, math.nan], "lanes": ("16-bit", "8-bit"), "drop": None},
)


@dataclass(frozen=True)
class Shown(Displayable):
    """A result as every room makes them: numbers, and how to show them."""

    what: Report = EVERY_KIND

    def report(self) -> Report:
        return self.what
