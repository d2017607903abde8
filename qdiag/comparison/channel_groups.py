"""Which values of an output are judged together, and how large an error is beside what these values do."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qdiag.numerics.metrics.sqnr import relative_noise, sqnr_db

FEW = 16
"""Up to so many channels each is judged by itself: a coordinate, a score, a colour."""
APART = 32.0
"""More channels are judged by groups of like size; here one ends and another begins."""
TENTH = 0.1
"""A value that hardly varies over these images is judged by a tenth of its size: they may not show its whole range."""
FEWEST = 8
"""Values that a channel's own spread is taken from, at least; with fewer all channels are one."""
DEAD = 1e-6
"""Of its own size, or of the widest channel's spread: a channel that varies less is a constant."""
DEAD_BESIDE = 1e-6


@dataclass(frozen=True)
class GroupError:
    """A group of channels in one lane: error over signal, in dB, the signal being the spread over images and places."""

    channels: tuple[int, ...]
    sqnr_db: float


class ChannelSums:
    """Sums over images and places of each channel of one output: of the reference once, of the error by lane."""

    def __init__(self, lanes: int):
        self.reference = _Sums()
        self.errors = [_Sums() for _ in range(lanes)]

    def update(self, reference: Tensor, versions: Sequence[Tensor]) -> None:
        rows = _by_channel(reference)
        self.reference.update(rows)
        for sums, version in zip(self.errors, versions, strict=True):
            sums.update(_by_channel(version) - rows)

    @property
    def channels(self) -> int:
        return len(self.reference.counts)

    def relative_noise(self, lane: int) -> float:
        """Error over signal power, over all values; infinite where only the reference is zero."""
        signal, error = (float(sums.squares.sum()) for sums in (self.reference, self.errors[lane]))
        return relative_noise(signal, error)

    def groups(self, lane: int) -> tuple[GroupError, ...]:
        """Every group that varies; none where the output is the same for all images."""
        reference, errors = self.reference, self.errors[lane]
        if not reference.counts.numel() or reference.counts.min() < FEWEST:
            reference, errors = reference.pooled(), errors.pooled()
        mean = reference.sums / reference.counts
        variance = (reference.squares / reference.counts - mean.square()).clamp(min=0)
        alive = variance > (DEAD * mean).square().clamp(min=float(variance.max()) * DEAD_BESIDE**2)
        signal = torch.maximum(variance, (TENTH * mean).square())
        noise = errors.squares / errors.counts
        found = []
        for channels in _grouped(variance.sqrt().tolist(), alive.tolist()):
            error, power = float(noise[channels].sum()), float(signal[channels].sum())
            found.append(GroupError(tuple(channels), sqnr_db(power, error)))
        return tuple(found)


class _Sums:
    """Numbers, sums and sums of squares by channel, [C]; of all as one where the channels are not always as many."""

    def __init__(self, *sums: Tensor):
        self.counts, self.sums, self.squares = sums or (torch.zeros(0, dtype=torch.float64),) * 3

    def update(self, rows: Tensor) -> None:
        new = _Sums(torch.full_like(rows[:, 0], rows.shape[1]), rows.sum(1), rows.square().sum(1))
        if not self.counts.numel():
            self.counts, self.sums, self.squares = new.counts, new.sums, new.squares
            return
        if self.counts.shape != new.counts.shape:
            pooled, new = self.pooled(), new.pooled()
            self.counts, self.sums, self.squares = pooled.counts, pooled.sums, pooled.squares
        self.counts, self.sums, self.squares = (
            self.counts + new.counts,
            self.sums + new.sums,
            self.squares + new.squares,
        )

    def pooled(self) -> "_Sums":
        return _Sums(self.counts.sum()[None], self.sums.sum()[None], self.squares.sum()[None])


def channel_axis(shape: Sequence[int]) -> int | None:
    """Where an output's channels lie; None where it has none.

    Axis 1, but for channels that stand last: in three axes the shorter of the two, as in [N, boxes, 85]; in more where
    the axes before look like height and width, as in [N, 20, 20, 85].

    >>> channel_axis((8, 85, 8400)), channel_axis((8, 8400, 85)), channel_axis((8, 3, 64, 64))
    (1, 2, 1)
    """
    if len(shape) < 2:
        return None
    if len(shape) == 3:
        return 2 if shape[2] < shape[1] else 1
    is_last = len(shape) > 3 and shape[-3] == shape[-2] != shape[-1] and shape[-2] > 1
    return len(shape) - 1 if is_last else 1


def _by_channel(tensor: Tensor) -> Tensor:
    """[channels, values] in double precision."""
    axis = channel_axis(tensor.shape)
    values = tensor.detach().double()
    return values.reshape(1, -1) if axis is None else values.movedim(axis, 0).flatten(1)


def _grouped(spreads: Sequence[float], alive: Sequence[bool]) -> list[list[int]]:
    order = sorted((channel for channel, lives in enumerate(alive) if lives), key=lambda channel: spreads[channel])
    if len(order) <= FEW:
        return [[channel] for channel in sorted(order)]
    groups = [[order[0]]]
    for before, channel in itertools.pairwise(order):
        if spreads[channel] > APART * spreads[before]:
            groups.append([])
        groups[-1].append(channel)
    return [sorted(group) for group in groups]
