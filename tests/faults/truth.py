"""The truth about a case, by brute force: fake quantization written here, every layer by itself."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tests.faults.graph import Stored, fold, graph_of, module_of, stored
from tests.faults.hosts import Host

ALONE_IMAGES = 64


def largest_power(magnitude: float) -> int:
    """The least k with magnitude <= 2^k."""
    mantissa, exponent = math.frexp(magnitude)
    return -16 if magnitude == 0 else exponent - (mantissa == 0.5)


def rounded(x: Tensor, low: float, high: float, bits: int) -> Tensor:
    """To a power-of-two scale that holds low to high, with a sign where low is below zero; half up, as TIDL does."""
    signed = low < 0
    step = 2.0 ** (largest_power(max(-low, high)) - bits + signed)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return (x / step + 0.5).floor().clamp(*ends) * step


@dataclass(frozen=True)
class Lane:
    """Which weights and which tensors are rounded, by name, and to how many bits."""

    weights: Collection[str]
    tensors: Collection[str]
    bits: int = 8


class _Run(fx.Interpreter):
    """One forward of the folded network; `lane` None only notes extremes."""

    def __init__(self, truth: "Brute", lane: Lane | None):
        super().__init__(truth.net)
        self.truth, self.lane = truth, lane

    def run_node(self, node: fx.Node) -> Tensor:
        value = super().run_node(node)
        one = self.truth.ends.get(node)
        if one is None:
            return value
        if self.lane is None:
            low, high = self.truth.ranges.get(one.name, (0.0, 0.0))
            self.truth.ranges[one.name] = min(low, float(value.min())), max(high, float(value.max()))
        elif one.name in self.lane.tensors:
            return rounded(value, *self.truth.ranges[one.name], self.lane.bits)
        return value


class Brute:
    """A host's network, folded, with the ranges that its calibration images give."""

    def __init__(self, host: Host):
        self.host = host
        self.net = graph_of(host.model)
        found = stored(self.net)  # before BatchNorms are gone
        fold(self.net)
        for parameter in self.net.parameters():
            parameter.requires_grad_(False)
        self.ends: dict[fx.Node, Stored] = {one.end: one for one in found}
        self.names = [one.name for one in found]
        self.layers: dict[str, nn.Module] = {
            one.name: layer
            for one in found
            if (layer := module_of(self.net, one.first)) is not None and one.is_weighted
        }
        self.weights = {name: layer.get_parameter("weight").clone() for name, layer in self.layers.items()}
        self.ranges: dict[str, tuple[float, float]] = {}
        with torch.no_grad():
            for part in host.calibration.split(64):
                _Run(self, None).run(part)

    @torch.no_grad()
    def outputs(self, lane: Lane, images: Tensor) -> Tensor:
        for name, layer in self.layers.items():
            weight = self.weights[name]
            end = float(weight.abs().max())
            layer.weight.copy_(rounded(weight, -end, end, lane.bits) if name in lane.weights else weight)  # type: ignore[operator]
        return torch.cat([_Run(self, lane).run(part) for part in images.split(100)])

    def everything(self, bits: int) -> Lane:
        return Lane(self.names, self.names, bits)

    def alone(self, name: str) -> Lane:
        return Lane([name], [name])


NOTHING = Lane((), ())


@dataclass(frozen=True)
class Figures:
    """What a lane's output is beside float's. drop, agreement: in points and percent; None where outputs are values.

    drop of masks: of pixel accuracy or of mean IoU, whichever is larger. worst_db: of the channel that lost most, error
    beside its own variance over the images.
    """

    worst_db: float
    agreement: float | None = None
    drop: float | None = None

    @property
    def is_lost(self) -> bool:
        """Over 2 points, or decisions equal in under 90 %; of values, under 15 dB."""
        if self.agreement is None:
            return self.worst_db < 15
        return self.agreement < 90 or (self.drop is not None and self.drop > 2)

    @property
    def is_fine(self) -> bool:
        if self.agreement is None:
            return self.worst_db > 25
        return self.agreement >= 98 and (self.drop is None or self.drop <= 0.5)


def figures(reference: Tensor, test: Tensor, host: Host) -> Figures:
    """Of outputs [N, C, ...]."""
    images = len(reference)
    error = (test - reference).movedim(1, 0).flatten(1).square().mean(1)
    around = reference - reference.mean(0, keepdim=True)
    spread = around.movedim(1, 0).flatten(1).square().mean(1)
    noise = float((error / spread.clamp(min=1e-12 * float(spread.max()) + 1e-30)).max())
    worst = -10 * math.log10(noise) if noise > 0 else 200.0
    if host.task == "values":
        return Figures(worst)
    one, two = reference.argmax(1), test.argmax(1)
    drop = None
    if host.labels is not None:
        labels = host.labels[:images]
        drop = 100 * float((one == labels).float().mean() - (two == labels).float().mean())
        if labels.ndim > 1:
            drop = max(drop, 100 * (mean_iou(one, labels) - mean_iou(two, labels)))
    return Figures(worst, 100 * float((one == two).float().mean()), drop)


def mean_iou(decided: Tensor, labels: Tensor) -> float:
    """Of the classes that the labels have."""
    ratios = [
        float(((decided == one) & (labels == one)).sum() / ((decided == one) | (labels == one)).sum())
        for one in labels.unique().tolist()
    ]
    return sum(ratios) / len(ratios)


@dataclass(frozen=True)
class Truth:
    """float_right: share of labels that float meets; None without labels. damage: output error power over signal by
    layer, with it alone in 8 bit. weights: what the weights of the worst layers make of their damage, 0 to 1.
    lowest: the baseline's order.
    """

    fine: Figures
    coarse: Figures
    float_right: float | None
    damage: dict[str, float]
    weights: dict[str, float]
    lowest: tuple[str, ...]

    def weights_of(self, name: str) -> float:
        return self.weights.get(name, 0.5)

    @property
    def culprits(self) -> tuple[str, ...]:
        return worst_of(self.damage)


def worst_of(damage: dict[str, float]) -> tuple[str, ...]:
    """The layer that does most, and those that do as much but for a quarter."""
    worst = max(damage.values(), default=0.0)
    return tuple(name for name, value in damage.items() if value >= 0.75 * worst)


def truth_of(host: Host) -> Truth:
    brute = Brute(host)
    reference = brute.outputs(NOTHING, host.images)
    fine, coarse = (figures(reference, brute.outputs(brute.everything(b), host.images), host) for b in (16, 8))
    right = None
    if host.labels is not None:
        right = float((reference.argmax(1) == host.labels).float().mean())
    few = host.images[:ALONE_IMAGES]
    base = brute.outputs(NOTHING, few)

    def noise(lane: Lane) -> float:
        return float((brute.outputs(lane, few) - base).square().sum() / base.square().sum())

    damage = {name: noise(brute.alone(name)) for name in brute.names}
    weights = {}
    for name in worst_of(damage):
        own, tensor = noise(Lane([name], ())), noise(Lane((), [name]))
        weights[name] = own / (own + tensor) if own + tensor else 0.5
    return Truth(fine, coarse, right, damage, weights, lowest_sqnr(brute, few))


def lowest_sqnr(brute: Brute, images: Tensor) -> tuple[str, ...]:
    """The baseline: a table of stored tensors, float beside all of it in 8 bit, lowest SQNR first."""
    seen: list[dict[str, Tensor]] = [{}, {}]

    class Noting(_Run):
        def run_node(self, node: fx.Node) -> Tensor:
            value = super().run_node(node)
            if node in self.truth.ends:
                seen[self.lane is not NOTHING][self.truth.ends[node].name] = value
            return value

    with torch.no_grad():
        brute.outputs(NOTHING, images[:1])
        Noting(brute, NOTHING).run(images)
        lane = brute.everything(8)
        brute.outputs(lane, images[:1])  # leaves the rounded weights in place
        Noting(brute, lane).run(images)
    ratio = {
        name: float((seen[1][name] - value).square().sum() / value.square().sum().clamp(min=1e-30))
        for name, value in seen[0].items()
    }
    return tuple(sorted(ratio, key=lambda name: -ratio[name]))
