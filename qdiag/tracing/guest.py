"""The user's model is a guest: what `borrow` lends out comes back as it was, also when an exception passes."""

import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from qdiag.errors import ModelError


@contextmanager
def borrow(model: nn.Module) -> Iterator[None]:
    """Run the model in eval mode without gradients, then restore modes, buffers and random states.

    Compiled parts run eagerly meanwhile, since the operations inside a compiled graph have no addresses.
    Raises ModelError where the forward wrote to a parameter: parameters are too large to keep a copy of each.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    versions = [(name, parameter, parameter._version) for name, parameter in model.named_parameters()]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(warnings.catch_warnings())
        # Compiled modules have a path twice, their wrapper's and their own: known, and harmless here.
        warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are global hooks")
        try:
            model.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                if not _same(buffer, before):
                    buffer.copy_(before)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
    changed = [name for name, parameter, version in versions if parameter._version != version]
    if changed:
        raise ModelError(
            f"the model's forward writes to its own parameter {changed[0]!r}, in eval mode and without gradients. "
            "qdiag runs the forward several times and cannot undo that: make it a buffer, or write to a copy."
        )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
