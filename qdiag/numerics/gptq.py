"""Weights rounded one input at a time, the inputs still to come making up for the error."""

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 64
"""Inputs whose errors reach the inputs after them together, in one product of matrices."""


class Compensation:
    """GPTQ (arXiv:2210.17323): Optimal Brain Quantization (arXiv:2208.11580) in one order for all outputs.

    Inputs of the greatest power are rounded first, as they can be made up for least.

    Args:
        gram: E[x x'] of the inputs in each group.

    Raises:
        torch.linalg.LinAlgError: Where a gram is not positive definite.

    >>> alike = torch.tensor([[[1.0, 0.99], [0.99, 1.0]]])
    >>> Compensation(alike).round(torch.tensor([[[0.4, 0.4]]]), torch.tensor(1.0), (-8, 7))  # 0 and 0 would lose 0.8
    tensor([[[0., 1.]]])
    """

    def __init__(self, gram: Float[Tensor, "g in in"]):
        self.order = gram.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
        rows = gram.gather(1, self.order[:, :, None].expand_as(gram))
        ordered = rows.gather(2, self.order[:, None].expand_as(gram))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(ordered))
        upper = torch.linalg.cholesky(inverse, upper=True)
        self.passed_on = upper / upper.diagonal(dim1=1, dim2=2)[:, :, None]

    def round(
        self,
        weight: Float[Tensor, "g out in"],
        scale: Float[Tensor, ""] | Float[Tensor, "#g #out #in"],
        limits: tuple[int, int],
    ) -> Float[Tensor, "g out in"]:
        """The weight on its grid, so that `output_error` of the difference is small.

        Args:
            weight: As it is to be multiplied with the inputs of each group.
            scale: Distance of neighbouring values.
            limits: The least and the greatest code.
        """
        columns = self.order[:, None].expand_as(weight)
        rest, scale = weight.gather(2, columns), scale.expand_as(weight).gather(2, columns)
        rounded = torch.empty_like(weight)
        inputs = weight.shape[2]
        for start in range(0, inputs, BLOCK):
            end = min(start + BLOCK, inputs)
            errors = torch.empty_like(rest[..., start:end])
            for j in range(start, end):
                rounded[..., j] = (rest[..., j] / scale[..., j]).round().clamp(*limits) * scale[..., j]
                error = errors[..., j - start] = rest[..., j] - rounded[..., j]
                rest[..., j + 1 : end] -= error[..., None] * self.passed_on[:, None, j, j + 1 : end]
            rest[..., end:] -= errors @ self.passed_on[:, start:end, end:]
        return torch.empty_like(rounded).scatter_(2, columns, rounded)


def output_error(error: Float[Tensor, "g out in"], gram: Float[Tensor, "g in in"]) -> Float[Tensor, "g out"]:
    """The mean square that an error of the weight makes in each output.

    Args:
        error: Of the weight.
        gram: E[x x'] of the inputs in each group.

    >>> output_error(torch.tensor([[[0.1, -0.1]]]), torch.tensor([[[1.0, 1.0], [1.0, 1.0]]]))  # it cancels
    tensor([[0.]])
    """
    return (error @ gram * error).sum(2)
