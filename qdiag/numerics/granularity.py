"""Which values share one scale."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""

    def __str__(self) -> str:
        return "per-tensor"


@dataclass(frozen=True)
class PerChannel:
    """One scale for each index along an axis: for weights, axis 0 holds the output channels."""

    axis: int = 0

    def __str__(self) -> str:
        return "per-channel"


Granularity = PerTensor | PerChannel
