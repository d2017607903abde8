"""The file's names as addresses in a module."""

from torch import nn


class Scope(nn.Module):
    """Holds what the file's names put under one name; it computes nothing."""


class Addresses:
    """A root module, and what was put into it by name.

    A name is an address as it is, its dots included. Where torch's modules cannot have it (an empty part, a part that
    is an attribute of every module, as `float`), an underscore stands in its place, or behind it.
    """

    def __init__(self) -> None:
        self.root = Scope()
        self.taken: set[str] = set()

    def module(self, name: str, module: nn.Module) -> str:
        """Put a module in; its address."""
        holder, last, address = self._place(name)
        before = holder._modules.get(last)
        if before is not None:  # a scope, which what is under it made
            module._modules.update(before._modules)
        holder._modules[last] = module
        return address

    def tensor(self, name: str, tensor: nn.Parameter) -> str:
        """Put a parameter in, or a buffer for what is not to be trained; its address."""
        holder, last, address = self._place(name)
        if tensor.requires_grad:
            holder.register_parameter(last, tensor)
        else:
            holder.register_buffer(last, tensor.data)
        return address

    def _place(self, name: str) -> tuple[nn.Module, str, str]:
        """The module that is to hold a name, the last part of it, and the whole; made where nothing is there yet."""
        parts = [part or "_" for part in name.split(".")]
        holder: nn.Module = self.root
        for number, part in enumerate(parts[:-1]):
            parts[number] = part = _free(holder, part)
            if part not in holder._modules:
                holder._modules[part] = Scope()
            found = holder._modules[part]
            assert found is not None, "only modules are put in"
            holder = found
        last = _free(holder, parts[-1])
        while ".".join((*parts[:-1], last)) in self.taken or last in holder._parameters or last in holder._buffers:
            last += "_"
        address = ".".join((*parts[:-1], last))
        self.taken.add(address)
        return holder, last, address


def _free(holder: nn.Module, part: str) -> str:
    """The part, or with an underscore behind it where it is something else than a module there."""
    while hasattr(holder, part) and part not in holder._modules:
        part += "_"
    return part
