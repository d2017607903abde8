"""The model and its data, from what the user typed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.cli.options import DataOptions, ModelOptions, whole_numbers
from qdiag.cli.output import bar, tell
from qdiag.detection.box_folder import BoxFolder, MeanAveragePrecision
from qdiag.detection.box_labels import box_labels
from qdiag.detection.decode import DECODERS
from qdiag.errors import InputError, OptionError
from qdiag.image_folder import ImageFolder
from qdiag.loading.load_model import is_model_file, load_model
from qdiag.loading.specs import call
from qdiag.mask_folder import MaskFolder
from qdiag.subject import CALIBRATION_IMAGES, Subject, Task
from qdiag.weights import load_weights


@dataclass(frozen=True)
class Gathered:
    """What a command works on."""

    subject: Subject
    optimizer: torch.optim.Optimizer | None = None


def gather(
    model: ModelOptions, data: DataOptions, calibration: Path | None = None, task: Task | None = None
) -> Gathered:
    """Everything is loaded, and refused where it cannot be used, before any long work.

    Data that is asked for comes before data that the model's function brings along.

    Raises InputError, ModelError or OptionError.
    """
    images = _images(data)
    network, own, optimizer = _built(model)
    source = own if images is None else images
    if source is None:
        raise InputError(
            "no data: give --images FOLDER, --data file.py:function, or --input 1,3,224,224 for noise.", code="no-data"
        )
    figure = None if data.boxes is None else _mean_average_precision(data, data.boxes)
    if figure is not None:
        task = task or "detection"
    subject = Subject(network, source, calibration_data=_calibration(data, calibration), task=task, evaluate=figure)
    return Gathered(subject, optimizer)


def _built(options: ModelOptions) -> tuple[nn.Module, Any, torch.optim.Optimizer | None]:
    made = _made(options)
    parts = made if isinstance(made, tuple) else (made,)
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > 3:
        raise OptionError(
            f"{options.model} gave a {type(made).__name__}. It should return a model, (model, data) or "
            "(model, data, optimizer).",
            code="not-a-model",
        )
    model, data, optimizer = (*parts, None, None)[:3]
    if options.weights is not None:
        tell(str(load_weights(model, options.weights)))
    try:
        model.to(options.device)
    except (AssertionError, RuntimeError) as error:  # torch asserts that it was built for the device
        raise OptionError(f"device {options.device!r}: {error}", code="device") from error
    return model, data, optimizer


def _made(options: ModelOptions) -> Any:
    """What the file holds, or what the function returns."""
    if not is_model_file(options.model):
        return call(options.model, options.arg or ())
    if options.arg:
        raise OptionError(
            f"--arg {options.arg[0]}: {options.model} is a file, which takes no arguments.", code="no-arguments-taken"
        )
    return load_model(options.model, on_progress=bar())


def _images(options: DataOptions) -> Any:
    """What the options name; None where they name nothing."""
    if options.images is not None:
        folder = ImageFolder(options.images, options.preprocessing, options.limit)
        beside = {"boxes": options.boxes, "masks": options.masks}
        tell(f"Data: {folder}{''.join(f', {what} of {where}' for what, where in beside.items() if where)}.")
        if options.masks is None:
            return folder.loader(options.batch_size)
        return MaskFolder(folder, options.whole, options.masks, options.ignore_index).loader(options.batch_size)
    if options.data is not None:
        return call(options.data)
    if options.input is not None:
        noise = _noise(options.input)
        tell("Data: noise. Lint needs no more, but how accurate a model is on noise says little: give it images.")
        return noise
    return None


def _mean_average_precision(options: DataOptions, boxes: Path) -> MeanAveragePrecision:
    """Of the images that are measured on. Raises OptionError for a head that is not known here."""
    assert options.images is not None, "checked when the options were made"
    decode = DECODERS.get(str(options.letterbox))
    if decode is None:
        raise OptionError(
            f"--letterbox {options.letterbox}: of boxes, heads of {', '.join(DECODERS)} are known. Give a function of "
            "yours in Python: diagnose(model, images, evaluate=…).",
            code="option-value",
        )
    files = [file for file, _ in ImageFolder(options.images, options.preprocessing, options.limit).items]
    return MeanAveragePrecision(BoxFolder(files, options.square, box_labels(boxes)), decode)


def _noise(shape: str) -> list[torch.Tensor]:
    """The same noise each time."""
    sizes = whole_numbers(shape, "--input", "1,3,224,224")
    if min(sizes) < 1:
        raise OptionError(f"--input {shape!r}: write the shape of one batch, as 1,3,224,224.", code="not-numbers")
    return [torch.randn(sizes, generator=torch.Generator().manual_seed(0))]


def _calibration(data: DataOptions, folder: Path | None) -> Any:
    """As many images as the library would take, but spread over all classes of the folder."""
    source = folder or data.images
    if source is None:
        return None
    images = ImageFolder(source, data.preprocessing, CALIBRATION_IMAGES if folder else _at_most(data.limit))
    tell(f"Ranges: {images}.")
    return images.loader(data.batch_size)


def _at_most(limit: int | None) -> int:
    return min(limit or CALIBRATION_IMAGES, CALIBRATION_IMAGES)
