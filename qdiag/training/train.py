"""`train()`: a model, images and a recipe in; trained weights, and their history, out."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, Stopped, long_work
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.subject import Subject
from qdiag.tracing.random_state import kept_random_state
from qdiag.training.acceleration import accelerator_for, curves, kept_model, told_by_the_first
from qdiag.training.epoch import Metrics
from qdiag.training.evaluation import evaluation_steps, versions_steps
from qdiag.training.kept_weights import BEGINNING
from qdiag.training.recipe import Recipe
from qdiag.training.saving import Saving, opened
from qdiag.training.setup import Setup, check_options, set_up, subjects
from qdiag.training.training_result import TrainingResult
from qdiag.training.training_run import TrainingRun

CHECKPOINT_SECONDS = 60.0


@told_by_the_first
@long_work
def train(
    model: nn.Module | Subject,
    data: Any = None,
    recipe: Recipe | None = None,
    *,
    teacher: nn.Module | None = None,
    formats: Sequence[Bits] = (16, 8),
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    tensorboard: bool = False,
    on_progress: OnProgress = None,
) -> Steps[TrainingResult]:
    """Train a model in place: a QuantTrainModule for fixed point, any other module in float.

        model = QuantTrainModule.from_calibrated(calibrate(model, images))
        train(model, (loader, validation_loader), Recipe(epochs=10), output="run")

    Runs in one process on the device that the model lies on; in each process of `accelerate launch`, or of accelerate's
    `notebook_launcher`, on a device of its own, with a share of each batch. Ranges are of all processes' images,
    BatchNorm's statistics the first one's; it alone tells its progress. Modes and random state come back as they were.
    Ctrl-C writes a checkpoint. Where one cannot be written, a warning says so, and the one before stays. With
    validation data the model ends with the weights of its best epoch (see `Recipe`).

    Args:
        model: Trained in place; or a `Subject`, which holds the images as well.
        data: Images to train with, or (these, those to validate with); with labels or without. Each is a Dataset, a
            tensor [N, ...], a list of batches, a `Subject` of the model before training, or a DataLoader, of which
            batch size, workers and collate_fn are used, but not the order. What augmentation draws is the same with any
            number of workers.
        recipe: As it stands, for quantization-aware training; `Recipe.from_scratch()` for a float model without
            weights.
        teacher: Whose outputs are learned where the images have no labels, or where the recipe asks for it. Without
            one, a QuantTrainModule learns from its own weights in float, as they are at the beginning.
        formats: Bits in which the weights are measured before and after, calibrated by minimum and maximum.
        output: A folder for a checkpoint every so many seconds and after each epoch, `model.pt` (the state_dict at the
            end) and `history.csv`.
        resume: Go on where the folder holds a run that was stopped or killed, to the weights of an unbroken one: on the
            CPU, with as many threads, bit for bit.
        checkpoint_seconds: Between two checkpoints.
        tensorboard: Write curves too, into `logs` in the output folder.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        InputError: Before any long work, for data that cannot be used.
        ModelError: Before any long work, for a model that cannot be trained; with the training step, where the loss
            becomes NaN.
        OptionError: Before any long work, for options that are not on offer; where `model.pt` cannot be written.

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 36, 2))
    >>> batches = [(torch.rand(8, 3, 6, 6), torch.randint(2, (8,)))]
    >>> result = train(QuantTrainModule(net, torch.rand(8, 3, 6, 6)), (batches, batches), Recipe(epochs=2))
    >>> len(result.history), list(result.after)
    (2, ['float', '16-bit', '8-bit'])
    """
    subject, measured = subjects(model, data)
    check_options(subject.model, output, resume=resume, tensorboard=tensorboard)
    accelerator = accelerator_for(output, tensorboard=tensorboard)
    setup = set_up(subject, measured, recipe or Recipe(), teacher, accelerator)
    folder, reached = opened(setup, output, resume=resume)
    with kept_random_state(), kept_model(setup.model), curves(accelerator, tensorboard=tensorboard):
        training = TrainingRun(setup)
        before = yield from _beginning(training, reached, formats)
        saving = Saving(folder, training, before, checkpoint_seconds)
        saving.begin(anew=reached is None)
        try:
            with kept_random_state(seeded=True):
                yield from _epochs(training, saving)
        except (KeyboardInterrupt, GeneratorExit, Stopped):
            if training.is_whole:
                saving.now()
            raise
        training.share_buffers()
        training.end()
        result = training.result(before, (yield from _measured(setup, formats)))
        saving.end(result)
        return result


def _beginning(
    training: TrainingRun, reached: Mapping[str, Any] | None, formats: Sequence[Bits]
) -> Steps[Mapping[str, Metrics]]:
    """Metrics before the first step, of the weights in hand or of those that a run to go on with set out from."""
    if reached is not None:
        training.load(reached)
        before: Mapping[str, Metrics] = reached["before"]
        return before
    setup = training.setup
    teacher = None if setup.own_teacher else setup.objective.teacher
    measured = yield from _measured(setup, formats, {} if teacher is None else {"teacher": teacher})
    training.keep_if_best(BEGINNING, measured.get(setup.own_version, {}))
    return measured


def _measured(
    setup: Setup, formats: Sequence[Bits], others: Mapping[str, nn.Module] | None = None
) -> Steps[Mapping[str, Metrics]]:
    if setup.validation is None:
        return {}
    with kept_random_state():
        return (
            yield from versions_steps(
                setup.model, setup.images, setup.validation, setup.share, setup.objective, formats, others
            )
        )


def _epochs(training: TrainingRun, saving: Saving) -> Steps[None]:
    setup = training.setup
    while training.epoch < training.recipe.epochs:
        for progress in training.epoch_steps():
            yield progress
            saving.when_due()
        training.share_buffers()
        metrics: Metrics = {}
        if setup.validation is not None:
            label = f"validating epoch {training.epoch + 1}"
            model = setup.model.quantized if isinstance(setup.model, QuantTrainModule) else setup.model
            metrics = yield from evaluation_steps(model, setup.validation, setup.share, setup.objective, label)
        training.end_epoch(metrics)
        saving.now()
