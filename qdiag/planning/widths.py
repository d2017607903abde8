"""How many bits weights and activations have, where they differ."""

from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.numerics.qtype import check_bits


@dataclass(frozen=True)
class Widths:
    """Bits of a layer's weight, and of the tensor that it stores: `bits=Widths(weights=4, activations=8)`.

    Args:
        weights: Bits of the weight.
        activations: Bits of the stored tensor.

    Raises:
        OptionError: For bits that no format has.

    >>> print(Widths(weights=4, activations=8))
    4-bit weights, 8-bit activations
    """

    weights: int
    activations: int

    def __post_init__(self) -> None:
        check_bits(self.weights)
        check_bits(self.activations)

    def __str__(self) -> str:
        return f"{self.weights}-bit weights, {self.activations}-bit activations"

    @classmethod
    def of(cls, bits: "int | Widths") -> "Widths":
        """One number for both, or widths as they are.

        Args:
            bits: A number, or widths.
        """
        return bits if isinstance(bits, Widths) else cls(bits, bits)


LayerBits = int | Widths | None
"""Of one layer; None leaves it in float."""
Bits = LayerBits | Mapping[str, LayerBits]
"""Of all layers, or by name, module path or pattern, with "*" for all others."""
