"""What the first steps of a training run tell: whether there is anything to learn from."""

import warnings

from torch import Tensor, nn

from qdiag.errors import ModelError, QdiagWarning


def check_loss(loss: Tensor) -> None:
    """Raises ModelError for a loss that no gradient comes from."""
    if not loss.requires_grad:
        raise ModelError(
            "the loss has no gradient: it was detached, or computed without torch, in Recipe(loss=…) or in the model's "
            "forward in train mode.",
            code="no-gradient",
        )


def check_gradients(model: nn.Module) -> None:
    """Warns of parameters that no gradient reaches. Raises ModelError for gradients that are not finite."""
    learning = [(name, one.grad) for name, one in model.named_parameters() if one.requires_grad]
    broken = [name for name, gradient in learning if gradient is not None and not bool(gradient.isfinite().all())]
    if broken:
        raise ModelError(
            f"the gradient of {_some(broken)} is NaN or infinite in the first step, whatever the learning rate. Square "
            "roots, norms, logarithms and divisions have none at 0, which rounding to fixed point brings about: add a "
            "small number inside, as in (x + 1e-3).sqrt().",
            code="gradient-not-finite",
        )
    unreached = [name for name, gradient in learning if gradient is None]
    if unreached:
        warnings.warn(
            f"no gradient reaches {_some(unreached)}, which will stay as they are: the forward does not use them, or "
            "cuts the gradient off.",
            QdiagWarning,
            stacklevel=2,
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
