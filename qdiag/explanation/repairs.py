"""Repairs: what the library can do about a calibration, in the order in which a user would accept it."""

from collections.abc import Sequence
from dataclasses import dataclass

from qdiag.errors import OptionError
from qdiag.numerics.ranges.minmax import MinMax
from qdiag.planning.mac_budget import MacBudget
from qdiag.progress import Steps
from qdiag.quantization.calibrate import improved_steps
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.equalize import equalize
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.observe import observe
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.raise_layers import raised_steps
from qdiag.quantization.techniques.technique import TECHNIQUES
from qdiag.quantization.what_if import what_if
from qdiag.subject import CALIBRATION_IMAGES, Subject

BUDGET = MacBudget(percent=5)
DEFAULT_TARGET = "tidl"
LIKE_THESE = "ranges from images like these"
UNLIKE = 4.0
"""Times that a range reaches as far on one set of images as on another, from which on they are unlike. Two parts of one
data set differ by up to 2.4, on YOLOX-Nano's 249 tensors and 16 and 32 images."""
WIDER = 3
"""The cost of a repair that gives some formats more bits."""


@dataclass(frozen=True)
class Repair:
    """A changed calibration.

    title: what was done. changed: the result. code: that does the same. cost: see `Trial`.
    """

    title: str
    changed: QuantizedModel
    code: str
    cost: int


@dataclass(frozen=True)
class Untried:
    """A repair that time did not allow. code: that does it."""

    title: str
    code: str


@dataclass(frozen=True)
class Repairs:
    """What was made, the easiest to accept first, and what was not for want of time."""

    made: tuple[Repair, ...]
    untried: tuple[Untried, ...]


def code_of(quantized: QuantizedModel, method: str, images: str = "images", **options: str) -> str:
    """The call that calibrates as this model was, for its target and with its scales, in another method.

    images: the name of the data. options: further ones, as code.
    """
    by_channel = [layer.weight.axis is not None for layer in quantized.plan.layers if layer.weight is not None]
    own = {}
    if any(by_channel):
        own["per_channel"] = "'all'" if all(by_channel) else "'depthwise'"
    if quantized.plan.target.name != DEFAULT_TARGET:
        own["target"] = repr(quantized.plan.target.name)
    words = "".join(f", {name}={value}" for name, value in (own | options).items())
    return f'calibrate(model, {images}, "{method}"{words})'


def repairs_steps(subject: Subject, quantized: QuantizedModel, deadline: Deadline) -> Steps[Repairs]:
    """Make all repairs of a calibration; those that take long only until the deadline."""
    made = yield from _quick_steps(subject, quantized)
    like_these = next((repair.changed for repair in made if repair.title == LIKE_THESE), None)
    searched, untried = yield from _searched_steps(subject, quantized, like_these, deadline)
    made += searched
    depthwise = [str(layer.site) for layer in quantized.plan.layers if layer.is_depthwise]
    scopes = [("depthwise weights per-channel", depthwise, "depthwise", 1)] if depthwise else []
    for title, layers, option, cost in [*scopes, ("all weights per-channel", "*", "all", 2)]:
        code = code_of(quantized, "simple", per_channel=repr(option))
        made.append(Repair(title, what_if(quantized, layers, per_channel=True), code, cost))
    title = f"{BUDGET.percent:g} % of its operations in 16 bit"
    code = code_of(quantized, "simple", bits=f"MacBudget(percent={BUDGET.percent:g})")
    plan = yield from deadline.within(raised_steps(quantized, subject.calibration.data, BUDGET))
    if plan is None:
        untried.append(Untried(title, code))
    elif plan.layers != quantized.plan.layers:
        made.append(Repair(title, quantized.change(plan), code, WIDER))
    return Repairs(tuple(made), tuple(untried))


def _quick_steps(subject: Subject, quantized: QuantizedModel) -> Steps[list[Repair]]:
    """A few forwards each."""
    made = []
    if subject.calibration_data is not None and not quantized.calibration.history:
        changed = yield from _on_the_data_steps(subject, quantized)
        made.append(Repair(LIKE_THESE, changed, code_of(quantized, "simple", "data"), 0))
    equalized = yield from equalized_steps(subject, quantized)
    if equalized is not None:
        code = f"equalize({code_of(quantized, 'simple')}, images)"
        made.append(Repair("equalized channels", equalized, code, 0))
    return made


def _searched_steps(
    subject: Subject, quantized: QuantizedModel, like_these: QuantizedModel | None, deadline: Deadline
) -> Steps[tuple[list[Repair], list[Untried]]]:
    """Calibration methods, of a calibration by minimum and maximum; on the data itself where its ranges are others."""
    made: list[Repair] = []
    untried: list[Untried] = []
    if quantized.calibration.history or quantized.calibration.shifts:
        return made, untried
    images, source, place = subject.calibration.data, "images", ""
    if like_these is not None and _is_unlike(quantized, like_these):
        quantized, images, source, place = like_these, subject.data, "data", f", with {LIKE_THESE}"
    images = images.upto(CALIBRATION_IMAGES)
    for method, name in (("searched ranges", "advanced"), ("all that needs no labels", "best")):
        title, code = f"{method}{place}", code_of(quantized, name, source)
        techniques = [TECHNIQUES[technique] for technique in METHODS[name].techniques]
        changed = yield from deadline.within(improved_steps(quantized, techniques, images, Deadline(None)))
        if changed is None:
            untried.append(Untried(title, code))
        elif any(applied.kept for applied in changed.calibration.history):
            made.append(Repair(title, changed, code, 0))
    return made, untried


def _is_unlike(quantized: QuantizedModel, like_these: QuantizedModel) -> bool:
    """True where a range ends elsewhere by far, so that whatever is searched on the calibration data does so too."""
    known, own = quantized.calibration.ranges, like_these.calibration.ranges
    ends = [(known[site].magnitude, own[site].magnitude) for site in known]
    return any(max(one, other) >= UNLIKE * min(one, other) for one, other in ends if one and other)


def _on_the_data_steps(subject: Subject, quantized: QuantizedModel) -> Steps[QuantizedModel]:
    """The same formats with ranges of the data itself: what the calibration data would have to give."""
    data, plan = subject.data.upto(CALIBRATION_IMAGES), quantized.plan.in_float()
    ranges = yield from observe(subject.model, plan, data, MinMax, channels_last=quantized.channels_last)
    return quantized.change(calibration=ranges)


def equalized_steps(
    subject: Subject, quantized: QuantizedModel, layers: str | Sequence[str] = "*"
) -> Steps[QuantizedModel | None]:
    """None where nothing can be equalized, or is already."""
    try:
        return (yield from equalize.steps(quantized, subject.calibration.data, layers))
    except OptionError:
        return None
