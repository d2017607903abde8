"""What a lane makes of the network's outputs: each in its own measure."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from qdiag.comparison.intervals import Interval
from qdiag.subject import Task


@dataclass(frozen=True)
class TensorError:
    """One output in one lane.

    name: as `["scores"]`, "" for the only one. relative_noise: error over signal power, over all of it.
    worst_sqnr_db: of the channel group that lost most, beside its own spread over the images; None where the output is
    the same for all images, and of integers. worst_channels: the group. agreement_percent: of integers and truth
    values, how many equal float's; kappa: the same beyond what chance would bring, 1 for all and 0 for none.
    """

    name: str
    relative_noise: float | None = None
    worst_sqnr_db: float | None = None
    worst_channels: tuple[int, ...] = ()
    channels: int = 1
    agreement_percent: float | None = None
    kappa: float | None = None

    @property
    def where(self) -> str:
        """The place of the worst group, in words; "" where the output is one group."""
        own = "" if not self.name else f"output {self.name!r}"
        if not self.worst_channels or len(self.worst_channels) == self.channels:
            return own
        first, last = self.worst_channels[0], self.worst_channels[-1]
        many = f"{len(self.worst_channels)} channels between {first} and {last}"
        spot = f"channel {first}" if first == last else many
        return f"{spot} of {own}" if own else spot


@dataclass(frozen=True)
class OutputError:
    """One lane at the network's outputs.

    sqnr_db, relative_error: over all floating-point outputs together. decisions: what argmax over axis 1 of the first
    output gives, one for each image or each pixel; agreement_percent: of these equal to float's, with its interval.
    Decisions count where the outputs mean classes: see `task`.
    top1_percent: None without labels. drop_points: float's top-1 minus this lane's. Intervals are 95 % ones: of paired
    proportions; for pixels over images.
    miou_percent, miou_drop_points, miou_interval: mean intersection over union of classes, where pixels are labelled.
    task: what the outputs mean. images: that were seen. tensors: every output by itself; unseen: outputs that no lane
    could be followed to, as NumPy arrays and objects. target_error: the mean distance to targets that are values, of
    float and of this lane, in the target's own unit.
    score, float_score: the user's own figure of this lane, and of float. score_interval: of how much lower this lane's
    is, where the figure can tell its images apart. score_best: of a perfect model, where that is known. score_is_own:
    False where it is float's to the last digit, and was given without a call of this version. figure: what it is
    called.
    """

    sqnr_db: float
    relative_error: float
    decisions: int
    agreement_percent: float | None
    top1_percent: float | None
    drop_points: float | None
    drop_interval: Interval | None
    agreement_interval: Interval | None = None
    miou_percent: float | None = None
    miou_drop_points: float | None = None
    miou_interval: Interval | None = None
    task: Task = "values"
    images: int = 0
    tensors: tuple[TensorError, ...] = ()
    unseen: tuple[str, ...] = ()
    target_error: tuple[float, float] | None = None
    score: float | None = None
    float_score: float | None = None
    score_interval: Interval | None = None
    score_best: float | None = None
    score_is_own: bool = True
    figure: str = "your own figure"

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "OutputError":
        """The inverse of `dataclasses.asdict`; what an older state does not hold is as if never measured."""
        known = {field.name for field in fields(cls)}
        tensors = tuple(TensorError(**tensor) for tensor in state.get("tensors", ()))
        return cls(**{name: value for name, value in state.items() if name in known} | {"tensors": tensors})

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def score_drop(self) -> tuple[float, Interval | None] | None:
        """What is lost of the user's own figure, in hundredths of its scale, and the interval of that."""
        reference, own = self.float_score, self.score
        if reference is None or own is None:
            return None
        unit = scale_of(reference, self.score_best) / 100
        ends = self.score_interval
        return (reference - own) / unit, None if ends is None else (ends[0] / unit, ends[1] / unit)

    @property
    def means_classes(self) -> bool:
        """True where argmax is known to be what the network is for."""
        return self.task in ("classification", "segmentation") and self.agreement_percent is not None

    @property
    def worst(self) -> TensorError | None:
        """The floating output whose worst channels lost most; None where none varies."""
        varying = [tensor for tensor in self.tensors if tensor.worst_sqnr_db is not None]
        return min(varying, key=lambda tensor: tensor.worst_sqnr_db or 0.0, default=None)

    @property
    def worst_sqnr_db(self) -> float:
        """Of the worst channels of the worst output; of all together where outputs were not told apart."""
        worst = self.worst
        return self.sqnr_db if worst is None or worst.worst_sqnr_db is None else worst.worst_sqnr_db

    @property
    def damage(self) -> float:
        """Error over signal power, the mean over outputs, each of which is lost at most once."""
        noises = [min(1.0, tensor.relative_noise) for tensor in self.tensors if tensor.relative_noise is not None]
        if len(noises) > 1:
            return sum(noises) / len(noises)
        return self.relative_error**2 if math.isfinite(self.relative_error) else 1.0


def scale_of(reference: float, best: float | None) -> float:
    """What a figure is counted in hundredths of: its best, where that is a quantity and not, as of errors, 0 or less.

    Where nobody said what the best is: 1, 100, or what float reaches, whichever scale float's figure seems to have.

    >>> scale_of(0.4, None), scale_of(37.0, None), scale_of(-0.25, 0.0)
    (1.0, 100.0, 0.25)
    """
    if best is not None and best > 0:
        return best
    return 1.0 if 0 <= reference <= 1 else 100.0 if 1 < reference <= 100 else abs(reference)
