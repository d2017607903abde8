"""Models that compute their losses themselves, as detectors do: images and targets in, a dict of losses out."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.errors import InputError
from qdiag.tracing.batches import Batch
from qdiag.tracing.inputs import Inputs, parameters_of_forward


def are_dicts(targets: Any) -> bool:
    """True for one dict, and for a list of one for each image."""
    if isinstance(targets, list | tuple):
        return bool(targets) and all(isinstance(target, Mapping) for target in targets)
    return isinstance(targets, Mapping)


def takes_targets(model: nn.Module, batch: Batch) -> bool:
    """True where targets are dicts, and the model's forward has a place for them behind its inputs."""
    parameters = parameters_of_forward(model).values()
    kinds = [one.kind for one in parameters]
    places = sum(kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    has_place = places > len(batch.inputs.args) or Parameter.VAR_POSITIONAL in kinds
    return are_dicts(batch.targets) and has_place and not batch.inputs.kwargs


def training_inputs(model: nn.Module, batch: Batch) -> Inputs:
    """What the model is called with in train mode, on its device."""
    if not takes_targets(model, batch):
        return batch.inputs
    return Inputs(*batch.inputs.args, batch.targets).to_device_of(model)


def total(losses: Any) -> Tensor:
    """The one named "loss", else the sum. Raises InputError for what is no dict of numbers."""
    found = list(losses.values()) if isinstance(losses, Mapping) else []
    if not found or not all(isinstance(one, Tensor) and not one.ndim for one in found):
        raise InputError(
            f"the targets are dicts, and the model gives a {type(losses).__name__} in train mode, no dict of losses. "
            "Give Recipe(loss=…), a function of (outputs, targets).",
            code="targets",
        )
    total: Tensor = losses["loss"] if "loss" in losses else torch.stack(found).sum()
    return total
