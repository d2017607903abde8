"""Trials: the network with one thing changed, to see what that does to its output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import outputs_steps
from qdiag.errors import ModelError, OptionError
from qdiag.numerics.ranges.minmax import MinMax
from qdiag.planning.plan import Formats
from qdiag.progress import Steps
from qdiag.quantization.equalize import equalize
from qdiag.quantization.observe import observe
from qdiag.quantization.probed_errors import probed_errors_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if
from qdiag.subject import CALIBRATION_IMAGES, Subject
from qdiag.tracing.site import Site

TrialKind = Literal["part", "repair", "layer"]

SUSPECTS = 24
SUSPECT_IMAGES = 16
PARTED = 3
"""So many of the worst layers are tried by nothing but their weights, and by nothing but their stored tensor."""
REPAIR_IMAGES = 256
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Trial:
    """One changed network and its output.

    kind: "part" quantizes only weights or only activations, "repair" changes formats for the better, "layer" quantizes
    nothing but the one at `site`. title: the change in words. images: that it was run on. code: that does the same.
    cost: of a repair, what it asks of the target: 0 nothing, 1 a scale for each channel of depthwise weights, 2 of all
    weights, 3 wider formats. weights_part: of one layer's trial, the part of its damage that its weights do, 0 to 1;
    None where the two were not tried apart.
    """

    kind: TrialKind
    title: str
    output: OutputError
    images: int
    site: Site | None = None
    code: str = ""
    cost: int = 0
    weights_part: float | None = None
    share: float | None = None
    before: OutputError | None = None

    @property
    def widens(self) -> bool:
        """True where some formats get more bits."""
        return self.cost >= WIDER


WIDER = 3


def trial_steps(
    subject: Subject, comparison: Comparison, quantized: QuantizedModel, most: int = SUSPECTS
) -> Steps[tuple[Trial, ...]]:
    """Weights or activations by themselves, the usual repairs, and the layers that cost most, each by itself.

    most: so many layers. Where there are more, a random-probe pass back through the float network chooses them.
    """
    plan = quantized.plan
    in_float: Formats = {layer.site: None for layer in plan.layers}
    images = min(comparison.images, REPAIR_IMAGES)
    parts = {"weights only": plan.change(output=in_float), "activations only": plan.change(weight=in_float)}
    repairs = yield from _repairs_steps(subject, quantized)
    models = {AS_IT_IS: quantized} | {title: quantized.change(part) for title, part in parts.items()}
    models |= {repair.title: repair.changed for repair in repairs}
    found = yield from outputs_steps(subject, models, "trying repairs", images)
    before = found[AS_IT_IS]  # on the same images: a part of those that the comparison saw
    trials = [Trial("part", title, found[title], before.images) for title in parts]
    trials += [
        Trial("repair", r.title, found[r.title], before.images, code=r.code, cost=r.cost, before=before)
        for r in repairs
    ]
    return tuple(trials) + (yield from _layers_steps(subject, comparison, quantized, most))


def _layers_steps(
    subject: Subject, comparison: Comparison, quantized: QuantizedModel, most: int
) -> Steps[tuple[Trial, ...]]:
    """Each suspect quantized with all others in float, the worst also by weights and tensor apart."""
    plan, estimates = quantized.plan, dict[Site, float]()
    suspects = loudest(comparison, len(plan.layers))
    if len(suspects) > most:
        estimates = yield from _estimates_steps(subject, quantized)
        unknown = [site for site in suspects[:most] if site not in estimates]  # no gradient tells of these
        suspects = [*unknown, *sorted(estimates, key=lambda site: -estimates[site])][:most]
    single = {str(site): quantized.change(plan.only(site)) for site in suspects}
    images = min(comparison.images, SUSPECT_IMAGES)
    found = yield from outputs_steps(subject, single, "trying layers", images)
    damage = {site: found[str(site)].damage for site in suspects}
    worst = [site for site in sorted(suspects, key=lambda site: -damage[site]) if plan.layer(site).weight is not None]
    parted = yield from _parted_steps(subject, quantized, worst[:PARTED], images)
    total = sum(damage.values()) + _untried(damage, estimates)
    return tuple(
        Trial(
            *("layer", f"only {site}", found[str(site)], images, site),
            weights_part=parted.get(site),
            share=damage[site] / total if estimates and total else None,
        )
        for site in suspects
    )


def _estimates_steps(subject: Subject, quantized: QuantizedModel) -> Steps[dict[Site, float]]:
    """By layer; {} where no gradient goes back through the model."""
    try:
        found = yield from probed_errors_steps(quantized, subject.data, SUSPECT_IMAGES)
    except ModelError as error:
        if error.code != "not-differentiable":
            raise
        return {}
    return {site: noise for site, noise in found.items() if noise is not None}


def _untried(damage: Mapping[Site, float], estimates: Mapping[Site, float]) -> float:
    """The damage of layers that were not tried, estimated, in the scale that the tried ones had."""
    ratios = sorted(damage[site] / estimates[site] for site in damage if estimates.get(site))
    scale = ratios[len(ratios) // 2] if ratios else 1.0
    return sum(min(1.0, scale * noise) for site, noise in estimates.items() if site not in damage)


def _parted_steps(
    subject: Subject, quantized: QuantizedModel, sites: Sequence[Site], images: int
) -> Steps[dict[Site, float]]:
    """The part of each layer's damage that its weights do: with only them rounded, and with only its tensor."""
    models = {}
    for site in sites:
        single = quantized.plan.only(site)
        models[f"{site} weights"] = quantized.change(single.change(output={site: None}))
        models[f"{site} tensor"] = quantized.change(single.change(weight={site: None}))
    if not models:
        return {}
    found = yield from outputs_steps(subject, models, "trying weights and tensors", images)
    parts = {site: (found[f"{site} weights"].damage, found[f"{site} tensor"].damage) for site in sites}
    return {site: weights / (weights + tensor) for site, (weights, tensor) in parts.items() if weights + tensor > 0}


@dataclass(frozen=True)
class _Repair:
    title: str
    changed: QuantizedModel
    code: str
    cost: int


def _repairs_steps(subject: Subject, quantized: QuantizedModel) -> Steps[list[_Repair]]:
    """What changes formats for the better in the same number of bits, in the order in which a user would accept it."""
    repairs = []
    if subject.calibration_data is not None and not quantized.calibration.history:
        models = yield from _on_the_data_steps(subject, quantized)
        repairs.append(_Repair("ranges from images like these", models, 'calibrate(model, data, "simple")', 0))
    equalized = yield from _equalized_steps(subject, quantized)
    if equalized is not None:
        code = 'equalize(calibrate(model, images, "simple"), images)'
        repairs.append(_Repair("equalized channels", equalized, code, 0))
    depthwise = [str(layer.site) for layer in quantized.plan.layers if layer.is_depthwise]
    scopes = [("depthwise weights per-channel", depthwise, "depthwise", 1)] if depthwise else []
    for title, layers, option, cost in [*scopes, ("all weights per-channel", "*", "all", 2)]:
        code = f'calibrate(model, images, "simple", per_channel="{option}")'
        repairs.append(_Repair(title, what_if(quantized, layers, per_channel=True), code, cost))
    return repairs


def _on_the_data_steps(subject: Subject, quantized: QuantizedModel) -> Steps[QuantizedModel]:
    """The same formats with ranges of the data itself: what the calibration data would have to give."""
    data, plan = subject.data.upto(CALIBRATION_IMAGES), quantized.plan.in_float()
    ranges = yield from observe(subject.model, plan, data, MinMax, channels_last=quantized.channels_last)
    return quantized.change(calibration=ranges)


def _equalized_steps(subject: Subject, quantized: QuantizedModel) -> Steps[QuantizedModel | None]:
    """None where nothing can be equalized, or is already."""
    try:
        return (yield from equalize.steps(quantized, subject.calibration.data))
    except OptionError:
        return None


def raised_steps(
    subject: Subject,
    quantized: QuantizedModel,
    sites: Sequence[Site],
    images: int,
    before: OutputError | None = None,
) -> Steps[Trial]:
    """The network with these layers' weights and outputs in 16 bit. before: the formats as they are on the same."""
    title = f"the first {len(sites)} culprits in 16 bit" if len(sites) > 1 else f"{sites[0]} in 16 bit"
    code = f'calibrate(model, images, "simple", bits={ {str(site): 16 for site in sites} })'
    models = {title: quantized.change(quantized.plan.with_bits(sites, 16))}
    found = yield from outputs_steps(subject, models, "trying repairs", images)
    output = found[title]
    return Trial("repair", title, output, output.images, code=code, cost=WIDER, before=before)


def loudest(comparison: Comparison, count: int) -> list[Site]:
    """The layers that add most noise of their own in the coarsest lane, the worst first."""
    lane = comparison.lanes[-1]
    layers = sorted(comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)
    return [layer.site for layer in layers[:count] if layer.lanes[lane].added_noise > 0]
