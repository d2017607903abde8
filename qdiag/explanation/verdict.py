"""The first question, answered: is it quantization?"""

from dataclasses import dataclass, replace
from typing import Literal, cast

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.output_error import OutputError
from qdiag.explanation.float_health import notes, trouble
from qdiag.explanation.loss import CHANGED_AGREEMENT, FINE_AGREEMENT, LIMIT_POINTS, Loss, describe, images_needed, loss
from qdiag.tracing.site import Site

VerdictKind = Literal[
    "healthy",
    "small-loss",
    "quantization",
    "not-quantization",
    "undecided",
    "cannot-judge",
    "float-is-wrong",
    "not-repeatable",
]

SITE_NOISE = 1e-3
LOST_DB = 10.0
"""An output of values that 16 bits leave no nearer to float than this is lost; above, the bits can still matter."""
SAME_DB = 6.0
"""So much 8 more bits gain at least where bits are what is missing."""
CLIPPED_PERCENT = 1.0
Clipped = tuple[Site, float]
"""Where values lie outside their range, and how many, in percent."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison says, in one word, one sentence, and what that means.

    kind: "float-is-wrong" and "not-repeatable" where no word on number formats would mean anything; "cannot-judge"
    where outputs cannot be seen into; "not-quantization" where already the finer format departs from float; else by
    what the coarser one loses: "healthy", "small-loss", "quantization", or "undecided" where the images are too few to
    say. first_departure: where the finer lane first leaves float, or its range first clips.
    """

    kind: VerdictKind
    headline: str
    text: str
    first_departure: Site | None = None


def judge(comparison: Comparison) -> Verdict:
    """The verdict on the finest and the coarsest lane of a comparison."""
    coarse = comparison.outputs[comparison.lanes[-1]]
    found = trouble(comparison)
    if found is not None:
        verdict = Verdict(cast(VerdictKind, found.kind), found.headline, found.text)
    else:
        verdict = _of_formats(comparison)
    told = " ".join([verdict.text, *notes(comparison, coarse)])
    return replace(verdict, text=told)


def _of_formats(comparison: Comparison) -> Verdict:
    finest, coarsest = comparison.lanes[0], comparison.lanes[-1]
    fine, coarse = comparison.outputs[finest], comparison.outputs[coarsest]
    if comparison.trained is not None and loss(comparison.trained) is Loss.LARGE:
        return _spoilt(comparison.trained, coarse, coarsest)
    lost = loss(coarse)
    if lost is Loss.UNKNOWN:
        return _unknown(coarse)
    if finest != coarsest and _is_already_bad(fine, coarse):
        clipped = _clipped_first(comparison, finest)
        if clipped is not None and loss(fine) is not Loss.LARGE:
            return _clipped(comparison, lost, clipped)
        return _already_bad(comparison, finest, clipped)
    reference = f"{finest} {describe(fine)}" if finest != coarsest else "16 bit was not run"
    if lost is Loss.NONE:
        text = f"{reference}; {coarsest} {describe(coarse)}. Export it, and check the target's own tensors."
        by = "" if coarse.score is None else f" in {coarse.figure}"
        return Verdict("healthy", f"{coarsest} is as good as float{by}.", _sentence(text))
    if lost is Loss.UNDECIDED:
        return _undecided(coarsest, coarse, reference)
    if lost is Loss.SMALL:
        text = f"{reference}. The layers below cost most; calibration methods beyond min/max usually win this back."
        return Verdict("small-loss", f"{coarsest} loses a little: it {describe(coarse)}.", _sentence(text))
    if finest == coarsest:
        text = "Compare with bits=(16, 8) to see whether 16 bit is fine."
        return Verdict("quantization", f"{coarsest} is far from float: it {describe(coarse)}.", text)
    headline = f"It is quantization: {reference}, but {coarsest} {describe(coarse)}."
    return Verdict("quantization", headline, "The number format is to blame. The layers below cause it.")


def _spoilt(trained: OutputError, coarse: OutputError, name: str) -> Verdict:
    return Verdict(
        "not-quantization",
        f"It is the training, not the number format: already in float the trained network {describe(trained)}.",
        f"{name} {describe(coarse)}. Train with a smaller learning rate, with float as its teacher, or longer.",
    )


def _unknown(output: OutputError) -> Verdict:
    if output.unseen:
        headline = f"Nothing can be said of this output: {', '.join(output.unseen[:3])}."
    elif output.tensors:
        headline = "Nothing can be said: the outputs are empty, or the same for all of these images."
    else:
        headline = "Nothing can be said: the forward gives no tensor."
    todo = (
        "An output that cannot be seen into is not an equal one. Return tensors from the forward, as those that the "
        "objects, arrays or lists are made of, or give evaluate=…, a function of yours from a model to its figure."
    )
    others = "Look at what the model gives for one of them, and give other images."
    return Verdict("cannot-judge", headline, others if output.tensors and not output.unseen else todo)


def _undecided(name: str, output: OutputError, reference: str) -> Verdict:
    needed = images_needed(output)
    return Verdict(
        "undecided",
        f"{output.images} images do not decide: {name} {describe(output)}.",
        _sentence(f"{reference}. About {needed} images like these would tell whether anything is lost."),
    )


def _clipped(comparison: Comparison, lost: Loss, clipped: Clipped) -> Verdict:
    """Ranges from unlike images cost both widths a little: what a format does beyond that is the coarser one's."""
    finest, coarsest = comparison.lanes[0], comparison.lanes[-1]
    told = describe(comparison.outputs[coarsest])
    reference = _sentence(f"{finest} {describe(comparison.outputs[finest])}, by the same ranges")
    is_large = lost is Loss.LARGE
    headline = f"{coarsest} is far from float" if is_large else f"{coarsest} loses a little by its calibration range"
    kind: VerdictKind = "quantization" if is_large else "small-loss"
    return Verdict(kind, f"{headline}: it {told}.", f"{reference}. {_unlike(clipped)}", clipped[0])


def _unlike(clipped: Clipped) -> str:
    where, percent = clipped
    return (
        f"At {str(where)!r} {percent:.1f} % of the values lie outside the calibrated range: the calibration data is "
        "unlike the data. Calibrate on images like these, prepared in the same way."
    )


def _already_bad(comparison: Comparison, finest: str, clipped: Clipped | None) -> Verdict:
    site = first_departure(comparison, finest)
    told = describe(comparison.outputs[finest])
    if clipped is not None:
        headline = f"It is the calibration, not 8 bit: already {finest} {told}."
        return Verdict("not-quantization", headline, _unlike(clipped), clipped[0])
    where_text = f"It first departs at {str(site)!r}." if site else "No single layer departs: errors add up."
    return Verdict(
        "not-quantization",
        f"It is not 8-bit quantization: already {finest} {told}.",
        f"{where_text} 16 bits are enough for every healthy network, so look for what a format cannot hold: values or "
        "weights orders of magnitude apart, a BatchNorm with a vanishing variance, an operation that amplifies.",
        site,
    )


def _clipped_first(comparison: Comparison, lane: str) -> Clipped | None:
    """The first layer whose values lie outside its range in number: there the calibration saw other data."""
    for layer in comparison.layers:
        percent = layer.lanes[lane].accumulated.get("clipped_percent") or 0.0
        if percent > CLIPPED_PERCENT:
            return layer.site, percent
    return None


def _is_already_bad(fine: OutputError, coarse: OutputError) -> bool:
    """True where the finer format loses much, or something that the coarser one does not even double."""
    lost = loss(fine)
    if fine.task == "values" and fine.score is None and fine.worst is not None:
        is_lost = fine.worst_sqnr_db < LOST_DB
        return is_lost or (lost in (Loss.SMALL, Loss.LARGE) and fine.worst_sqnr_db < coarse.worst_sqnr_db + SAME_DB)
    same = fine.relative_error > 0.5 * coarse.relative_error
    return lost is Loss.LARGE or (lost is Loss.SMALL and same) or _changes_many(fine)


def _changes_many(fine: OutputError) -> bool:
    """Surely other decisions, where the finer format ought to leave nearly all, and seemingly more than the limits."""
    agreement, interval = fine.agreement_percent, fine.agreement_interval
    if not fine.means_classes or agreement is None or interval is None or interval[1] >= FINE_AGREEMENT:
        return False
    return agreement < CHANGED_AGREEMENT or (fine.drop_points or 0.0) > LIMIT_POINTS


def first_departure(comparison: Comparison, lane: str) -> Site | None:
    """The first layer that in this lane adds noise of its own above a thousandth of the signal, channel by channel."""
    return next((x.site for x in comparison.layers if x.lanes[lane].added_noise > SITE_NOISE), None)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
