"""`qdiag train`."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import PANEL, OutputOptions, bar, tell
from qdiag.cli.quantized import quantized
from qdiag.cli.recipe_options import TRAINING, RecipeOptions
from qdiag.errors import OptionError
from qdiag.image_folder import ImageFolder
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.subject import Subject
from qdiag.training.training_checkpoint import MODEL, TrainingCheckpoint

INTERRUPTED = 130  # as a shell has it for a program that Ctrl-C ended


@dataclass(frozen=True)
class RunOptions:
    """What is trained and measured, and where the run is kept."""

    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            rich_help_panel=PANEL,
            help="For checkpoints, model.pt (for --load, and QuantTestModule) and history.csv.",
        ),
    ]
    validation: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", rich_help_panel=TRAINING, help="Images to measure with, never trained with."),
    ] = None
    in_float: Annotated[
        bool, typer.Option("--float", rich_help_panel=TRAINING, help="Train the model as it is, in float.")
    ] = False
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=PANEL, help="Go on with what the folder holds.")
    ] = False
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", rich_help_panel=PANEL, help="Curves too, in the folder's logs.")
    ] = False

    def check(self, fit: QuantizedOptions) -> None:
        """Raises OptionError for formats of what is trained in float."""
        if self.in_float and (fit.load is not None or fit.macs_16bit is not None):
            raise OptionError(
                "--float trains without number formats: leave --load and --macs-16bit out.",
                code="options-exclude-each-other",
            )

    def measured(self, data: DataOptions) -> Any:
        """Images to measure with, read as those to train with; None where there are none."""
        return (
            None
            if self.validation is None
            else ImageFolder(self.validation, data.preprocessing).loader(data.batch_size)
        )


def train(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    how: RecipeOptions,
    kept: RunOptions,
    shown: OutputOptions,
) -> None:
    """Train the model in fixed point, from what calibration found or --load brings; or in float, with --float.

    Without labels it learns from the float model. Stopped by Ctrl-C or killed, it goes on with --resume, to the same
    weights. Several processes: accelerate launch --no_python qdiag train …

    Exit code: 0 where it was trained, 2 where it could not be, 130 where Ctrl-C stopped it.

    qdiag train my_model.py:build --images train/ --validation val/ --epochs 10 --output run/
    """
    from qdiag.training.acceleration import is_first_process  # it takes seconds to load
    from qdiag.training.train import train as train_model

    kept.check(fit)
    recipe, reached = how.recipe, TrainingCheckpoint(kept.output, {}).load(kept.resume)
    subject = gather(model, data, formats.calibration).subject
    images = subject, kept.measured(data)
    network, teacher = subject.model, None
    if not kept.in_float:
        teacher = copy.deepcopy(network)  # calibrated weights are written into the model
        network = _in_fixed_point(subject, formats, fit, is_begun=reached is not None)
    with _resumable():
        result = train_model(
            network,
            images,
            recipe,
            teacher=teacher,
            output=kept.output,
            resume=kept.resume,
            tensorboard=kept.tensorboard,
            on_progress=bar(),
        )
    if is_first_process():
        tell(f"Saved: {(kept.output / MODEL).resolve()}")
        shown.show(result)


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl-C ends the command with word of how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        tell("Stopped. The same command with --resume goes on from here.")
        raise typer.Exit(INTERRUPTED) from None


def _in_fixed_point(subject: Subject, formats: FormatOptions, fit: QuantizedOptions, *, is_begun: bool) -> nn.Module:
    """Set out from a calibration; a run that is begun brings its own ranges and weights."""
    if is_begun:
        return QuantTrainModule(subject.model, subject.example, fit.bits, formats.scales, target=formats.target)
    return QuantTrainModule.from_calibrated(quantized(subject, formats, fit))
