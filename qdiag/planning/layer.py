"""Operations that the target computes in one go, and stores once."""

import math
from dataclasses import dataclass

from qdiag.numerics.qscheme import QScheme
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site


@dataclass(frozen=True)
class Layer:
    """One stored tensor, and the operations between it and the stored tensors before.

    Attributes:
        sites: The operations in order: convolution, BatchNorm, ReLU; or one alone. The first names the layer.
        kind: Of the first operation; None for the network's input.
        sources: The layers whose stored tensors this one reads; empty for the network's input.
        output: The format of the stored tensor; None keeps it in float.
        weight: The format of the weight; None where there is none, or it stays in float.
        accumulator_bits: The width that the bias is added in.
        norm: The BatchNorm to merge in.
        bounds: Low and high of a ReLU-like last operation, infinite where open; None where there is none.
        is_depthwise: Whether it is a depthwise convolution.
        groups: Of the convolution.
    """

    sites: tuple[Site, ...]
    kind: OperationKind | None
    sources: tuple[Site, ...] = ()
    output: QScheme | None = None
    weight: QScheme | None = None
    accumulator_bits: int = 32
    norm: MergedNorm | None = None
    bounds: tuple[float, float] | None = None
    is_depthwise: bool = False
    groups: int = 1

    @property
    def site(self) -> Site:
        """The address this layer is known by: its first operation's."""
        return self.sites[0]

    @property
    def is_input(self) -> bool:
        return self.kind is None

    @property
    def is_weighted(self) -> bool:
        return self.kind is OperationKind.WEIGHTED

    @property
    def is_transposed(self) -> bool:
        return "transpose" in self.site.op

    @property
    def fuses_bounds(self) -> bool:
        """True where clamping to the format's ends does the work of the ReLU-like operation at the layer's end.

        Not where that bends values instead of bounding them, as LeakyReLU does.
        """
        is_bounded = self.bounds is not None and self.bounds != (-math.inf, math.inf)
        return is_bounded and len(self.sites) > 1 and self.output is not None

    @property
    def title(self) -> str:
        """What it is, in a word: depthwise conv2d, linear, add, input."""
        return f"depthwise {self.site.op}" if self.is_depthwise else self.site.op
