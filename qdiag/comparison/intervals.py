"""What proportions over few images can carry: 95 % intervals that hold for small counts and for none at all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Interval = tuple[float, float]

Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""
LEAST_RESAMPLED = 10
LEAST_DIFFERING = 5
"""Images, and images among them that differ, for the bootstrap to have something to draw from."""
RESAMPLES = 2000
ENOUGH = 2000
"""Images from which on a mean over them is as good as normal."""


def wilson(successes: float, n: float) -> Interval:
    """A proportion's score interval (Wilson, 1927), which is inside 0 and 1 and has a width for 0 of n too.

    >>> [round(end, 3) for end in wilson(32, 32)]
    [0.893, 1.0]
    """
    if n <= 0:
        return 0.0, 1.0
    p, square = successes / n, Z * Z / n
    half = Z * math.sqrt(p * (1 - p) / n + square / (4 * n))
    return max(0.0, (p + square / 2 - half) / (1 + square)), min(1.0, (p + square / 2 + half) / (1 + square))


@dataclass(frozen=True)
class Pairs:
    """How often float and a lane were right: both, float alone (lost), the lane alone (won), neither.

    Fractions too, where one image is right in part.
    """

    both: float
    lost: float
    won: float
    neither: float

    @property
    def n(self) -> float:
        return self.both + self.lost + self.won + self.neither

    @property
    def drop(self) -> float:
        """Float's proportion minus the lane's."""
        return (self.lost - self.won) / self.n

    def times(self, factor: float) -> "Pairs":
        """The same proportions over more images."""
        return Pairs(self.both * factor, self.lost * factor, self.won * factor, self.neither * factor)

    def interval(self) -> Interval:
        """Of the drop: method 10 of Newcombe (Statistics in Medicine 17, 1998, 2635-2650); exact without a flip.

        >>> [round(100 * end, 1) for end in Pairs(32, 0, 0, 0).interval()]
        [-10.9, 10.9]
        """
        if self.lost + self.won == 0:  # by Clopper and Pearson: so often a flip may still come
            unseen = 1 - 0.025 ** (1 / self.n)
            return -unseen, unseen
        reference, lane = (self.both + self.lost) / self.n, (self.both + self.won) / self.n
        (low1, high1), (low2, high2) = wilson(reference * self.n, self.n), wilson(lane * self.n, self.n)
        correlation = self._correlation()

        def reach(a: float, b: float) -> float:
            return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

        return self.drop - reach(reference - low1, high2 - lane), self.drop + reach(high1 - reference, lane - low2)

    def _correlation(self) -> float:
        a, b, c, d = self.both, self.lost, self.won, self.neither
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        excess = a * d - b * c
        if margins <= 0:
            return 0.0
        return (max(0.0, excess - self.n / 2) if excess > 0 else excess) / math.sqrt(margins)


def images_to_narrow(pairs: Pairs, most: float) -> int:
    """About how many images with these proportions would have an interval that ends within so much of the drop.

    >>> images_to_narrow(Pairs(32, 0, 0, 0), 0.02)
    183
    """
    factor = 1.0
    while pairs.times(factor).interval()[1] - pairs.drop > most and factor < 1e6:
        factor *= 1.02
    return math.ceil(pairs.n * factor)


def mean_interval(differences: Tensor, weights: Tensor, pairs: Sequence[float]) -> Interval:
    """Of a proportion's drop where what is counted comes many at a time, as pixels come by the image.

    The images are what was drawn, not their pixels: resampled where enough of them differ (expanded percentiles,
    Hesterberg, arXiv:1411.5279), else each counted as one decision.

    differences: [n], float right less lane right, summed over each image. weights: [n], what was counted in it.
    pairs: both, lost, won and neither, as sums over the images of each one's shares.
    """
    n, differing = len(differences), int((differences != 0).sum())
    if n < LEAST_RESAMPLED or differing < LEAST_DIFFERING:
        return Pairs(*pairs).interval()
    if n >= ENOUGH:
        mean = differences.sum() / weights.sum()
        spread = (differences - mean * weights).square().sum().sqrt() / weights.sum()
        return float(mean - Z * spread), float(mean + Z * spread)
    return resampled(differences, weights)


def resampled(numerators: Tensor, denominators: Tensor) -> Interval:
    """The interval of a ratio of sums over images [n], by drawing the images anew."""
    n = len(numerators)
    counts = resampled_counts(n)
    ratios = (counts @ numerators.double()) / (counts @ denominators.double()).clamp(min=1e-12)
    wider = Z * math.sqrt(n / (n - 1)) * (1 + 1.2 / n)  # Student's quantile, nearly
    tail = 0.5 * math.erfc(wider / math.sqrt(2))
    low, high = torch.quantile(ratios, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def resampled_counts(n: int, draws: int = RESAMPLES) -> Tensor:
    """How often each of n images is drawn, [draws, n]; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(n, (draws, n), generator=generator)
    counts = torch.zeros(draws, n, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))
