"""Colours by what they mean: one thing has one colour in every chart, in every face.

The palette is Okabe and Ito's (Color Universal Design, 2008), told apart by the colour-blind. Its orange and sky blue
are darkened, so that every mark has a contrast of 3 to 1 at least on white and on dark (WCAG 2.2, 1.4.11).
"""

from collections.abc import Iterable

COLOURS = {
    # lanes
    "float": "#858585",
    "16-bit": "#0072b2",
    "8-bit": "#d55e00",
    # what makes the error of a layer
    "weights": "#009e73",
    "output": "#cc79a7",
    "inherited": "#66668c",
    # how grave a thing is
    "error": "#d55e00",
    "warning": "#b37a00",
    "note": "#2f85bf",
    "ok": "#009e73",
}
FURTHER = ("#9c6b4e", "#3f93c4")
"""Of lanes and series with a name of their own, in the order in which a chart has them."""

INK = "#808080"
"""Text and axes: legible on white (4.0 to 1) and on JupyterLab's dark (4.8 to 1)."""
GRID = "rgba(128, 128, 128, 0.25)"
CLEAR = "rgba(0, 0, 0, 0)"

MAGNITUDES, DIFFERENCES = "cividis", "PuOr"
"""Colour maps of pictures: from least to greatest, and from below to above zero."""


def colours(meanings: Iterable[str]) -> dict[str, str]:
    """A colour for each meaning; those that COLOURS does not know share FURTHER."""
    found: dict[str, str] = {}
    others = 0
    for meaning in dict.fromkeys(meanings):
        if meaning in COLOURS:
            found[meaning] = COLOURS[meaning]
        else:
            found[meaning] = FURTHER[others % len(FURTHER)]
            others += 1
    return found
