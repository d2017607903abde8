"""What a wrong layer looks like: faults that devices are known for are tried, and the one that explains it is told."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qdiag.numerics.device_roundings import ROUNDINGS, residue
from qdiag.numerics.layer_output import LayerOutput

FaultKind = Literal[
    "rounding", "output shift", "weight scale", "bias lost", "offset", "scale", "channel shifts", "channels", "layout",
    "mirrored", "range", "overflow", "constant", "padding", "weights", "unknown",
]  # fmt: skip

ENOUGH = 0.95
"""Of the integers that differ, so many have to be explained; ties of a rounding not known are among the rest."""
AS_WELL = 0.01
"""A fault with more freedom explains no better than a simpler one where it gives no more than this part beyond it."""
LEAST = 4
"""Fewer values that differ tell of no fault."""
FITTED: tuple[FaultKind, ...] = ("scale", "offset", "channel shifts")
"""What has a fitted number holds the simpler fault too, and is no other explanation."""
IN_CHANNEL = 8
"""Fewer values in a channel do not hold a number that is fitted to them."""
OCTAVES = tuple(k for k in range(-8, 9) if k)
NAMED = 6
"""Channels that a text names, at most."""


@dataclass(frozen=True)
class LookAlike:
    """What a layer's difference looks like.

    Attributes:
        kind: Of the fault.
        text: In words.
        explained_percent: Of the integers that differ, those that this fault gives just so; None where it is told by
            where they are.
    """

    kind: FaultKind
    text: str
    explained_percent: float | None = None


@dataclass(frozen=True)
class _Candidate:
    """codes: what a device with this fault would have stored."""

    kind: FaultKind
    text: str
    codes: Tensor


def look_alike(output: LayerOutput, rounding: str, *, is_weighted: bool) -> LookAlike:
    """The simplest known fault that gives the device's integers, or where they differ if none does.

    Faults that explain them as well as the first are named beside it.

    Args:
        output: Of one layer, computed from what the device computed it from.
        rounding: How the device rounds, one of `ROUNDINGS`.
        is_weighted: Whether the layer multiplies by weights.

    >>> from qdiag.numerics.qtype import QType
    >>> exact = torch.linspace(-50, 50, 64, dtype=torch.float64).reshape(1, 4, 4, 4)
    >>> halved = LayerOutput(exact, (exact / 2).round(), -128, 127, QType(8, signed=True))
    >>> look_alike(halved, "half to even", is_weighted=True).text
    'every value is 0.5 times what it should be: an output shift, off by one'
    """
    differing = output.differing(output.codes(output.exact, rounding))
    if differing >= LEAST and output.is_constant:
        return LookAlike(
            "constant", f"every value is {int(output.found.reshape(-1)[0])}: nothing was computed, or written"
        )
    limit = (1 - ENOUGH) * differing
    found = [(output.differing(candidate.codes), candidate) for candidate in _candidates(output, rounding, differing)]
    good = [(left, candidate) for left, candidate in found if left <= limit]
    if not good:
        return _by_place(output, rounding, is_weighted=is_weighted)
    least = min(left for left, _ in good)
    best, *others = [candidate for left, candidate in good if left <= least + AS_WELL * differing]
    also = dict.fromkeys(other.kind for other in others if other.kind not in {best.kind, *FITTED})
    text = best.text + (f" (or: {', '.join(also)})" if also else "")
    return LookAlike(best.kind, text, 100 * (1 - output.differing(best.codes) / differing))


def _candidates(output: LayerOutput, rounding: str, differing: int) -> Iterator[_Candidate]:
    """The simplest first."""
    if differing < LEAST:
        return
    sources: tuple[Callable[[LayerOutput, str], Iterator[_Candidate]], ...] = (
        *(_roundings, _shifts, _bias_lost, _layouts, _ranges, _offset, _scale),
        *((_channels, _channel_offsets, _channel_shifts) if output.values_by_channel >= IN_CHANNEL else ()),
    )
    for source in sources:
        yield from source(output, rounding)


def _roundings(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    for other in ROUNDINGS:
        if other != rounding:
            yield _Candidate("rounding", f"rounded {other}, not {rounding}", output.codes(output.exact, other))


def _shifts(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    for octaves in OCTAVES:
        factor = 2.0**octaves
        off = {1: "one", 2: "two", 3: "three"}.get(abs(octaves), str(abs(octaves)))
        times = f"{factor:g} times what it should be"
        yield _Candidate(
            "output shift",
            f"every value is {times}: an output shift, off by {off}",
            output.codes(output.exact * factor, rounding),
        )
        if output.bias is not None:
            shifted = (output.exact - output.bias) * factor + output.bias
            text = f"what is multiplied is {times}, and the bias is right: the scale of the weights or of the bias"
            yield _Candidate("weight scale", text, output.codes(shifted, rounding))


def _bias_lost(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    if output.bias is not None and bool(output.bias.any()):
        yield _Candidate("bias lost", "the bias is not added", output.codes(output.exact - output.bias, rounding))
        yield _Candidate("offset", "the bias is added twice", output.codes(output.exact + output.bias, rounding))


def _layouts(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    codes = output.codes(output.exact, rounding)
    axes = tuple(range(1, codes.ndim))
    names = dict(zip((0, *axes), "NCHW", strict=False)) if codes.ndim == 4 else {}
    for order in itertools.permutations(axes):
        if order != axes and sum(codes.shape[axis] > 1 for axis in axes) > 1:
            other = codes.permute(0, *order)
            told = f"as {''.join(names[axis] for axis in (0, *order))}" if names else f"with axes in the order {order}"
            text = f"the values are right, and lie in memory {told}: a transpose is missing, or one too many"
            yield _Candidate("layout", text, other.reshape(codes.shape))
    for axis in axes[1:]:
        word = "upside down" if axis == codes.ndim - 2 else "mirrored"
        yield _Candidate("mirrored", f"the values are right, and the picture is {word}", codes.flip(axis))


def _ranges(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    rounded, qtype = ROUNDINGS[rounding](output.exact), output.qtype
    least, most = float(output.found.min()), float(output.found.max())
    text = f"values end at {least:.0f} and {most:.0f}, not at {output.low:.0f} and {output.high:.0f}: another range, "
    yield _Candidate("range", text + "or activation", rounded.clamp(least, most))
    around = (rounded - qtype.qmin).remainder(qtype.qmax - qtype.qmin + 1) + qtype.qmin
    text = "values beyond the format's ends wrap around, where they should saturate"
    yield _Candidate("overflow", text, around.clamp(output.low, output.high))
    yield _Candidate("overflow", text, around)


def _inside(output: LayerOutput) -> Tensor:
    """Where no end of the format hides what was computed."""
    return (output.found > output.low) & (output.found < output.high)


def _offset(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    inside = _inside(output)
    if int(inside.sum()) < IN_CHANNEL:
        return
    gap, (below, above) = (output.found - output.exact)[inside], residue(rounding)
    least, most = float(gap.max()) - above, float(gap.min()) - below
    if least <= most and abs(least + most) > 0.02:
        offset = (least + most) / 2
        text = f"{offset:+.2f} steps at every value: an offset, as of a zero point"
        yield _Candidate("offset", text, output.codes(output.exact + offset, rounding))


def _channel_offsets(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    gap, inside = output.by_channel(output.found - output.exact), output.by_channel(_inside(output))
    below, above = residue(rounding)
    least = gap.masked_fill(~inside, -torch.inf).amax(1) - above
    most = gap.masked_fill(~inside, torch.inf).amin(1) - below
    enough, known = inside.sum(1) >= IN_CHANNEL, least <= most
    needed = (least > 0) | (most < 0)
    offset = torch.where(enough & known & needed, (least + most) / 2, torch.zeros(())).nan_to_num(0.0, 0.0, 0.0)
    if bool(offset.any()):
        text = f"a constant offset in {_named(offset != 0)}: another bias there"
        yield _Candidate("offset", text, output.codes(output.exact + output.along_channels(offset), rounding))


def _scale(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    telling = _inside(output) & (output.exact.abs() >= 1)
    if int(telling.sum()) < IN_CHANNEL:
        return
    exact, found, (below, above) = output.exact[telling], output.found[telling], residue(rounding)
    ends = torch.stack([(found - above) / exact, (found - below) / exact])
    least, most = float(ends.amin(0).max()), float(ends.amax(0).min())
    if least <= most and not least <= 1 <= most:
        factor = (least + most) / 2
        text = f"every value is {factor:.4g} times what it should be: another scale"
        yield _Candidate("scale", text, output.codes(output.exact * factor, rounding))


def _channel_shifts(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    octaves = (0, *OCTAVES)
    codes = [output.codes(output.exact * 2.0**k, rounding) for k in octaves]
    wrong = torch.stack([output.by_channel(option != output.found).sum(1) for option in codes])
    rows = output.by_channel(output.found)
    varies = rows.amax(1) - rows.amin(1) >= LEAST
    best = wrong.argmin(0).where(varies, torch.zeros((), dtype=torch.long, device=varies.device))
    if bool(best.any()):
        factors = torch.tensor([2.0**k for k in octaves], dtype=output.exact.dtype, device=best.device)[best]
        text = f"values in {_named(best != 0)} are a power of two too large or too small: shifts by channel"
        yield _Candidate("channel shifts", text, output.codes(output.exact * output.along_channels(factors), rounding))


def _channels(output: LayerOutput, rounding: str) -> Iterator[_Candidate]:
    own, device = (_unit(output.by_channel(x)) for x in (output.codes(output.exact, rounding), output.found))
    alike = own @ device.T
    alike.diagonal().add_(1e-9)  # a constant channel is its own
    source, channel = alike.argmax(0), torch.arange(len(own), device=own.device)
    if bool((source == channel).all()):
        return
    moved = source != channel
    text = f"{_named(moved)} hold what belongs to {_named_in_order(source[moved])}"
    axis = output.axis
    if output.bias is not None:
        mixed = (output.exact - output.bias).index_select(axis, source) + output.bias
        yield _Candidate("channels", f"{text}, biases aside: weights in another order", output.codes(mixed, rounding))
    yield _Candidate(
        "channels", f"{text}: in another order", output.codes(output.exact.index_select(axis, source), rounding)
    )


def _unit(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _by_place(output: LayerOutput, rounding: str, *, is_weighted: bool) -> LookAlike:
    """Where the device's integers differ, for want of a fault that gives them."""
    wrong = output.codes(output.exact, rounding) != output.found
    channels = output.by_channel(wrong).any(1)
    what = "other weights or biases" if is_weighted else "another operation"
    kind: FaultKind = "weights" if is_weighted else "unknown"
    if int(wrong.sum()) < LEAST:
        return LookAlike("unknown", f"{int(wrong.sum())} of the values differ: too few to tell what it looks like")
    if (border := _border(wrong)) is not None:
        return LookAlike("padding", f"only the outermost {border} rows and columns differ: the padding")
    if not bool(channels.all()) and output.values_by_channel >= IN_CHANNEL:
        rest = len(channels) - int(channels.sum())
        return LookAlike(kind, f"all that differs is in {_named(channels)}, and {rest} others are right: {what} there")
    if is_weighted:
        return LookAlike("weights", f"no known fault of scale, bias, order or range gives it: {what}, perhaps")
    return LookAlike("unknown", f"no known fault gives it: {what}, perhaps")


def _border(wrong: Tensor) -> int | None:
    """How many of the outermost rows and columns hold all that differs; None where it reaches further in."""
    if wrong.ndim != 4 or min(wrong.shape[2:]) < 5 or not bool(wrong.any()):
        return None
    for width in (1, 2, 3):
        inner = wrong[:, :, width:-width, width:-width]
        if inner.numel() > wrong.numel() / 4 and not bool(inner.any()):
            return width
    return None


def _named(chosen: Tensor) -> str:
    """Which channels, in words."""
    return _named_in_order(chosen.nonzero().flatten())


def _named_in_order(numbers: Tensor) -> str:
    shown = numbers[:NAMED].tolist()
    more = len(numbers) - len(shown)
    return f"channel{'s' * (len(numbers) > 1)} {', '.join(map(str, shown))}" + (f" and {more} more" if more else "")
