"""The first question, answered: is it quantization?"""

import enum
import math
from dataclasses import dataclass
from typing import Literal

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.outputs import OutputError
from qdiag.tracing.site import Site

VerdictKind = Literal["healthy", "small-loss", "quantization", "not-quantization"]

# A drop that calibration alone should not leave behind, in points of top-1 (the project's limit for turning to QAT).
LIMIT_POINTS = 2.0
# 16-bit simulation of a healthy network agrees with float in all decisions but ties; below these it does not.
FINE_AGREEMENT = 98.0
FINE_SQNR_DB = 25.0
NOISY_SQNR_DB = 15.0
SITE_NOISE = 1e-3


@dataclass(frozen=True)
class Verdict:
    """kind: "not-quantization" where already the finer format departs from float; else by what the coarser one loses.

    headline: in one sentence. text: what that means. first_departure: where the finer lane first leaves float.
    """

    kind: VerdictKind
    headline: str
    text: str
    first_departure: Site | None = None


def judge(comparison: Comparison) -> Verdict:
    """The verdict on the finest and the coarsest lane of a comparison."""
    finest, coarsest = comparison.lanes[0], comparison.lanes[-1]
    fine, coarse = comparison.outputs[finest], comparison.outputs[coarsest]
    if finest != coarsest and _is_already_bad(fine, coarse):
        site = first_departure(comparison, finest)
        where = f"It first departs at {str(site)!r}." if site else "No single layer departs: errors add up."
        return Verdict(
            "not-quantization",
            f"It is not 8-bit quantization: already {finest} {describe(fine)}.",
            f"{where} 16 bits are enough for every healthy network, so look for what a format cannot hold: values or "
            "weights orders of magnitude apart, a BatchNorm with a vanishing variance, an operation that amplifies.",
            site,
        )
    lost = loss(coarse)
    reference = f"{finest} {describe(fine)}" if finest != coarsest else "16 bit was not run"
    if lost is Loss.NONE:
        text = f"{reference}; {coarsest} {describe(coarse)}. Export it, and check the target's own tensors."
        return Verdict("healthy", f"{coarsest} is as good as float.", _sentence(text))
    if lost is Loss.SMALL:
        text = f"{reference}. The layers below cost most; calibration methods beyond min/max usually win this back."
        return Verdict("small-loss", f"{coarsest} loses a little: it {describe(coarse)}.", _sentence(text))
    known = finest != coarsest
    headline = f"It is quantization: {reference}, but {coarsest} {describe(coarse)}."
    if not known:
        headline = f"{coarsest} is far from float: it {describe(coarse)}."
    text = "The number format is to blame, not the model's export or preprocessing. The layers below cause it."
    return Verdict(
        "quantization", headline, text if known else "Compare with bits=(16, 8) to see whether 16 bit is fine."
    )


class Loss(enum.Enum):
    """How much an output lost."""

    NONE = enum.auto()
    SMALL = enum.auto()
    LARGE = enum.auto()


def loss(output: OutputError) -> Loss:
    """How much this lane lost, by the strongest evidence there is."""
    if output.drop_points is not None and output.drop_interval is not None:
        certain = output.drop_interval[0] > 0
        if output.drop_points > LIMIT_POINTS and certain:
            return Loss.LARGE
        if output.drop_points > 0.5 or certain:
            return Loss.SMALL
        return Loss.NONE
    if output.agreement_percent is not None:
        if output.agreement_percent < 100 - 2 * LIMIT_POINTS:
            return Loss.LARGE
        certain = output.agreement_percent >= FINE_AGREEMENT and output.sqnr_db >= NOISY_SQNR_DB
        return Loss.NONE if certain else Loss.SMALL
    if output.sqnr_db < NOISY_SQNR_DB:
        return Loss.LARGE
    return Loss.SMALL if output.sqnr_db < FINE_SQNR_DB else Loss.NONE


def describe(output: OutputError) -> str:
    """What became of the output, as the end of a sentence: loses 17.0 points of top-1 (95 % interval …)."""
    if output.drop_points is not None and output.drop_interval is not None:
        low, high = output.drop_interval
        if output.drop_points == low == high == 0:
            return "loses nothing"
        if output.drop_points < 0:
            return f"gains {-output.drop_points:.1f} points of top-1 (95 % interval {-high:.1f} to {-low:.1f})"
        return f"loses {output.drop_points:.1f} points of top-1 (95 % interval {low:.1f} to {high:.1f})"
    if output.agreement_percent is not None:
        return f"agrees with float in {output.agreement_percent:.1f} % of decisions"
    return "equals float" if math.isinf(output.sqnr_db) else f"has its output at {output.sqnr_db:.1f} dB SQNR"


def _is_already_bad(fine: OutputError, coarse: OutputError) -> bool:
    """True where the finer format loses much, or something that the coarser one does not even double."""
    same = fine.relative_error > 0.5 * coarse.relative_error
    return loss(fine) is Loss.LARGE or (loss(fine) is Loss.SMALL and same)


def first_departure(comparison: Comparison, lane: str) -> Site | None:
    """The first layer that in this lane adds noise of its own above a thousandth of the signal, channel by channel."""
    return next((x.site for x in comparison.layers if x.lanes[lane].added_noise > SITE_NOISE), None)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
