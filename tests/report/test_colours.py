"""The palette, held against what eyes need: contrast, and colours that the colour-blind tell apart."""

import re
from itertools import combinations

import numpy as np
import pytest

from qdiag.report.colours import COLOURS, FURTHER, INK, colours
from qdiag.report.to_html import render_page
from tests.report.samples import EVERY_KIND

GROUNDS = {"white": "#ffffff", "JupyterLab's dark": "#111111", "the page's dark": "#15181c"}
LEVELS = ("error", "warning", "note", "ok")
SEEN_TOGETHER = {
    "lanes": ("float", "16-bit", "8-bit", FURTHER[0]),
    "lanes by name": ("float", *FURTHER),
    "parts of an error": ("weights", "output", "inherited"),
}
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""On linear RGB, at severity 1, from A Physiologically-based Model for Simulation of Color Vision Deficiency (2009)."""
APART = 12  # in CIE L*a*b*; 2.3 is the least difference that is seen at all


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", sorted({*COLOURS.values(), *FURTHER, INK}))
def test_every_mark_has_a_contrast_of_three_to_one(colour: str, ground: str) -> None:
    low, high = sorted((luminance(colour), luminance(GROUNDS[ground])))
    assert (high + 0.05) / (low + 0.05) >= 3.0


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("group", SEEN_TOGETHER)
def test_colours_of_one_chart_are_told_apart_by_everyone(group: str, sight: str) -> None:
    seen = [lab(np.asarray(SIGHTS[sight]) @ linear(COLOURS.get(name, name))) for name in SEEN_TOGETHER[group]]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) > APART


def test_no_two_things_in_charts_share_a_colour() -> None:
    things = [colour for name, colour in COLOURS.items() if name not in LEVELS]
    assert len({*things, *FURTHER}) == len(things) + len(FURTHER)


def test_a_meaning_keeps_its_colour_and_names_share_the_others() -> None:
    found = colours(["mine", "8-bit", "yours", "mine"])
    assert found == {"mine": FURTHER[0], "8-bit": COLOURS["8-bit"], "yours": FURTHER[1]}


@pytest.mark.parametrize("level", LEVELS)
def test_a_page_has_its_levels_from_the_palette(level: str) -> None:
    assert re.findall(rf"--qd-{level}: (#\w+);", render_page(EVERY_KIND)) == [COLOURS[level]]


def linear(colour: str) -> np.ndarray:
    """Linear RGB of an sRGB colour (IEC 61966-2-1)."""
    shares = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, under D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    shares = matrix @ rgb.clip(0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
