"""Trials: the network with one thing changed, to see what that does to its output."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.figure import Figure
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import outputs_steps
from qdiag.errors import ModelError
from qdiag.explanation.repairs import WIDER, Repair
from qdiag.planning.plan import Formats
from qdiag.progress import Steps
from qdiag.quantization.alone_errors import LANES
from qdiag.quantization.probed_errors import probed_errors_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.site import Site

TrialKind = Literal["part", "repair", "layer", "mend"]

SUSPECTS = 24
SUSPECT_IMAGES = 16
PARTED = 3
"""So many of the worst layers are tried by nothing but their weights, and by nothing but their stored tensor."""
REPAIR_IMAGES = 256
AS_IT_IS = "as it is"
LEAST_GAIN_DB = 1.0
"""Of what is advised: what gains less is not worth a change."""


@dataclass(frozen=True)
class Trial:
    """One changed network and its output.

    kind: "part" quantizes only weights or only activations, "repair" changes formats for the better, "layer" quantizes
    nothing but the one at `site`, "mend" changes that one alone for the better. title: the change in words. images:
    that it was run on. code: that does the same. cost: of a repair, what it asks of the target: 0 nothing, 1 a scale
    for each channel of depthwise weights, 2 of all weights, 3 wider formats. weights_part: of one layer's trial, the
    part of its damage that its weights do, 0 to 1; None where the two were not tried apart. share: of one layer's
    trial, its part of all damage, where most layers were estimated. before: the formats as they are, on the same
    images. predicted_db: what a mend was expected to gain, from its layer's share of the damage.
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
    predicted_db: float | None = None

    @property
    def gained_db(self) -> float | None:
        """How much less damage the output has than before, in dB; None where nothing is known of before."""
        if self.before is None or not self.before.damage or not self.output.damage:
            return None
        return 10 * math.log10(self.before.damage / self.output.damage)

    @property
    def widens(self) -> bool:
        """True where some formats get more bits."""
        return self.cost >= WIDER


def damage_shares(trials: Sequence[Trial]) -> dict[Site, float]:
    """Of all damage the part of each layer that was tried alone, 0 to 1; as it was estimated for all, where it was."""
    tried = {trial.site: trial for trial in trials if trial.kind == "layer" and trial.site is not None}
    total = sum(trial.output.damage for trial in tried.values()) or 1.0
    return {site: trial.output.damage / total if trial.share is None else trial.share for site, trial in tried.items()}


def trial_steps(
    subject: Subject,
    comparison: Comparison,
    quantized: QuantizedModel,
    repairs: Sequence[Repair] = (),
    most: int = SUSPECTS,
    figure: Figure | None = None,
) -> Steps[tuple[Trial, ...]]:
    """Weights or activations by themselves, the repairs, and the layers that cost most, each by itself.

    most: so many layers. Where there are more, a random-probe pass back through the float network chooses them. figure:
    the user's own.
    """
    plan = quantized.plan
    in_float: Formats = {layer.site: None for layer in plan.layers}
    images = min(comparison.images, REPAIR_IMAGES)
    parts = {"weights only": plan.change(output=in_float), "activations only": plan.change(weight=in_float)}
    models = {AS_IT_IS: quantized} | {title: quantized.change(part) for title, part in parts.items()}
    models |= {repair.title: repair.changed for repair in repairs}
    found = yield from outputs_steps(subject, models, "trying repairs", images)
    before = _with_score(found[AS_IT_IS], comparison.outputs[comparison.lanes[-1]])
    trials = [Trial("part", title, found[title], before.images) for title in parts]
    trials += [repair_trial(figure, repair, found[repair.title], before) for repair in repairs]
    return tuple(trials) + (yield from _layers_steps(subject, comparison, quantized, most))


def repair_trial(figure: Figure | None, repair: Repair, output: OutputError, before: OutputError) -> Trial:
    """A repair's outputs; with the user's own figure of it, where they say that it may help."""
    gains = output.worst_sqnr_db - before.worst_sqnr_db, output.sqnr_db - before.sqnr_db
    may_help = max(gains) >= LEAST_GAIN_DB  # by the worst channel, or by all: which of them counts, the figure knows
    if may_help and figure is not None:
        output = figure.within(output, repair.changed)
    return Trial("repair", repair.title, output, before.images, code=repair.code, cost=repair.cost, before=before)


def _with_score(output: OutputError, known: OutputError) -> OutputError:
    """With the user's own figure of the same network, which is of all images."""
    return replace(
        output,
        score=known.score,
        float_score=known.float_score,
        score_interval=known.score_interval,
        score_best=known.score_best,
        figure=known.figure,
    )


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
    images, found = min(comparison.images, SUSPECT_IMAGES), dict[str, OutputError]()
    for start in range(0, len(suspects), LANES):
        single = {str(site): quantized.change(plan.only(site)) for site in suspects[start : start + LANES]}
        found |= yield from outputs_steps(subject, single, "trying layers", images)
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


def loudest(comparison: Comparison, count: int) -> list[Site]:
    """The layers that add most noise of their own in the coarsest lane, the worst first."""
    lane = comparison.lanes[-1]
    layers = sorted(comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)
    return [layer.site for layer in layers[:count] if layer.lanes[lane].added_noise > 0]
