"""A model's own tensors by the names that a trace knows them by."""

from collections.abc import Iterable

from torch import Tensor, nn


def named_tensor(model: nn.Module, name: str) -> Tensor | None:
    """A parameter or buffer by its dotted name, with its gradient; None for "".

    >>> named_tensor(nn.Sequential(nn.Linear(2, 3)), "0.bias").shape
    torch.Size([3])
    """
    return named_tensors(model, [name])[0]


def named_tensors(model: nn.Module, names: Iterable[str]) -> list[Tensor | None]:
    """`named_tensor` of each; a module that holds several is looked up once."""
    modules: dict[str, nn.Module] = {}
    found: list[Tensor | None] = []
    for name in names:
        path, _, last = name.rpartition(".")
        if name and path not in modules:
            modules[path] = model.get_submodule(path)
        found.append(getattr(modules[path], last) if name else None)
    return found


def version_of(tensor: Tensor) -> int:
    """How often it was written to, as torch counts; 0 for a tensor of `torch.inference_mode()`, which it leaves out."""
    return 0 if tensor.is_inference() else tensor._version
