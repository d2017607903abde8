"""`qdiag train`."""

import copy
from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import TRAINING, DataOptions, FormatOptions, ModelOptions, QuantizedOptions, RecipeOptions
from qdiag.cli.output import PANEL, OutputOptions, bar, tell
from qdiag.cli.quantized import quantized
from qdiag.errors import OptionError
from qdiag.image_folder import ImageFolder
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.training_checkpoint import MODEL, TrainingCheckpoint

INTERRUPTED = 130  # as a shell has it for a program that Ctrl-C ended


def train(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    how: RecipeOptions,
    shown: OutputOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            rich_help_panel=PANEL,
            help="For checkpoints, model.pt (for --load, and QuantTestModule) and history.csv.",
        ),
    ],
    validation: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", rich_help_panel=TRAINING, help="Images to measure with, never trained with."),
    ] = None,
    in_float: Annotated[
        bool, typer.Option("--float", rich_help_panel=TRAINING, help="Train the model as it is, in float.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=PANEL, help="Go on with what the folder holds.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", rich_help_panel=PANEL, help="Curves too, in the folder's logs.")
    ] = False,
) -> None:
    """Train the model in fixed point, from what calibration found or --load brings; or in float, with --float.

    Without labels it learns from the float model. Stopped by Ctrl-C or killed, it goes on with --resume, to the same
    weights. Several processes: accelerate launch --no_python qdiag train …

    Exit code: 0 where it was trained, 2 where it could not be, 130 where Ctrl-C stopped it.

    qdiag train my_model.py:build --images train/ --validation val/ --epochs 10 --output run/
    """
    from qdiag.training.acceleration import is_first_process  # it takes seconds to load
    from qdiag.training.train import train as train_model

    if in_float and (fit.load is not None or fit.macs_16bit is not None):
        raise OptionError(
            "--float trains without number formats: leave --load and --macs-16bit out.",
            code="options-exclude-each-other",
        )
    recipe, reached = how.recipe, TrainingCheckpoint(output, {}).load(resume)
    subject = gather(model, data, formats.calibration).subject
    measured = None if validation is None else ImageFolder(validation, data.preprocessing).loader(data.batch_size)
    network, teacher = subject.model, None
    if not in_float:
        teacher = copy.deepcopy(network)  # calibrated weights are written into the model
        if reached is not None:
            network = QuantTrainModule(network, subject.example, fit.bits, formats.scales, target=formats.target)
        else:
            network = QuantTrainModule.from_calibrated(quantized(subject, formats, fit))
    try:
        result = train_model(
            network,
            (subject.data.data, measured),
            recipe,
            teacher=teacher,
            output=output,
            resume=resume,
            tensorboard=tensorboard,
            on_progress=bar(),
        )
    except KeyboardInterrupt:
        tell("Stopped. The same command with --resume goes on from here.")
        raise typer.Exit(INTERRUPTED) from None
    if is_first_process():
        tell(f"Saved: {(output / MODEL).resolve()}")
        shown.show(result)
