"""What has to be said before any word on number formats: float itself, its data, and whether it is one function."""

from collections.abc import Sequence
from dataclasses import replace

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.float_figures import FloatFigures
from qdiag.comparison.intervals import Interval, wilson
from qdiag.comparison.not_finite import NotFinite
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.probe import NormShift, Probe
from qdiag.comparison.readings import BY_BATCH, Reading
from qdiag.explanation.figure_health import figure_trouble
from qdiag.explanation.loss import Loss, describe, loss
from qdiag.explanation.trouble import Trouble

NEAR_CHANCE = 0.25
"""Of the way from guessing to always right, below which float does not read these images, or the labels are others."""
NOISE_DB = 40.0
"""Two float runs that lie nearer than this are noise beside what 8 bits make."""
OFTEN_RIGHT = 0.5
"""Of the labels: below, it is asked whether float is expected to be no better, whatever the verdict."""
FAR_OFFSET = 6.0
FAR_SPREAD = 20.0
"""A first BatchNorm's input so far from its statistics comes from other images than those of training."""
ODD_OFFSET = 2.0
ODD_SPREAD = 4.0


def trouble(comparison: Comparison) -> Trouble | None:
    """The first that applies; None where float itself can be trusted."""
    found = comparison.probe
    if comparison.not_finite:
        return _not_finite(comparison.not_finite)
    if found.repeat_db < NOISE_DB:
        return _not_repeatable(found)
    figures = comparison.float_figures
    if figures is not None and is_near_chance(figures):
        return _near_chance(figures, found)
    if found.better is not None:
        return _read_otherwise(found.better)
    of_figure = figure_trouble(comparison.outputs)
    if of_figure is not None:
        return of_figure
    if figures is not None and figures.exchanged:
        return _exchanged(figures)
    if figures is None and found.norm_shift is not None and _is_far(found.norm_shift, FAR_OFFSET, FAR_SPREAD):
        text = (
            f"{_shifted(found.norm_shift)}. Check how they are loaded: scale (0..1 or 0..255), mean, deviation, order."
        )
        return Trouble("float-is-wrong", "These are not the images that the float model was trained on.", text)
    return None


def _not_finite(outputs: Sequence[NotFinite]) -> Trouble:
    text = (
        f"{'; '.join(map(str, outputs))}. No figure of it says anything: bound what is divided by, or what a logarithm "
        "or root is taken of, and put masks of -inf behind the network."
    )
    return Trouble("float-is-wrong", "The float model itself gives NaN or infinity.", text[0].upper() + text[1:])


def notes(comparison: Comparison, output: OutputError) -> tuple[str, ...]:
    """Sentences to set beside any verdict."""
    found, told = comparison.probe, []
    if found.was_training:
        told.append(
            "The model came in training mode; all of this was measured in eval mode, as it will be deployed. In "
            f"training mode {_names(found.was_training)} would give other results."
        )
    if found.active and found.repeat_db >= NOISE_DB:
        told.append(f"{_names(found.active)} stays in training mode also in eval mode.")
    figures = comparison.float_figures
    if figures is not None and figures.right < OFTEN_RIGHT and not is_near_chance(figures):
        told.append(f"Float itself is right in {100 * figures.right:.1f} % here: is that what it reached in training?")
    shift = found.norm_shift
    if comparison.float_figures is not None and shift is not None and _is_far(shift, ODD_OFFSET, ODD_SPREAD):
        told.append(f"{_shifted(shift)}: are they prepared as in training?")
    if output.score is not None and loss(output) is Loss.NONE and loss(replace(output, score=None)) is Loss.LARGE:
        told.append(
            f"Without your own figure this would be called lost: the output {describe(replace(output, score=None))}. "
            "Does that figure follow what the network gets wrong?"
        )
    is_unsaid = output.task == "values" and output.score is None and not output.unseen
    if is_unsaid and output.decisions and loss(output) is not Loss.UNKNOWN:
        told.append(
            "Nothing says that the outputs mean classes, so that each was judged as values, by its worst channels: "
            'labels, task="classification" or evaluate=… would say what counts.'
        )
    return tuple(told)


def is_near_chance(figures: FloatFigures) -> bool:
    """True where float is surely little better than guessing."""
    guess = 1 / max(2, figures.classes)
    _, high = wilson(figures.right * figures.images, figures.images)
    return figures.images > 1 and high < guess + NEAR_CHANCE * (1 - guess)


def _near_chance(figures: FloatFigures, found: Probe) -> Trouble:
    headline = f"Float itself is right in only {100 * figures.right:.1f} % of these {figures.images} images."
    reasons = [] if found.better is None else [f"{_better(found.better)}."]
    if figures.highest_label >= figures.classes:
        doubt = "count from 1" if figures.highest_label == figures.classes else "name other classes"
        reasons.append(
            f"The labels reach {figures.highest_label}, where the outputs have {figures.classes} classes, 0 to "
            f"{figures.classes - 1}: do they {doubt}?"
        )
    elif figures.shift:
        direction = "above" if figures.shift > 0 else "below"
        reasons.append(f"The labels are mostly one {direction} what float decides: do they count from another class?")
    elif figures.relabelled > 0.5 and figures.relabelled > 2 * figures.right + 0.1:
        reasons.append(
            f"With its classes in another order {100 * figures.relabelled:.0f} % would be right: either the labels "
            "number the classes differently, or these images are prepared in another way than in training."
        )
    if figures.decided == 1 or figures.decided < 0.1 * min(figures.classes, figures.images):
        classes = "one class" if figures.decided == 1 else f"{figures.decided} of {figures.classes} classes"
        reasons.append(f"Float decides for {classes} whatever the image: does it see the images as in training?")
    if found.norm_shift is not None and _is_far(found.norm_shift, ODD_OFFSET, ODD_SPREAD):
        reasons.append(f"{_shifted(found.norm_shift)}.")
    if not reasons:
        reasons.append("Other labels, weights that were not loaded, or images not prepared as in training do that.")
    reasons.append("What 8 bits change cannot be told from a network that does not read its images.")
    return Trouble("float-is-wrong", headline, " ".join(reasons))


def _read_otherwise(better: Reading) -> Trouble:
    text = (
        f"{_better(better)}. Prepare them as training did, for calibration too: what 8 bits change cannot be told from "
        "what this costs."
    )
    if better.how == BY_BATCH:
        text = (
            f"{_better(better)}. Were the running statistics loaded with the weights, and are the images those of "
            "training?"
        )
    headline = f"Float itself is right in only {100 * better.as_given:.1f} % of the first {better.images} images."
    if better.figure:
        headline = f"Float itself reaches only {100 * better.as_given:.1f} % of the best in {better.figure}."
    return Trouble("float-is-wrong", headline, text)


def _better(better: Reading) -> str:
    told = f"{100 * better.right:.1f} % are right then, of the first {better.images},"
    if better.figure:
        told = f"{100 * better.right:.1f} % of the best in {better.figure} are reached then,"
    return (
        f"Float reads these images better {better.how}: {told} in place of {100 * better.as_given:.1f} %"
        f"{_gain(better.gain_interval)}"
    )


def _gain(interval: Interval | None) -> str:
    return "" if interval is None else f" (a gain of {interval[0]:.1f} to {interval[1]:.1f} points, 95 % interval)"


def _exchanged(figures: FloatFigures) -> Trouble:
    return Trouble(
        "float-is-wrong",
        f"Float takes {figures.exchanged} classes for others of them.",
        "On the images of each of these classes it mostly decides for another one, each for a different one: most "
        "likely the labels number the classes differently. What 8 bits change cannot be told by such labels.",
    )


def _not_repeatable(found: Probe) -> Trouble:
    by_batch = found.batch_difference > found.repeat_difference
    what = "among other images another result" if by_batch else "another result at every run"
    active = f" {_names(found.active)} is active in eval mode." if found.active else ""
    return Trouble(
        "not-repeatable",
        f"The float model gives an image {what}: the two lie at {found.repeat_db:.1f} dB.",
        f"{active.strip()} Every version was given the same draws here, so that the figures below do not show what a "
        "device will do. Take randomness, and statistics of the batch, out of the forward for inference.".strip(),
    )


def _shifted(shift: NormShift) -> str:
    return (
        f"On these images the input of {str(shift.site)!r} lies {shift.offset:.1f} deviations off its running "
        f"statistics, with {shift.spread:.2g} times their deviation"
    )


def _is_far(shift: NormShift, offset: float, spread: float) -> bool:
    return shift.offset > offset or not 1 / spread < shift.spread < spread


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(repr(name) for name in names[:2]) + more
