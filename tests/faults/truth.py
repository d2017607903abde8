"""The truth about a case, by brute force: fake quantization written here, every layer by itself."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from tests.faults.graph import WEIGHTED, Stored, fold, graph_of, module_of, stored
from tests.faults.hosts import Host

AT_ONCE = 16
SAME = 1e-3
ALONE_PIXELS = 16 * 224 * 224
"""Of the images on which layers are tried one by one."""


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
        layers = {one.name: module_of(self.net, one.first) for one in found}
        self.layers = {name: layer for name, layer in layers.items() if isinstance(layer, WEIGHTED)}
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
            layer.weight.copy_(rounded(weight, -end, end, lane.bits) if name in lane.weights else weight)
        return torch.cat([_Run(self, lane).run(part) for part in images.split(AT_ONCE)])

    def everything(self, bits: int) -> Lane:
        return Lane(self.names, self.names, bits)

    def alone(self, name: str) -> Lane:
        return Lane([name], [name])


NOTHING = Lane((), ())


@dataclass(frozen=True)
class Figures:
    """What a lane's output is beside float's. drop, agreement: in points and percent; None where outputs are values.

    drop of masks: of pixel accuracy or of mean IoU, whichever is larger; of boxes: of mAP. worst_db: of the channel
    that lost most, error beside its own variance over the images.
    """

    worst_db: float
    agreement: float | None = None
    drop: float | None = None

    @property
    def is_of_values(self) -> bool:
        return self.agreement is None and self.drop is None

    @property
    def most_equal(self) -> float:
        """The agreement, as far as it is known."""
        return 100.0 if self.agreement is None else self.agreement

    @property
    def most_lost(self) -> float:
        """The drop, as far as it is known."""
        return 0.0 if self.drop is None else self.drop

    @property
    def is_lost(self) -> bool:
        """Over 2 points, or decisions equal in under 90 %; of values, under 15 dB."""
        if self.is_of_values:
            return self.worst_db < 15
        return self.most_equal < 90 or self.most_lost > 2

    @property
    def is_fine(self) -> bool:
        if self.is_of_values:
            return self.worst_db > 25
        return self.most_equal >= 98 and self.most_lost <= 0.5


def figures(reference: Tensor, test: Tensor, host: Host) -> Figures:
    """Of outputs [N, C, ...]."""
    images = len(reference)
    error = (test - reference).movedim(1, 0).flatten(1).square().mean(1)
    around = reference - reference.mean(0, keepdim=True)
    spread = around.movedim(1, 0).flatten(1).square().mean(1)
    noise = float((error / spread.clamp(min=1e-12 * float(spread.max()) + 1e-30)).max())
    worst = -10 * math.log10(noise) if noise > 0 else 200.0
    if host.boxes is not None:
        return Figures(worst, drop=host.boxes.precision(reference) - host.boxes.precision(test))
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
    """What is so in a host. float_right: part of the labels that float meets, of mAP that it reaches; None without."""

    brute: Brute
    few: Tensor
    fine: Figures
    coarse: Figures
    float_right: float | None

    @cached_property
    def damage(self) -> dict[str, float]:
        """Output error power over signal by layer, with it alone in 8 bit."""
        return {name: self._noise(self.brute.alone(name)) for name in self.brute.names}

    def weights_of(self, name: str) -> float:
        """What the layer's weights make of its damage, 0 to 1."""
        own, tensor = self._noise(Lane([name], ())), self._noise(Lane((), [name]))
        return own / (own + tensor) if own + tensor else 0.5

    @property
    def culprits(self) -> tuple[str, ...]:
        """The layer that does most, and those that do as much but for a quarter."""
        worst = max(self.damage.values(), default=0.0)
        return tuple(name for name, value in self.damage.items() if value >= 0.75 * worst)

    @cached_property
    def lowest(self) -> tuple[str, ...]:
        """The baseline's order."""
        return lowest_sqnr(self.brute, self.few)

    def _noise(self, lane: Lane) -> float:
        return float((self.brute.outputs(lane, self.few) - self._exact).square().sum() / self._exact.square().sum())

    @cached_property
    def _exact(self) -> Tensor:
        return self.brute.outputs(NOTHING, self.few)


def truth_of(host: Host) -> Truth:
    brute = Brute(host)
    reference = brute.outputs(NOTHING, host.images)
    with torch.no_grad():
        few = host.model(host.images[:2])
    assert float((reference[:2] - few).norm() / few.norm()) < SAME, f"the truth's {host.name} is another network"
    fine, coarse = (figures(reference, brute.outputs(brute.everything(b), host.images), host) for b in (16, 8))
    right = None
    if host.boxes is not None:
        right = host.boxes.precision(reference) / 100
    elif host.labels is not None:
        right = float((reference.argmax(1) == host.labels).float().mean())
    tried = min(64, max(8, ALONE_PIXELS // host.images[0, 0].numel()))
    return Truth(brute, host.images[:tried], fine, coarse, right)


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
