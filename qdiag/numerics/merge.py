"""Conv + BatchNorm as one convolution: what the target runs, and therefore what is quantized."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.channels import by_channel


@dataclass(frozen=True)
class NormState:
    """A BatchNorm's running statistics and affine parameters, each [C]; weight and bias None where affine=False."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def detached(self) -> "NormState":
        """The same without gradients."""
        weight, bias = (None if part is None else part.detach() for part in (self.weight, self.bias))
        return NormState(self.mean.detach(), self.variance.detach(), weight, bias, self.eps)

    def factor(self) -> Float[Tensor, " c"]:
        """gamma / sqrt(variance + eps): what each output channel of the convolution is multiplied by."""
        inverse = torch.rsqrt(self.variance + self.eps)
        return inverse if self.weight is None else inverse * self.weight

    def offset(self, bias: Tensor | None) -> Float[Tensor, " c"]:
        """The merged bias: (bias - mean) * factor + beta."""
        shifted = (-self.mean if bias is None else bias - self.mean) * self.factor()
        return shifted if self.bias is None else shifted + self.bias


def merge(
    weight: Float[Tensor, "out ..."], bias: Float[Tensor, " out"] | None, norm: NormState
) -> tuple[Float[Tensor, "out ..."], Float[Tensor, " out"]]:
    """The weight (output channels first) and bias of the one convolution that equals convolution and BatchNorm."""
    return weight * by_channel(norm.factor(), weight, 0), norm.offset(bias)


def output_first(weight: Tensor, transposed: bool, groups: int) -> Tensor:
    """A weight with its output channels along axis 0: [in, out/g, …] of a transposed convolution as [out, in/g, …]."""
    if not transposed:
        return weight
    inputs, per_group, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, per_group, *kernel)
    return grouped.transpose(1, 2).reshape(groups * per_group, inputs // groups, *kernel)


def input_first(weight: Tensor, transposed: bool, groups: int) -> Tensor:
    """The inverse of `output_first`."""
    if not transposed:
        return weight
    outputs, per_group, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, per_group, *kernel)
    return grouped.transpose(1, 2).reshape(groups * per_group, outputs // groups, *kernel)
