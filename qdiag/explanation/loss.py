"""How much an output lost: by all the evidence there is, and by what that evidence can carry."""

import enum
import math

from qdiag.comparison.intervals import Interval, Pairs, images_to_narrow
from qdiag.comparison.output_error import OutputError, TensorError

# A drop that calibration alone should not leave behind, in points of top-1 (the project's limit for turning to QAT).
LIMIT_POINTS = 2.0
SMALL_POINTS = 0.5
# 16-bit simulation of a healthy network agrees with float in all decisions but ties; below these it does not.
FINE_AGREEMENT = 98.0
LEAST_AGREEMENT = 100 - 2 * LIMIT_POINTS
CHANGED_AGREEMENT = 90.0
"""Fewer decisions equal to float's are another network, even where as many are right."""
FINE_SQNR_DB = 25.0
NOISY_SQNR_DB = 15.0
SURE_SQNR_DB = 40.0
"""An error of a hundredth of the spread cannot change many decisions: few images are enough to see that."""
FEW_IMAGES = 8
FINE_KAPPA = 0.95
LEAST_KAPPA = 0.8


class Loss(enum.IntEnum):
    """How much an output lost; of several findings the greatest counts. UNKNOWN: nothing could be compared."""

    NONE = 0
    SMALL = 1
    UNDECIDED = 2
    LARGE = 3
    UNKNOWN = 4


def loss(output: OutputError) -> Loss:
    """How much this lane lost: drop, decisions and noise together, unless a figure of the user's own decides."""
    if output.score_drop is not None:
        return _of_score(output, *output.score_drop)
    decided = [_of_decided(tensor, output.images) for tensor in output.tensors if tensor.agreement_percent is not None]
    found = [*decided, _of_classes(output) if output.means_classes else _of_values(output)]
    worst = max(found)
    if worst is not Loss.LARGE and (output.unseen or not _is_comparable(output)):
        return Loss.UNKNOWN
    return worst


def images_needed(output: OutputError) -> int:
    """About how many images like these would tell a loss of nothing from one of more than LIMIT_POINTS."""
    points, interval = output.score_drop or (output.drop_points, output.drop_interval)
    if interval is None or points is None:
        right = 1.0 if output.agreement_percent is None else output.agreement_percent / 100
        pairs = Pairs(right, 1 - right, 0.0, 0.0).times(max(1, output.images))
        return max(4 * FEW_IMAGES, images_to_narrow(pairs, LIMIT_POINTS / 100))
    room = max(0.25 * LIMIT_POINTS, abs(LIMIT_POINTS - points))
    half = max(interval[1] - points, points - interval[0])
    no_flip = output.agreement_percent == 100.0
    return math.ceil(output.images * (half / room if no_flip else (half / room) ** 2))


def _of_score(output: OutputError, points: float, interval: Interval | None) -> Loss:
    """By the user's own figure, whatever the outputs say."""
    reference, own = output.float_score or 0.0, output.score or 0.0
    is_halved = reference > 0 and own <= 0.5 * reference
    if not math.isfinite(points) or (is_halved and (interval is None or interval[0] > 0)):
        return Loss.LARGE
    if interval is not None:
        found = _of_drop(points, interval)
        is_sure = output.worst_sqnr_db >= SURE_SQNR_DB and output.images >= FEW_IMAGES
        return Loss.NONE if is_sure and found is Loss.UNDECIDED else found
    if points > LIMIT_POINTS:
        return Loss.LARGE
    return Loss.SMALL if points > SMALL_POINTS else Loss.NONE


def _of_classes(output: OutputError) -> Loss:
    found = [_of_agreement(output)]
    if output.drop_points is not None and output.drop_interval is not None:
        found.append(_of_drop(output.drop_points, output.drop_interval))
    if output.miou_drop_points is not None and output.miou_interval is not None:
        found.append(_of_drop(output.miou_drop_points, output.miou_interval))
    is_sure = output.worst_sqnr_db >= SURE_SQNR_DB and output.images >= FEW_IMAGES
    if is_sure:
        found = [Loss.NONE if one is Loss.UNDECIDED else one for one in found]
    if output.worst_sqnr_db < NOISY_SQNR_DB:
        found.append(Loss.SMALL)
    return max(found)


def _of_drop(points: float, interval: tuple[float, float]) -> Loss:
    low, high = interval
    if points > LIMIT_POINTS and low > 0:
        return Loss.LARGE
    if low <= 0 and high > LIMIT_POINTS:
        return Loss.UNDECIDED
    return Loss.SMALL if points > SMALL_POINTS or low > 0 else Loss.NONE


def _of_agreement(output: OutputError) -> Loss:
    agreement = output.agreement_percent
    assert agreement is not None, "an output of classes has decisions"
    low, high = output.agreement_interval or (agreement, agreement)
    if output.drop_points is not None:  # where labels say what is right, other decisions are no loss by themselves
        if high < CHANGED_AGREEMENT:
            return Loss.LARGE
        return Loss.SMALL if agreement < LEAST_AGREEMENT else Loss.NONE
    if agreement < LEAST_AGREEMENT and high < FINE_AGREEMENT:
        return Loss.LARGE
    if low < LEAST_AGREEMENT:
        return Loss.UNDECIDED
    return Loss.NONE if agreement >= FINE_AGREEMENT else Loss.SMALL


def _of_values(output: OutputError) -> Loss:
    if output.worst_sqnr_db < NOISY_SQNR_DB:
        return Loss.LARGE
    if output.worst_sqnr_db >= SURE_SQNR_DB:
        return Loss.NONE
    if output.tensors and output.images < FEW_IMAGES:
        return Loss.UNDECIDED
    return Loss.SMALL if output.worst_sqnr_db < FINE_SQNR_DB else Loss.NONE


def _of_decided(tensor: TensorError, images: int) -> Loss:
    """Of integers and truth values."""
    agreement, kappa = _agreed(tensor), tensor.kappa or 0.0
    if agreement < LEAST_AGREEMENT or kappa < LEAST_KAPPA:
        return Loss.LARGE
    if images < FEW_IMAGES:
        return Loss.UNDECIDED
    return Loss.SMALL if agreement < FINE_AGREEMENT or kappa < FINE_KAPPA else Loss.NONE


def _agreed(tensor: TensorError) -> float:
    return tensor.agreement_percent or 0.0


def _is_comparable(output: OutputError) -> bool:
    """True where some output varies with the images; of figures without their outputs nothing else is known."""
    if not output.tensors:
        return output.images == 0
    return output.worst is not None or any(tensor.agreement_percent is not None for tensor in output.tensors)


def describe(output: OutputError) -> str:
    """What became of the output, as the end of a sentence: loses 17.0 points of top-1 (95 % interval …)."""
    if output.score is not None and output.float_score is not None:
        told = f"reaches {output.score:.4g} in {output.figure}, float {output.float_score:.4g}"
        if output.score_interval is None:
            return told
        return f"{told} (95 % interval {{:.1f}} to {{:.1f}} of what is lost)".format(*output.score_interval)
    if output.drop_points is not None and output.drop_interval is not None:
        return _beside_noise(_of_labels(output.drop_points, output.drop_interval, output), output)
    if output.means_classes and output.agreement_percent is not None:
        told = f"agrees with float in {output.agreement_percent:.1f} % of decisions{_reach(output)}"
        return _beside_noise(told, output)
    decided = [tensor for tensor in output.tensors if tensor.agreement_percent is not None]
    worst = max(decided, key=lambda tensor: (_of_decided(tensor, output.images), -_agreed(tensor)), default=None)
    if worst is None or (output.worst is not None and _of_values(output) > _of_decided(worst, output.images)):
        return _of_noise(output)
    where = f" of output {worst.name!r}" if worst.name else ""
    return f"agrees with float in {_agreed(worst):.1f} % of the values{where}"


def _beside_noise(told: str, output: OutputError) -> str:
    """With the noise, where nothing else is what was lost."""
    decides_alike = (output.drop_points or 0.0) <= SMALL_POINTS and (output.agreement_percent or 0.0) >= FINE_AGREEMENT
    return f"{_of_noise(output)}, and {told}" if decides_alike and output.worst_sqnr_db < NOISY_SQNR_DB else told


def _of_labels(points: float, interval: tuple[float, float], output: OutputError) -> str:
    low, high = interval
    metric = "pixel accuracy" if output.task == "segmentation" else "top-1"
    if points < 0:
        told = f"gains {-points:.1f} points of {metric} (95 % interval {-high:.1f} to {-low:.1f})"
    elif points == 0 and output.agreement_percent == 100:
        told = f"loses nothing (95 % interval {low:.1f} to {high:.1f} points of {metric})"
    else:
        told = f"loses {points:.1f} points of {metric} (95 % interval {low:.1f} to {high:.1f})"
    if output.miou_drop_points is not None:
        told += f" and {output.miou_drop_points:.1f} of mean IoU"
    if output.agreement_percent is not None and output.agreement_percent < LEAST_AGREEMENT:
        told += f" and decides otherwise in {100 - output.agreement_percent:.1f} %"
    return told


def _reach(output: OutputError) -> str:
    interval = output.agreement_interval
    return "" if interval is None else f" (95 % interval {interval[0]:.1f} to {interval[1]:.1f})"


def _of_noise(output: OutputError) -> str:
    if not output.tensors and output.unseen:
        return "has outputs that cannot be seen into"
    if math.isinf(output.worst_sqnr_db) and output.worst_sqnr_db > 0:
        return "equals float"
    worst = output.worst
    where = "" if worst is None else worst.where
    return f"has {where or 'its output'} at {output.worst_sqnr_db:.1f} dB SQNR"
