"""What training makes small: the distance to the labels, to the teacher, or to both."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from qdiag.errors import InputError, OptionError
from qdiag.tracing.batches import Batch
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import floating_leaves
from qdiag.training.own_losses import are_dicts, total
from qdiag.training.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """Of one batch. right of decided: argmax against the labels, or the teacher's; None where there are no classes."""

    loss: Tensor
    right: Tensor | None = None
    decided: Tensor | None = None


class Objective:
    """The loss of a recipe. teacher: in eval mode and without gradients, or None."""

    def __init__(self, recipe: Recipe, teacher: nn.Module | None):
        self.recipe, self.teacher = recipe, teacher

    def __call__(self, result: Any, batch: Batch) -> Outcome:
        """Raises InputError for labels that do not fit the outputs."""
        outputs = floating_outputs(result)
        labels = labels_for(outputs[0], batch.targets, self.recipe.ignore_index)
        weight = self.teachers_part(batch.targets)
        taught = self.taught(batch) if weight > 0 else []
        parts = []
        if weight < 1:
            parts.append((1 - weight) * self._from_targets(result, outputs[0], labels, batch.targets))
        if weight > 0:
            parts.append(weight * self._from_teacher(outputs, taught, has_classes=labels is not None))
        loss = torch.stack(parts).sum()
        if labels is None and taught and outputs[0].ndim == 2 and outputs[0].shape[1] > 1:
            labels = taught[0].argmax(1)
        if labels is None:
            return Outcome(loss)
        counted = labels != self.recipe.ignore_index
        return Outcome(loss, ((outputs[0].detach().argmax(1) == labels) & counted).sum(), counted.sum())

    @torch.no_grad()
    def taught(self, batch: Batch) -> list[Tensor]:
        """The teacher's outputs. Raises OptionError where there is no teacher."""
        if self.teacher is None:
            raise OptionError(
                "the data has no labels, and there is no teacher to learn from. Give data with labels, or "
                "teacher=… (a float model).",
                code="no-labels",
            )
        return floating_outputs(forward(self.teacher, batch.inputs))

    def teachers_part(self, targets: Any) -> float:
        """Of the loss, 0 to 1. Raises OptionError where targets would be wanted, and are not there."""
        usual = 1.0 if targets is None else 0.0
        if targets is None and self.recipe.distillation not in (None, 1.0):
            raise OptionError(
                f"distillation={self.recipe.distillation}: without labels all of the loss is the teacher's.",
                code="no-labels",
            )
        return usual if self.recipe.distillation is None else self.recipe.distillation

    def _from_targets(self, result: Any, output: Tensor, labels: Tensor | None, targets: Any) -> Tensor:
        if self.recipe.loss is not None:
            there = tree_map_only(Tensor, lambda tensor: tensor.to(output.device), targets)
            return _one_number(self.recipe.loss(result, there))
        if are_dicts(targets):
            return total(result)
        if labels is not None:
            return F.cross_entropy(output, labels, ignore_index=self.recipe.ignore_index)
        if isinstance(targets, Tensor) and targets.is_floating_point() and targets.shape == output.shape:
            return F.mse_loss(output, targets.to(output.device))
        raise InputError(
            f"the targets are neither class indices nor numbers of the output's shape {list(output.shape)}. "
            "Give Recipe(loss=…), a function of (outputs, targets).",
            code="targets",
        )

    def _from_teacher(self, outputs: list[Tensor], taught: list[Tensor], *, has_classes: bool) -> Tensor:
        """Kullback-Leibler divergence of class logits (arXiv:1503.02531), else squared error over signal power."""
        distances = []
        _check_teacher(outputs, taught)
        # a head that runs in train mode alone comes after those that the teacher has
        for number, (output, reference) in enumerate(zip(outputs, taught, strict=False)):
            if output.ndim >= 2 and output.shape[1] > 1 and (output.ndim == 2 or (has_classes and number == 0)):
                distances.append(self._divergence(output, reference))
            else:
                distances.append(F.mse_loss(output, reference) / reference.square().mean().clamp(min=1e-12))
        return torch.stack(distances).sum()

    def _divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        warm = self.recipe.temperature
        logs, expected = (output / warm).log_softmax(1), (reference / warm).log_softmax(1)
        # times the square of the temperature, so that gradients are as large as without one
        return F.kl_div(logs, expected, reduction="none", log_target=True).sum(1).mean() * warm**2


def _one_number(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise OptionError(
            f"Recipe(loss=…) gives {what}. A loss is one number in a tensor: take its mean.", code="loss-not-scalar"
        )
    return loss.reshape(())


def _check_teacher(outputs: list[Tensor], taught: list[Tensor]) -> None:
    """Raises OptionError where the teacher gives what the model does not."""
    own, others = [list(one.shape) for one in outputs], [list(one.shape) for one in taught]
    if own[: len(others)] != others:
        raise OptionError(
            f"the teacher's outputs are {others}, and the model's {own}: one can be learned from the other where the "
            "shapes are the same.",
            code="other-teacher",
        )


def floating_outputs(result: Any) -> list[Tensor]:
    """Raises InputError where there is none to learn from."""
    outputs = floating_leaves(result)
    if not outputs:
        raise InputError(
            "the model gives no floating-point tensor, from which nothing can be learned.", code="no-output-to-learn"
        )
    return outputs


def labels_for(output: Tensor, targets: Any, ignore_index: int) -> Tensor | None:
    """Class indices [N, ...] on the device of logits [N, classes, ...]; None where the targets are something else.

    Raises InputError where an index has no logit.
    """
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dtype is torch.bool or output.ndim < 2:
        return None
    shape = (len(output), *output.shape[2:])
    labels = targets.squeeze(1) if targets.ndim == len(shape) + 1 and targets.shape[1] == 1 else targets
    if labels.shape != shape:
        return None
    # where they lie, which is mostly not the accelerator: no step waits for it
    counted = labels[labels != ignore_index]
    if counted.numel() and not (int(counted.min()) >= 0 and int(counted.max()) < output.shape[1]):
        wrong = int(counted.min()) if int(counted.min()) < 0 else int(counted.max())
        raise InputError(
            f"a label is {wrong}, but the model's output has the classes 0 to {output.shape[1] - 1}. Give it as many "
            f"outputs as there are classes, or name the label that stands for nothing: Recipe(ignore_index={wrong}).",
            code="label-out-of-range",
        )
    return labels.to(output.device, torch.int64)
