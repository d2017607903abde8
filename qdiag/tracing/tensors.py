"""A model's own tensors by the names that a trace knows them by."""

from torch import Tensor, nn


def named_tensor(model: nn.Module, name: str) -> Tensor | None:
    """A parameter or buffer by its dotted name, with its gradient; None for "".

    >>> named_tensor(nn.Sequential(nn.Linear(2, 3)), "0.bias").shape
    torch.Size([3])
    """
    if not name:
        return None
    path, _, last = name.rpartition(".")
    tensor: Tensor | None = getattr(model.get_submodule(path), last)
    return tensor
