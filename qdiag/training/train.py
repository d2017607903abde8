"""`train()`: a model, images and a recipe in; trained weights, and their history, out."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import is_tensorboard_available
from torch import nn

from qdiag.errors import ModelError, OptionError
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Progress, Steps, Stopped, run
from qdiag.quantization.checks import check_model
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.guest import borrow
from qdiag.tracing.inputs import Batch, first_batch, forward
from qdiag.tracing.random_state import kept_random_state
from qdiag.training.epoch import Metrics
from qdiag.training.evaluation import evaluation_steps, float_model, versions_steps
from qdiag.training.image_order import OrderedImages, Share
from qdiag.training.objective import Objective
from qdiag.training.recipe import Recipe
from qdiag.training.training_checkpoint import TrainingCheckpoint
from qdiag.training.training_result import TrainingResult
from qdiag.training.training_run import TrainingRun

CHECKPOINT_SECONDS = 60.0
_ACCELERATES_OWN = ("forward", "_original_forward", "_is_accelerate_prepared")


def train(
    model: nn.Module,
    loaders: Any,
    recipe: Recipe | None = None,
    *,
    teacher: nn.Module | None = None,
    formats: Sequence[Bits] = (16, 8),
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    tensorboard: bool = False,
    on_progress: OnProgress = None,
) -> TrainingResult:
    """Train a model in place: a QuantTrainModule for fixed point, any other module in float.

        model = QuantTrainModule.from_calibrated(calibrate(model, images))
        train(model, (loader, validation_loader), Recipe(epochs=10), output="run")

    loaders: images to train with, or (these, those to validate with); with labels or without. Each is a Dataset, a
    tensor [N, ...], a list of batches, or a DataLoader, of which batch size, workers and collate_fn are used, but not
    the order. What augmentation draws is the same with any number of workers.
    recipe: as it stands, for quantization-aware training; `Recipe.from_scratch()` for a float model without weights.
    teacher: whose outputs are learned where the images have no labels, or where the recipe asks for it. Without one, a
    QuantTrainModule learns from its own weights in float, as they are at the beginning.
    formats: bits in which the weights are measured before and after, calibrated by minimum and maximum.
    output: a folder for a checkpoint every so many seconds and after each epoch, `model.pt` (the state_dict at the end)
    and `history.csv`. tensorboard: also curves, in its `logs`.
    resume: go on where the folder holds a run that was stopped or killed, to the weights of an unbroken one: on the
    CPU, with as many threads, bit for bit. Ctrl-C writes a checkpoint.

    Runs in one process on the device that the model lies on; in each process of `accelerate launch`, or of accelerate's
    `notebook_launcher`, on a device of its own, with a share of each batch. BatchNorm's statistics and ranges are the
    first process's. Modes and random state come back as they were.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used, ModelError with
    the step where the loss becomes NaN, and OptionError where `model.pt` cannot be written. Warns where a checkpoint
    cannot: the one before stays.
    """
    steps = train_steps(
        model,
        loaders,
        recipe,
        teacher=teacher,
        formats=formats,
        output=output,
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
    )
    return run(steps, on_progress if is_first_process() else _no_bar)


def is_first_process() -> bool:
    """Of several, it is the one that writes and shows."""
    return bool(Accelerator().is_main_process)


def _no_bar(progress: Progress) -> None:
    """Of several processes the first one has it."""


def train_steps(
    model: nn.Module,
    loaders: Any,
    recipe: Recipe | None = None,
    *,
    teacher: nn.Module | None = None,
    formats: Sequence[Bits] = (16, 8),
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    tensorboard: bool = False,
) -> Steps[TrainingResult]:
    """`train` as a generator of Progress, whose `values` are the epoch's loss and right_percent so far."""
    recipe = recipe or Recipe()
    _check(model, output, resume=resume, tensorboard=tensorboard)
    images, validation = _images(loaders, recipe)
    accelerator = _accelerator(output, tensorboard=tensorboard)
    share = Share(accelerator.process_index, accelerator.num_processes)
    if share.processes > 1:
        model.to(accelerator.device)
    network = float_model(model)
    batch = first_batch(images.loader(0, share), network)
    objective = Objective(recipe, None if teacher is None else _still(teacher, batch))
    own_teacher = None
    if teacher is None and network is not model and objective.teachers_part(batch.targets) > 0:
        own_teacher = objective.teacher = _still(network, batch)
    _try(network, objective, batch)

    folder = None if output is None else TrainingCheckpoint(output, _identity(model, images, share, recipe))
    found = None if folder is None else folder.load(resume)
    if folder is not None and found is not None and own_teacher is not None:
        folder.load_teacher(own_teacher)
    accelerator.wait_for_everyone()  # all have looked, before the first one writes
    if not accelerator.is_main_process:
        folder = None

    with kept_random_state(), _kept(model), _curves(accelerator, tensorboard=tensorboard):
        training = TrainingRun(model, objective, images, share, accelerator)
        before: Mapping[str, Metrics] = {}
        if found is not None:
            training.load(found)
            before = found["before"]
        elif validation is not None:
            others = {} if teacher is None or objective.teacher is None else {"teacher": objective.teacher}
            before = yield from versions_steps(model, images, validation, share, objective, formats, others)
        saving = _Saving(folder, training, before, checkpoint_seconds)
        saving.begin(own_teacher if found is None else None)
        try:
            yield from _epochs(training, validation, saving)
        except (KeyboardInterrupt, GeneratorExit, Stopped):
            if training.is_whole:
                saving.now()
            raise
        training.share_buffers()
        after: Mapping[str, Metrics] = {}
        if validation is not None:
            after = yield from versions_steps(model, images, validation, share, objective, formats)
        result = training.result(before, after)
        saving.end(result)
        return result


def _epochs(training: TrainingRun, validation: OrderedImages | None, saving: "_Saving") -> Steps[None]:
    while training.epoch < training.recipe.epochs:
        for progress in training.epoch_steps():
            yield progress
            saving.when_due()
        training.share_buffers()
        metrics: Metrics = {}
        if validation is not None:
            label = f"validating epoch {training.epoch + 1}"
            model = training.model.quantized if isinstance(training.model, QuantTrainModule) else training.model
            metrics = yield from evaluation_steps(model, validation, training.share, training.objective, label)
        training.end_epoch(metrics)
        saving.now()


@dataclass
class _Saving:
    """When what is written. folder: None where nothing is kept, or where another process keeps it."""

    folder: TrainingCheckpoint | None
    training: TrainingRun
    before: Mapping[str, Metrics]
    seconds: float
    saved_at: float = field(default_factory=monotonic)

    def begin(self, teacher: nn.Module | None) -> None:
        if self.folder is not None:
            self.folder.remove_drafts()
            if teacher is not None:
                self.folder.save_teacher(teacher)
        self.now()

    def when_due(self) -> None:
        if monotonic() - self.saved_at >= self.seconds:
            self.now()

    def now(self) -> None:
        state = self.training.state()
        if self.folder is not None:
            self.folder.save(state | {"before": dict(self.before)})
            self.folder.save_history(self.training.result(self.before, {}))
        self.saved_at = monotonic()

    def end(self, result: TrainingResult) -> None:
        if self.folder is not None:
            self.folder.save_history(result)
            self.folder.save_model(self.training.model)


def _check(model: nn.Module, output: Any, *, resume: bool, tensorboard: bool) -> None:
    check_model(model)
    if isinstance(model, QuantTestModule | QuantizedModel) and not isinstance(model, QuantTrainModule):
        raise ModelError(
            f"a {type(model).__name__} computes without gradients. Train QuantTrainModule.from_calibrated(…)."
        )
    if (resume or tensorboard) and output is None:
        raise OptionError("a run to resume, and TensorBoard's curves, are in a folder: give output=…")
    if tensorboard and not is_tensorboard_available():
        raise OptionError("TensorBoard is not installed. Install qdiag[tensorboard].")


def _images(loaders: Any, recipe: Recipe) -> tuple[OrderedImages, OrderedImages | None]:
    if not isinstance(loaders, tuple):
        return OrderedImages(loaders, recipe), None
    if len(loaders) != 2:
        raise OptionError(f"loaders are {len(loaders)}: give (images to train with, images to validate with).")
    return OrderedImages(loaders[0], recipe), None if loaders[1] is None else OrderedImages(loaders[1], recipe)


def _accelerator(output: str | os.PathLike[str] | None, *, tensorboard: bool) -> Accelerator:
    folder = None if output is None else Path(output)
    # Heads that only some outputs come from have no gradient.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    logger = "tensorboard" if tensorboard else None
    return Accelerator(log_with=logger, project_dir=folder, kwargs_handlers=[parallel])


@contextmanager
def _curves(accelerator: Accelerator, *, tensorboard: bool) -> Iterator[None]:
    """What is logged inside is written, where it is to be."""
    if tensorboard:
        accelerator.init_trackers("logs")
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


def _still(teacher: nn.Module, batch: Batch) -> nn.Module:
    """A copy that training does not change, where the images are."""
    still = copy.deepcopy(teacher).eval().requires_grad_(False)
    tensors = batch.inputs.tensors()
    return still.to(tensors[0][1].device) if tensors else still


def _try(network: nn.Module, objective: Objective, batch: Batch) -> None:
    """Raises what outputs and labels that do not fit each other would raise in the first step."""
    with borrow(network):
        objective(forward(network, batch.inputs), batch)


def _identity(model: nn.Module, images: OrderedImages, share: Share, recipe: Recipe) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    names = " of ".join(dict.fromkeys(type(one).__name__ for one in (model, float_model(model))))
    return recipe.facts() | {
        "model": f"{names} with {parameters:,} parameters",
        "images": len(images),
        "batch": images.batch_images(share),
    }


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Modes; and what accelerate sets on the model, mixed precision's own forward first of all."""
    modes = [(module, module.training) for module in model.modules()]
    before = {name: vars(model)[name] for name in _ACCELERATES_OWN if name in vars(model)}
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name in _ACCELERATES_OWN:
            vars(model).pop(name, None)
        vars(model).update(before)
