"""Conv + BatchNorm as one convolution: what the target runs, and therefore what is quantized."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from qdiag.numerics.channels import by_channel


@dataclass(frozen=True)
class NormState:
    """A BatchNorm's running statistics and affine parameters; weight and bias None where affine=False."""

    mean: Float[Tensor, " c"]
    variance: Float[Tensor, " c"]
    weight: Float[Tensor, " c"] | None
    bias: Float[Tensor, " c"] | None
    eps: float

    def detached(self) -> "NormState":
        """The same without gradients."""
        weight, bias = (None if part is None else part.detach() for part in (self.weight, self.bias))
        return NormState(self.mean.detach(), self.variance.detach(), weight, bias, self.eps)

    def factor(self) -> Float[Tensor, " c"]:
        """gamma / sqrt(variance + eps): what each output channel of the convolution is multiplied by."""
        inverse = torch.rsqrt(self.variance + self.eps)
        return inverse if self.weight is None else inverse * self.weight

    def offset(self, bias: Float[Tensor, " c"] | None) -> Float[Tensor, " c"]:
        """The merged bias: (bias - mean) * factor + beta.

        Args:
            bias: The convolution's own, if it has one.
        """
        shifted = (-self.mean if bias is None else bias - self.mean) * self.factor()
        return shifted if self.bias is None else shifted + self.bias


def merge(
    weight: Float[Tensor, "out ..."], bias: Float[Tensor, " out"] | None, norm: NormState
) -> tuple[Float[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Weight and bias of the one convolution that equals convolution and BatchNorm.

    Args:
        weight: Output channels first.
        bias: The convolution's own, if it has one.
        norm: The BatchNorm after it.

    >>> norm = NormState(torch.tensor([1.0]), torch.tensor([4.0]), None, torch.tensor([0.5]), eps=0.0)
    >>> merge(torch.tensor([[3.0]]), None, norm)
    (tensor([[1.5000]]), tensor([0.]))
    """
    return weight * by_channel(norm.factor(), weight, 0), norm.offset(bias)


def output_first(weight: Shaped[Tensor, "..."], transposed: bool, groups: int) -> Shaped[Tensor, "..."]:
    """A weight with its output channels along axis 0: [in, out/g, …] of a transposed convolution as [out, in/g, …].

    Args:
        weight: As the operation takes it.
        transposed: Whether it is a transposed convolution's.
        groups: The convolution's.

    >>> output_first(torch.zeros(4, 3, 2, 2), transposed=True, groups=2).shape
    torch.Size([6, 2, 2, 2])
    """
    if not transposed:
        return weight
    inputs, per_group, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, per_group, *kernel)
    return grouped.transpose(1, 2).reshape(groups * per_group, inputs // groups, *kernel)


def input_first(weight: Shaped[Tensor, "..."], transposed: bool, groups: int) -> Shaped[Tensor, "..."]:
    """The inverse of `output_first`.

    Args:
        weight: Output channels first.
        transposed: Whether it is a transposed convolution's.
        groups: The convolution's.

    >>> input_first(torch.zeros(6, 2, 2, 2), transposed=True, groups=2).shape
    torch.Size([4, 3, 2, 2])
    """
    if not transposed:
        return weight
    outputs, per_group, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, per_group, *kernel)
    return grouped.transpose(1, 2).reshape(groups * per_group, outputs // groups, *kernel)
