"""A model that work beside the notebook may run while other cells use the user's own."""

import copy

from torch import nn

from qdiag.errors import ModelError


class Twin:
    """A model's modules and buffers copied, its parameters shared.

    What work does to a twin for a time, as to turn it to eval mode, is not seen on the model by another thread; new
    weights of the model are the twin's too, and the rest is as new as the last `refresh()`. A model that cannot be
    copied is its own twin.

    Args:
        model: The user's.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        try:
            self.module = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
        except Exception:  # noqa: BLE001 - a module of the user's may hold anything, and say anything of it
            self.module = model

    def refresh(self) -> None:
        """Take over parameters that were replaced, and what buffers hold now.

        Raises:
            ModelError: Where the model has other modules than when the twin was made.
        """
        if self.module is self.model:
            return
        own, copied = dict(self.model.named_modules()), dict(self.module.named_modules())
        other = {name for name in own.keys() | copied.keys() if type(own.get(name)) is not type(copied.get(name))}
        if other:
            raise ModelError(
                f"the model has other modules than when this session began: {min(other) or 'the model itself'}. Make a "
                "new Session or Workbench for it.",
                code="modules-changed",
            )
        for name, module in own.items():
            copied[name]._parameters.update(module._parameters)
        for theirs, ours in zip(self.module.buffers(), self.model.buffers(), strict=True):
            theirs.copy_(ours.detach())
