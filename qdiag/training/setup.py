"""A training run before its first step."""

import copy
import os
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import is_tensorboard_available
from torch import nn

from qdiag.errors import ModelError, OptionError
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.checks import check_gradients_possible, check_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.subject import Subject
from qdiag.tracing.batches import Batch
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.random_state import kept_random_state
from qdiag.training.evaluation import float_model
from qdiag.training.image_order import OrderedImages, Share
from qdiag.training.objective import Objective
from qdiag.training.own_losses import takes_targets, training_inputs
from qdiag.training.recipe import Recipe


@dataclass(frozen=True)
class Setup:
    """Model, images, and what is learned from them.

    validation: None where nothing is measured. own_teacher: whether the teacher is the model itself, in float, as it is
    at the beginning. share: this process's part of each batch.
    """

    model: nn.Module
    images: OrderedImages
    validation: OrderedImages | None
    objective: Objective
    own_teacher: bool
    share: Share
    accelerator: Accelerator

    @property
    def recipe(self) -> Recipe:
        return self.objective.recipe

    @property
    def own_version(self) -> str:
        """What the model as it stands is called among the versions that are measured; "" where it has no ranges yet."""
        if not isinstance(self.model, QuantBaseModule):
            return "float"
        return self.model.quantized.plan.label if self.model.quantized.calibration.ranges else ""

    @property
    def identity(self) -> dict[str, Any]:
        """Facts that a run has to share with its checkpoint."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        names = " of ".join(dict.fromkeys(type(one).__name__ for one in (self.model, float_model(self.model))))
        return self.recipe.facts() | {
            "model": f"{names} with {parameters:,} parameters",
            "images": len(self.images),
            "batch": self.images.batch_images(self.share),
        }


def subjects(model: nn.Module | Subject, data: Any) -> tuple[Subject, Subject | None]:
    """The model on the images to train with, and on those to measure with.

    Raises InputError, ModelError or OptionError.
    """
    training, measured = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    if isinstance(training, tuple):
        raise OptionError(
            f"data has {len(data)} parts: give (images to train with, images to validate with).", code="option-value"
        )
    subject = Subject.of(model, training)
    return subject, None if measured is None else Subject.of(subject.model, measured)


def set_up(
    subject: Subject, measured: Subject | None, recipe: Recipe, teacher: nn.Module | None, accelerator: Accelerator
) -> Setup:
    """Try one batch, so that what does not fit raises before any long work.

    Raises InputError, ModelError or OptionError.
    """
    model, images = subject.model, OrderedImages(subject.data, recipe)
    validation = None if measured is None else OrderedImages(measured.data, recipe)
    share = Share(accelerator.process_index, accelerator.num_processes)
    if share.processes > 1:
        _check_norms(model)
        model.to(accelerator.device)
    network = float_model(model)
    with kept_random_state():  # a loader draws a seed as soon as it is asked
        batch = next(images.read(network, 0, share))
    objective = Objective(recipe, None if teacher is None else _frozen(teacher, batch))
    own_teacher = teacher is None and network is not model and objective.teachers_part(batch.targets) > 0
    if own_teacher:
        objective = Objective(recipe, _frozen(network, batch))
    _try(network, batch, objective, validation)
    return Setup(model, images, validation, objective, own_teacher, share, accelerator)


def _check_norms(model: nn.Module) -> None:
    """Raises ModelError for fixed point with BatchNorms of all processes: they normalize in a function of their own."""
    synchronized = [name for name, one in model.named_modules() if isinstance(one, nn.SyncBatchNorm)]
    if synchronized and isinstance(model, QuantTrainModule):
        raise ModelError(
            f"{synchronized[0]!r} is a SyncBatchNorm, which computes in a function of its own in several processes, so "
            "that training would not round what the target rounds. Make them nn.BatchNorm2d with the same state_dict.",
            code="sync-batchnorm",
        )


def _try(network: nn.Module, batch: Batch, objective: Objective, validation: OrderedImages | None) -> None:
    has_own = takes_targets(network, batch)
    if has_own and objective.teachers_part(batch.targets) > 0:
        raise OptionError(
            f"distillation={objective.recipe.distillation}: the model gives its losses in train mode, and no outputs "
            "to hold against a teacher's. Give Recipe(distillation=None).",
            code="option-value",
        )
    if has_own and validation is not None:
        raise OptionError(
            "a model with losses of its own is not measured while it trains: give the images to train with alone, and "
            "measure the result with compare(…, evaluate=…).",
            code="option-value",
        )
    with borrow(network):
        network.train(has_own)  # losses come in train mode alone
        loss = objective(forward(network, training_inputs(network, batch)), batch).loss
    if not bool(loss.isfinite()):
        raise ModelError(
            f"the loss is {loss.item()} before the first step. Look at the targets (does every label count, are all "
            "numbers finite?) and at the float model: lint_model names weights that are not finite.",
            code="loss-not-finite",
        )


def check_options(model: nn.Module, output: str | os.PathLike[str] | None, *, resume: bool, tensorboard: bool) -> None:
    """Raises ModelError for a model that cannot be trained, OptionError for options that do not go together."""
    check_model(model)
    if isinstance(model, QuantBaseModule | QuantizedModel) and not isinstance(model, QuantTrainModule):
        raise ModelError(
            f"a {type(model).__name__} computes without gradients. Train QuantTrainModule.from_calibrated(…).",
            code="not-trainable",
        )
    check_gradients_possible(model)
    if (resume or tensorboard) and output is None:
        raise OptionError(
            "a run to resume, and TensorBoard's curves, are in a folder: give output=…", code="option-without-its-other"
        )
    if tensorboard and not is_tensorboard_available():
        raise OptionError("TensorBoard is not installed. Install qdiag[tensorboard].", code="not-installed")


def _frozen(teacher: nn.Module, batch: Batch) -> nn.Module:
    """A copy that training does not change, where the images are."""
    frozen = copy.deepcopy(teacher).eval().requires_grad_(False)
    tensors = batch.inputs.tensors()
    return frozen.to(tensors[0][1].device) if tensors else frozen
