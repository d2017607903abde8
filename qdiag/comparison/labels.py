"""Labels as class indices, in the forms that data sets give them in; and what to say of those that are none."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdiag.errors import InputError


def as_tensor(targets: Any) -> Tensor | None:
    """Targets in one tensor: of NumPy, of a list of numbers or of tensors, of a number; None for anything else."""
    if isinstance(targets, Tensor):
        return targets
    if isinstance(targets, (list, tuple)) and targets and all(isinstance(item, Tensor) for item in targets):
        shapes = {item.shape for item in targets}
        return torch.stack([item.detach() for item in targets]) if len(shapes) == 1 else None
    try:
        array = np.asarray(targets)
    except ValueError:  # rows of different length
        return None
    return torch.from_numpy(array.copy()) if array.dtype.kind in "biuf" else None


def as_tensor_if_any(targets: Any) -> Any:
    """Targets in one tensor where they can be, else as they are."""
    found = None if targets is None else as_tensor(targets)
    return targets if found is None else found


def has_classes(output: Tensor) -> bool:
    """True for floats [N, C] or [N, C, H, W] with more than one class: argmax over axis 1 can be a decision."""
    return output.is_floating_point() and output.ndim in (2, 4) and output.shape[1] > 1 and output.numel() > 0


def class_labels(targets: Tensor, output: Tensor) -> Tensor | None:
    """Class indices for an output of classes, [N] or [N, H, W]; None where the targets are no such.

    Integers, floats that are integers, one-hot or smoothed rows along axis 1, an axis of length 1 too many. Below 0 is
    no label; an index that no class has is one, which no decision meets.
    """
    targets = targets.detach().to(output.device)
    decided = output.shape[:1] + output.shape[2:]
    if targets.shape == output.shape:
        return _of_rows(targets)
    if targets.shape != decided:
        squeezed = targets.squeeze() if targets.numel() == decided.numel() else targets
        if squeezed.shape != torch.Size(length for length in decided if length != 1):
            return None
        targets = squeezed.reshape(decided)
    if targets.dtype is torch.bool:
        return targets.long() if output.shape[1] == 2 else None
    if targets.is_floating_point() and not bool((targets == targets.round()).all()):
        return None
    return targets.long()


def _of_rows(targets: Tensor) -> Tensor | None:
    """The class of each one-hot or smoothed row; None where rows are not shares of one."""
    shares = targets.double()
    is_share = bool((shares >= 0).all()) and bool(((shares.sum(1) - 1).abs() < 1e-3).all())
    return shares.argmax(1) if is_share else None


def unusable(targets: Any, output: Tensor) -> InputError:
    """The error for targets that neither name classes nor are values beside the output."""
    found = f"of type {type(targets).__name__}"
    if isinstance(targets, Tensor):
        found = f"{str(targets.dtype).removeprefix('torch.')}{list(targets.shape)}"
    shape = list(output.shape)
    if has_classes(output):
        fits = f"class indices {[shape[0], *shape[2:]]} or one row for each class {shape}"
    else:
        fits = f"values {shape}"
    return InputError(
        f"the labels are {found}, which does not fit the output {shape}: {fits} would. Give the data's batches as "
        "(images, labels) with such labels; or judge without them: task='values' leaves labels aside, and "
        "evaluate=… takes a function of yours from a model to its figure.",
        code="unusable-labels",
    )
