"""Format faults: changes of weights that float does not see and 8 bits do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.faults.places import Pair, concats, pairs, sums

Inject = Callable[[nn.Module, int, float, torch.Generator], str | None]
"""Changes a model at the place of that number with that strength; gives the place, None where there is none."""


@dataclass(frozen=True)
class FormatFault:
    """causes: words that are right where the weights of the guilty layer make its noise, and where its tensor does.

    preserves: whether float is to stay the same; else a channel is given up first, and float is compared after that.
    """

    name: str
    inject: Inject
    strengths: tuple[float, ...]
    weight_causes: tuple[str, ...]
    tensor_causes: tuple[str, ...]


def _norm(model: nn.Module, path: str) -> tuple[Tensor, Tensor]:
    norm = model.get_submodule(path)
    assert isinstance(norm, nn.BatchNorm2d)
    return norm.weight, norm.bias


def _weight(model: nn.Module, path: str) -> Tensor:
    layer = model.get_submodule(path)
    assert isinstance(layer, nn.Conv2d)
    return layer.weight


@torch.no_grad()
def rescale(model: nn.Module, pair: Pair, factor: Tensor, start: int = 0) -> None:
    """A layer's channels times `factor` [C], undone where they are read; `start`: their place there."""
    gain, offset = _norm(model, pair.norm)
    gain *= factor
    offset *= factor
    for reader in pair.readers:
        weight = _weight(model, reader)
        if weight.shape[1] == 1 and len(weight) == len(factor):
            weight /= factor.view(-1, 1, 1, 1)
        else:
            weight[:, start : start + len(factor)] /= factor.view(1, -1, 1, 1)


def _pick(found: Sequence[Pair], number: int) -> Pair | None:
    return found[number % len(found)] if found else None


def loud_channels(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """One channel in sixteen 2^strength times as loud."""
    pair = _pick([p for p in pairs(model) if not p.is_depthwise], number)
    return None if pair is None else _loud(model, pair, strength, generator)


def loud_depthwise(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """The same at a depthwise convolution."""
    pair = _pick([p for p in pairs(model) if p.is_depthwise], number)
    return None if pair is None else _loud(model, pair, strength, generator)


def _loud(model: nn.Module, pair: Pair, strength: float, generator: torch.Generator) -> str:
    channels = len(_norm(model, pair.norm)[0])
    chosen = torch.randperm(channels, generator=generator)[: max(1, channels // 16)]
    factor = torch.ones(channels)
    factor[chosen] = 2.0**strength
    rescale(model, pair, factor)
    return pair.first


def spread_channels(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """All channels, evenly from 2^-strength/2 to 2^strength/2 in powers of two."""
    pair = _pick(pairs(model), number)
    if pair is None:
        return None
    channels = len(_norm(model, pair.norm)[0])
    exponents = torch.linspace(-strength / 2, strength / 2, channels).round()
    rescale(model, pair, torch.exp2(exponents[torch.randperm(channels, generator=generator)]))
    return pair.first


def unequal_concat(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """One branch of a concatenation 2^strength times as large as the others."""
    found = concats(model)
    if not found:
        return None
    branch = found[number % len(found)]
    channels = len(_norm(model, branch.pair.norm)[0])
    rescale(model, branch.pair, torch.full((channels,), 2.0**strength), branch.start)
    return branch.pair.first


@torch.no_grad()
def large_offset(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """A linear output 2^strength of its deviations off zero, taken back in the next layer's BatchNorm."""
    found = [p for p in pairs(model) if not p.has_relu and all(_takes_offset(model, reader) for reader in p.readers)]
    pair = _pick(found, number)
    if pair is None:
        return None
    gain, offset = _norm(model, pair.norm)
    added = 2.0**strength * gain.abs().mean() * torch.randn(len(gain), generator=generator).sign()
    offset += added
    for reader in pair.readers:
        norm = _norm_after(model, reader)
        assert norm is not None
        assert norm.running_mean is not None
        norm.running_mean += _weight(model, reader)[:, :, 0, 0] @ added
    return pair.first


def _takes_offset(model: nn.Module, reader: str) -> bool:
    return _weight(model, reader).shape[2:] == (1, 1) and _norm_after(model, reader) is not None


def _norm_after(model: nn.Module, path: str) -> nn.BatchNorm2d | None:
    """The BatchNorm that stands behind a convolution, found as the module that follows it."""
    names = [name for name, module in model.named_modules() if not list(module.children())]
    place = names.index(path) + 1
    norm = model.get_submodule(names[place]) if place < len(names) else None
    return norm if isinstance(norm, nn.BatchNorm2d) else None


@torch.no_grad()
def cancelling_branches(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """Two branches far off zero in opposite directions, and added."""
    found = sums(model)
    if not found:
        return None
    place = found[number % len(found)]
    (gain, left), (_, right) = (_norm(model, norm) for norm in place.norms)
    added = 2.0**strength * gain.abs().mean() * torch.randn(len(gain), generator=generator).sign()
    left += added
    right -= added
    return place.first[0]


@torch.no_grad()
def weight_outlier(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """One weight 2^strength times the largest, at an input channel that is always zero."""
    pair = _pick([p for p in pairs(model) if p.has_relu and _weight(model, p.readers[0]).shape[1] > 1], number)
    if pair is None:
        return None
    channel = _give_up(model, pair, 0.0)
    weight = _weight(model, pair.readers[0])
    row = int(torch.randint(len(weight), (1,), generator=generator))
    weight[row, channel, 0, 0] = weight.abs().max() * 2.0**strength
    return pair.readers[0]


@torch.no_grad()
def constant_channel(model: nn.Module, number: int, strength: float, generator: torch.Generator) -> str | None:
    """One channel that is the same large number everywhere, and that nothing reads."""
    pair = _pick([p for p in pairs(model) if p.has_relu and _weight(model, p.readers[0]).shape[1] > 1], number)
    if pair is None:
        return None
    gain, _ = _norm(model, pair.norm)
    _give_up(model, pair, 2.0**strength * float(gain.abs().mean()))
    return pair.first


def _give_up(model: nn.Module, pair: Pair, value: float) -> int:
    """The channel that is read least becomes a constant that is not read."""
    readers = [_weight(model, reader) for reader in pair.readers]
    read = torch.stack([w.abs().sum((0, 2, 3)) for w in readers]).sum(0)
    gain, offset = _norm(model, pair.norm)
    channel = int((read * gain.abs()).argmin())
    gain[channel], offset[channel] = 0.0, value
    for weight in readers:
        weight[:, channel] = 0.0
    return channel


_SPREAD = ("weight-channel-spread", "input-channel-spread"), ("activation-channel-spread",)
FORMAT_FAULTS = (
    FormatFault("loud channels", loud_channels, (3, 6, 9, 15), *_SPREAD),
    FormatFault("loud depthwise channels", loud_depthwise, (3, 6, 9), *_SPREAD),
    FormatFault("channels spread", spread_channels, (6, 10, 16), *_SPREAD),
    FormatFault("unequal branches of a concat", unequal_concat, (4, 7, 10), *_SPREAD),
    FormatFault("offset above deviation", large_offset, (3, 6, 9), ("weight-channel-spread",), ("large-offset",)),
    FormatFault("branches that cancel", cancelling_branches, (4, 6, 9), (), ("large-offset",)),
    FormatFault("weight outlier", weight_outlier, (3, 5, 8), ("weight-outlier",), ()),
    FormatFault("constant loud channel", constant_channel, (5, 8, 11), (), ("constant-channel",)),
)
GIVES_UP = ("weight outlier", "constant loud channel")
"""Faults at a channel that is given up first: float is held against the network without it."""
