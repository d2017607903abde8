"""Outputs that are values: each value in fixed point beside the same one in float."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from qdiag.comparison.channel_groups import ChannelSums, channel_axis
from qdiag.comparison.images.values_parts import channel_rows_table, value_chart
from qdiag.comparison.output_leaves import Met
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report, Text

POINTS = 1200
"""Drawn of one output, about."""
SHOWN = 4
"""Outputs that are drawn, those that lost most."""


@dataclass(frozen=True)
class ChannelValues:
    """Channels of one output that are judged together.

    channels: their numbers. sqnr_db: of the version beside float, the signal being their spread over images and places.
    """

    channels: tuple[int, ...]
    sqnr_db: float


@dataclass(frozen=True)
class OutputValues:
    """One output, sampled evenly over images and places.

    name: "" for the only one. channels: the groups that vary, the worst first. reference, version: values of the same
    place; channel: which one each is of, 0 where the output has no channels.
    """

    name: str
    channels: tuple[ChannelValues, ...]
    reference: tuple[float, ...]
    version: tuple[float, ...]
    channel: tuple[int, ...]

    @property
    def worst_sqnr_db(self) -> float:
        """Of the worst group; infinite where nothing varies."""
        return self.channels[0].sqnr_db if self.channels else float("inf")


@dataclass(frozen=True, repr=False)
class ChangedValues(Displayable):
    """What fixed point makes of outputs that are values, the output that lost most first.

    Attributes:
        model_name: The model's class.
        lane: The version's name.
        images: How many were looked at.
        outputs: Of floating point.
    """

    model_name: str
    lane: str
    images: int
    outputs: tuple[OutputValues, ...]

    def report(self) -> Report:
        """Float against fixed point, a chart for each output; and every group of channels."""
        rows = [(one.name, group.channels, group.sqnr_db) for one in self.outputs for group in one.channels]
        charts = [value_chart(one.name, *_parted(one), self.lane) for one in self.outputs[:SHOWN] if one.reference]
        hint = Text(
            f"{self.images} images. Outputs are taken as values. Where they are classes, say so: "
            "`task='classification'` or `task='segmentation'` shows the images that are decided otherwise."
        )
        data = {
            "images": self.images,
            "outputs": [{"name": one.name, "sqnr_db": one.worst_sqnr_db} for one in self.outputs],
        }
        title = f"What happened to the images: {self.model_name} in {self.lane}"
        return Report(title, (hint, *charts, channel_rows_table(rows)), "images", data)


def _parted(one: OutputValues) -> tuple[str, list[tuple[float, float]], list[tuple[float, float]]]:
    """The worst channels in words, their points, and the others'."""
    channels = set(one.channels[0].channels) if one.channels else set()
    points = list(zip(one.reference, one.version, one.channel, strict=True))
    worst = [(x, y) for x, y, channel in points if channel in channels]
    others = [(x, y) for x, y, channel in points if channel not in channels]
    return channels_in_words(sorted(channels)), worst, others


def channels_in_words(channels: Sequence[int]) -> str:
    """Which, in a few words.

    >>> channels_in_words([3]), channels_in_words([0, 1, 4])
    ('channel 3', '3 channels between 0 and 4')
    """
    if len(channels) == 1:
        return f"channel {channels[0]}"
    return f"{len(channels)} channels between {channels[0]} and {channels[-1]}" if channels else "no channel"


@dataclass
class ValueSums:
    """Folds batches into values. batches: how many there will be, so that points are taken from all of them."""

    batches: int
    images: int = 0
    sums: dict[str, ChannelSums] = field(default_factory=dict)
    points: dict[str, list[Tensor]] = field(default_factory=dict)

    def update(self, met: Met, images: int) -> None:
        """The outputs of one batch of so many images."""
        self.images += images
        for name, reference, version in zip(met.names, met.reference, met.versions[0], strict=True):
            if reference.is_floating_point() and reference.numel():
                self.sums.setdefault(name, ChannelSums(1)).update(reference, [version])
                self.points.setdefault(name, []).append(_sampled(reference, version, -(-POINTS // self.batches)))

    def result(self, model_name: str, lane: str) -> ChangedValues:
        """The output that lost most first."""
        outputs = [self._output(name) for name in self.sums]
        outputs.sort(key=lambda one: one.worst_sqnr_db)
        return ChangedValues(model_name, lane, self.images, tuple(outputs))

    def _output(self, name: str) -> OutputValues:
        groups = sorted(self.sums[name].groups(0), key=lambda group: group.sqnr_db)
        points = torch.cat(self.points[name], 1)
        finite = points[:, points.isfinite().all(0)]
        reference, version, channel = (tuple(row) for row in finite.tolist())
        told = tuple(ChannelValues(group.channels, group.sqnr_db) for group in groups)
        return OutputValues(name, told, reference, version, tuple(int(number) for number in channel))


def _sampled(reference: Tensor, version: Tensor, most: int) -> Tensor:
    """[3, n]: value in float, in the version, and the channel, of places drawn at random, the same ones each time."""
    if reference.numel() <= most:
        places = torch.arange(reference.numel())
    else:
        places = torch.randint(reference.numel(), (most,), generator=torch.Generator().manual_seed(0))
    axis = channel_axis(reference.shape)
    after = 1 if axis is None else int(torch.tensor(reference.shape[axis + 1 :]).prod())
    channel = torch.zeros_like(places) if axis is None else places // after % reference.shape[axis]
    values = [tensor.detach().double().cpu().flatten()[places] for tensor in (reference, version)]
    return torch.stack([*values, channel.double()])
