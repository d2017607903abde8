"""Faults of the images for ranges, and of the data or the model that make every word on bits worthless."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tests.faults.hosts import Host

Apply = Callable[[Host, float, torch.Generator], Host | None]


@dataclass(frozen=True)
class DataFault:
    """causes: right words for the guilty layer, where something is lost. strengths: of the fault, one case for each."""

    name: str
    apply: Apply
    strengths: tuple[float, ...] = (0,)
    causes: tuple[str, ...] = ()


def _ranges(change: Callable[[Tensor, float, torch.Generator], Tensor]) -> Apply:
    return lambda host, strength, generator: replace(host, calibration=change(host.calibration, strength, generator))


def _hot_pixel(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    images = images.clone()
    images[0, 0, 5, 5] = images.abs().max() * strength
    return images


def _raw_calibration(host: Host, strength: float, generator: torch.Generator) -> Host | None:
    if host.raw is None:
        return None
    return replace(host, calibration=host.raw(host.calibration) / strength)


def _flat(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """One image, the one of least contrast, as often as it takes."""
    dull = images.flatten(1).std(1).argmin()
    return images[dull : dull + 1].repeat(int(strength), 1, 1, 1)


SMALL, LARGE = ("clipping",), ("wasted-range",)
CALIBRATION_FAULTS = (
    DataFault("ranges too small", _ranges(lambda x, s, g: x / s), (2, 8, 32), SMALL),
    DataFault("ranges too large", _ranges(lambda x, s, g: x * s), (4, 16, 64), LARGE),
    DataFault("one hot pixel", _ranges(_hot_pixel), (20, 200), LARGE),
    DataFault("other preprocessing", _raw_calibration, (1, 255), (*SMALL, *LARGE)),
    DataFault("one dull image", _ranges(_flat), (8,), SMALL),
    DataFault(
        "noise for images", _ranges(lambda x, s, g: torch.randn(x.shape, generator=g) * s), (0.05, 1), (*SMALL, *LARGE)
    ),
)


def _labels(change: Callable[[Tensor, int, torch.Generator], Tensor]) -> Apply:
    def apply(host: Host, strength: float, generator: torch.Generator) -> Host | None:
        if host.labels is None or host.task != "classification":
            return None
        return replace(host, labels=change(host.labels, int(host.labels.max()) + 1, generator))

    return apply


def _images(change: Callable[[Tensor], Tensor]) -> Apply:
    """The same for ranges and for judging: nothing is amiss between the two."""
    return lambda host, strength, generator: replace(
        host, images=change(host.images), calibration=change(host.calibration)
    )


def _raw(host: Host, strength: float, generator: torch.Generator) -> Host | None:
    if host.raw is None:
        return None
    raw = host.raw
    return _images(lambda x: raw(x) * strength)(host, strength, generator)


def _colours(host: Host, strength: float, generator: torch.Generator) -> Host | None:
    """BGR for RGB, where images have colours."""
    is_coloured = host.images.shape[1] == 3 and bool((host.images[:, 0] != host.images[:, 2]).any())
    return _images(lambda x: x.flip(1))(host, strength, generator) if is_coloured else None


def _untrained(host: Host, strength: float, generator: torch.Generator) -> Host:
    """All of it drawn anew, or, with strength 1, only what comes last."""
    modules = [m for m in host.model.modules() if hasattr(m, "reset_parameters")]
    state = torch.get_rng_state()
    torch.manual_seed(int(torch.randint(1000, (1,), generator=generator)))
    for module in modules[-1:] if strength else modules:
        module.reset_parameters()  # type: ignore[operator]
    torch.set_rng_state(state)
    return host


def _no_statistics(host: Host, strength: float, generator: torch.Generator) -> Host:
    """BatchNorm's running statistics left at 0 and 1, as where a file's buffers were not loaded."""
    for module in host.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return host


WRONG = (
    DataFault("labels shifted", _labels(lambda y, n, g: (y + 1) % n)),
    DataFault("labels counted from 1", _labels(lambda y, n, g: y + 1)),
    DataFault("classes in another order", _labels(lambda y, n, g: torch.randperm(n, generator=g)[y])),
    DataFault("labels at random", _labels(lambda y, n, g: y[torch.randperm(len(y), generator=g)])),
    DataFault("images of 0 to 255", _raw, (1,)),
    DataFault("images upside down", _images(lambda x: x.flip(2))),
    DataFault("negatives", _images(lambda x: -x)),
    DataFault("colours in another order", _colours),
    DataFault("untrained weights", _untrained, (0, 1)),
    DataFault("statistics not loaded", _no_statistics),
)
