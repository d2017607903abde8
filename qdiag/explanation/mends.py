"""Mends: what brings one layer's damage down, with what its share of the damage led one to expect."""

import math
from collections.abc import Sequence

from qdiag.comparison.figure import Figure
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import outputs_steps
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.repairs import LIKE_THESE, WIDER, Repair, code_of, equalized_steps
from qdiag.explanation.trials import AS_IT_IS, SUSPECT_IMAGES, Trial, repair_trial
from qdiag.progress import Steps
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if
from qdiag.subject import Subject
from qdiag.tracing.site import Site

MENDED = 3
"""So many of the worst layers are mended, each by itself."""
LEFT = 1e-6
"""Of all damage, what is expected to stay at the least: 16 bits round too."""


def raised_steps(
    subject: Subject,
    quantized: QuantizedModel,
    sites: Sequence[Site],
    images: int,
    before: OutputError | None = None,
    figure: Figure | None = None,
) -> Steps[Trial]:
    """The network with these layers' weights and outputs in 16 bit. before: the formats as they are on the same."""
    title = f"the first {len(sites)} culprits in 16 bit" if len(sites) > 1 else f"{sites[0]} in 16 bit"
    code = code_of(quantized, "simple", bits=repr({str(site): 16 for site in sites}))
    repair = Repair(title, quantized.change(quantized.plan.with_bits(sites, 16)), code, WIDER)
    found = yield from outputs_steps(subject, {title: repair.changed}, "trying repairs", images)
    if before is not None:
        return repair_trial(figure, repair, found[title], before)
    return Trial("repair", title, found[title], found[title].images, code=code, cost=WIDER)


def mend_steps(
    subject: Subject,
    quantized: QuantizedModel,
    culprits: Sequence[Culprit],
    suspects: Sequence[Culprit],
    images: int,
    repairs: Sequence[Repair],
    deadline: Deadline,
) -> Steps[tuple[Trial, ...]]:
    """Each of the worst layers mended alone, in all ways there are, the easiest to accept first.

    suspects: all whose share of the damage is known. repairs: of the whole network, which may hold ranges of the data
    itself.
    """
    like_these = next((repair for repair in repairs if repair.title == LIKE_THESE), None)
    ways: dict[str, tuple[Culprit, Repair]] = {}
    for culprit in [one for one in culprits if one.trial is not None][:MENDED]:
        site = culprit.layer.site
        made = _range_like_these(quantized, site, like_these)
        made += yield from _ways_steps(subject, quantized, site, deadline)
        for repair in made:
            ways[f"{culprit.layer.site} {repair.title}"] = culprit, repair
    if not ways:
        return ()
    models = {AS_IT_IS: quantized} | {name: repair.changed for name, (_, repair) in ways.items()}
    found = yield from outputs_steps(subject, models, "mending layers", min(images, SUSPECT_IMAGES))
    before = found[AS_IT_IS]
    return tuple(
        Trial(
            *("mend", repair.title, found[name], before.images, culprit.layer.site, repair.code, repair.cost),
            before=before,
            predicted_db=predicted_db(culprit, _part_taken(quantized, repair, culprit, suspects), before.damage),
        )
        for name, (culprit, repair) in ways.items()
    )


def predicted_db(culprit: Culprit, taken: float, before: float) -> float:
    """What a mend ought to gain, from what each layer does alone: such damages nearly add up while they are small.

    Where they are not, the output before was lost only once, and what other layers do alone keeps it lost.

    taken: the part of all damage that the mend takes away, 0 to 1. before: the damage of all layers together.
    """
    assert culprit.trial is not None
    left = 1.0 - min(1.0 - LEFT, taken)
    total = culprit.trial.output.damage / culprit.share
    return max(0.0, 10 * math.log10(min(before, total) / (total * left)))


def _part_taken(quantized: QuantizedModel, repair: Repair, culprit: Culprit, suspects: Sequence[Culprit]) -> float:
    """Of all damage, 0 to 1: equalized channels mend the layers too that write them or read them."""
    around = _around_shifts(quantized, repair.changed)
    mended = [culprit, *(one for one in suspects if one is not culprit and one.layer.site in around)]
    return sum(one.share * _reach(one, repair) for one in mended)


def _around_shifts(quantized: QuantizedModel, changed: QuantizedModel) -> set[Site]:
    """The layers that write or read a tensor whose channels were multiplied."""
    new = changed.calibration.shifts.keys() - quantized.calibration.shifts.keys()
    return {layer.site for layer in quantized.plan.layers if not new.isdisjoint((layer.site, *layer.sources))}


def _reach(culprit: Culprit, repair: Repair) -> float:
    """The part of a layer's damage that a repair of this kind can take away, 0 to 1."""
    trial, error = culprit.trial, culprit.error
    weights = error.weight_share if trial is None or trial.weights_part is None else trial.weights_part
    if repair.title == LIKE_THESE:
        return 1.0 - weights
    if repair.cost in (1, 2):
        return weights
    return 1.0 - error.blamed(weights).clipped_share  # the ends of a range stay where they are


def _range_like_these(quantized: QuantizedModel, site: Site, repair: Repair | None) -> list[Repair]:
    """The layer's range from the data itself, where that is another one."""
    known = quantized.calibration
    if repair is None or site not in repair.changed.calibration.ranges:
        return []
    own = repair.changed.calibration.ranges[site]
    if own == known.ranges.get(site):
        return []
    changed = quantized.change(calibration=known.change(ranges={site: own}))
    return [Repair(LIKE_THESE, changed, repair.code, 0)]


def _ways_steps(subject: Subject, quantized: QuantizedModel, site: Site, deadline: Deadline) -> Steps[list[Repair]]:
    ways, name, weight = list[Repair](), str(site), quantized.plan.layer(site).weight
    start = code_of(quantized, "simple")
    equalized = yield from deadline.within(equalized_steps(subject, quantized, name))
    if equalized is not None:
        ways.append(Repair("equalized channels", equalized, f"equalize({start}, images, {name!r})", 0))
    if weight is not None and weight.axis is None:
        changed = what_if(quantized, name, per_channel=True)
        ways.append(Repair("per-channel weights", changed, f"what_if({start}, {name!r}, per_channel=True)", 2))
    changed = quantized.change(quantized.plan.with_bits([site], 16))
    ways.append(Repair("16 bit", changed, f"what_if({start}, {name!r}, bits=16)", WIDER))
    return ways
