"""An exported file's weights and biases, where `torch.export` finds them."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from qdiag.export.constants import Constant, LayerConstants
from qdiag.export.operators import dequantize
from qdiag.numerics.merge import input_first
from qdiag.planning.layer import Layer
from qdiag.quantization.numerics import Operands
from qdiag.tracing.site import Site


@final
class ConstantTensors(nn.Module):
    """Constants by layer, their values as buffers, so that `torch.export` takes them for the file's own.

    They are in the target's scale: channel shifts are in them already. names: of the buffers, by layer and part.
    """

    def __init__(self, constants: Mapping[Site, LayerConstants]):
        super().__init__()
        self.constants = constants
        self.names: dict[str, str] = {}
        self.numbers = {site: number for number, site in enumerate(constants)}
        for site, found in constants.items():
            self._hold(f"weight{self.numbers[site]}", f"{site}.weight", found.weight)
            self._hold(f"bias{self.numbers[site]}", f"{site}.bias", found.bias)

    def _hold(self, buffer: str, name: str, constant: Constant | None) -> None:
        if constant is not None:
            self.register_buffer(buffer, constant.values)
            self.names[buffer] = name

    def operands(self, layer: Layer) -> Operands:
        """What a layer is called with: the floats that the file's integers stand for."""
        found, number = self.constants[layer.site], self.numbers[layer.site]
        weight = self._read(f"weight{number}", found.weight)
        if found.weight.scale is not None and found.weight.scale.ndim:
            weight = input_first(weight, layer.is_transposed, layer.groups)
        return Operands(weight, None if found.bias is None else self._read(f"bias{number}", found.bias))

    def _read(self, buffer: str, constant: Constant) -> Tensor:
        values = self.get_buffer(buffer)
        return values if constant.scale is None else dequantize(values, constant.scale)
