"""Trials: the network with one thing changed, to see what that does to its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from qdiag.comparison.compare import outputs_steps
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.outputs import OutputError
from qdiag.planning.plan import Formats
from qdiag.progress import Steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if
from qdiag.tracing.site import Site

TrialKind = Literal["part", "repair", "alone"]

SUSPECTS = 24
SUSPECT_IMAGES = 16
REPAIR_IMAGES = 256


@dataclass(frozen=True)
class Trial:
    """One changed network and its output.

    kind: "part" quantizes only weights or only activations, "repair" changes formats for the better, "alone" quantizes
    nothing but the layer at `site`. title: the change in words. images: that it was run on. code: that does the same.
    """

    kind: TrialKind
    title: str
    output: OutputError
    images: int
    site: Site | None = None
    code: str = ""


def trial_steps(
    model: nn.Module, data: Any, comparison: Comparison, quantized: QuantizedModel
) -> Steps[tuple[Trial, ...]]:
    """Weights or activations alone, the usual repairs, and each of the layers that add most noise alone."""
    plan = quantized.plan
    in_float: Formats = {layer.site: None for layer in plan.layers}
    images = min(comparison.images, REPAIR_IMAGES)
    parts = {"weights only": plan.change(output=in_float), "activations only": plan.change(weight=in_float)}
    repairs = {"all weights per-channel": (what_if(quantized, per_channel=True), 'per_channel="all"')}
    depthwise = [str(layer.site) for layer in plan.layers if layer.is_depthwise]
    if depthwise:
        changed = what_if(quantized, depthwise, per_channel=True), 'per_channel="depthwise"'
        repairs = {"depthwise weights per-channel": changed, **repairs}
    models = {title: quantized.change(part) for title, part in parts.items()}
    models |= {title: repaired for title, (repaired, _) in repairs.items()}
    found = yield from outputs_steps(model, data, models, "trying repairs", max_images=images)
    trials = [Trial("part", title, found[title], images) for title in parts]
    trials += [
        Trial("repair", title, found[title], images, code=f'calibrate(model, images, "simple", {option})')
        for title, (_, option) in repairs.items()
    ]

    suspects = loudest(comparison, SUSPECTS)
    alone = {str(site): quantized.change(plan.only(site)) for site in suspects}
    images = min(comparison.images, SUSPECT_IMAGES)
    found = yield from outputs_steps(model, data, alone, "trying layers", max_images=images)
    trials += [Trial("alone", f"only {site}", found[str(site)], images, site) for site in suspects]
    return tuple(trials)


def raised_steps(
    model: nn.Module, data: Any, quantized: QuantizedModel, sites: Sequence[Site], images: int
) -> Steps[Trial]:
    """The network with these layers' weights and outputs in 16 bit."""
    title = f"the first {len(sites)} culprits in 16 bit" if len(sites) > 1 else f"{sites[0]} in 16 bit"
    code = f'calibrate(model, images, "simple", bits={ {str(site): 16 for site in sites} })'
    models = {title: quantized.change(quantized.plan.with_bits(sites, 16))}
    found = yield from outputs_steps(model, data, models, "trying repairs", max_images=images)
    return Trial("repair", title, found[title], images, code=code)


def loudest(comparison: Comparison, count: int) -> list[Site]:
    """The layers that add most noise of their own in the coarsest lane, the worst first."""
    lane = comparison.lanes[-1]
    layers = sorted(comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)
    return [layer.site for layer in layers[:count] if layer.lanes[lane].added_noise > 0]
