"""What the user types, in groups that several commands share."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qdiag.detection.letterbox import LETTERBOXES, Letterbox, Letterboxes
from qdiag.errors import OptionError
from qdiag.image_folder import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from qdiag.mask_folder import WholeImage
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.quantization.calibrate import DEFAULT_METHOD


class PerChannel(StrEnum):
    """Which weights have one scale for each output channel."""

    DEPTHWISE = "depthwise"
    ALL = "all"


@dataclass(frozen=True)
class ModelOptions:
    """Where the model comes from."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            show_default=False,
            help="A file that holds your model, model.onnx or model.pt2; or the function that returns it: "
            "my_model.py:build, or torchvision.models:mobilenet_v2. It may return (model, data) or (model, data, "
            "optimizer) as well.",
        ),
    ]
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", rich_help_panel="Model", help="An argument for that function; repeatable."),
    ] = None
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", rich_help_panel="Model", help="A checkpoint to load into the model.")
    ] = None
    device: Annotated[str, typer.Option(rich_help_panel="Model", help="Where it runs: cpu, cuda …")] = "cpu"


DATA, FOLDER, FORMATS = "Data: one of these", "How a folder's images are read", "Number formats"


TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        rich_help_panel=DATA,
        help="What the outputs mean: classification, segmentation, detection or values. If not given, what labels say.",
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """Where the data comes from, and how images become tensors."""

    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=DATA,
            help="Images: one folder for each class; or labels.csv (columns file, class_index) with images/; or images "
            "alone, without labels. Or NumPy's .npy files, one array [C, H, W] for each image, taken as they are.",
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.PY:FUNCTION", rich_help_panel=DATA, help="A function that returns a DataLoader, or batches."
        ),
    ] = None
    input: Annotated[
        str | None,
        typer.Option(
            metavar="N,C,H,W",
            rich_help_panel=DATA,
            help="Random numbers of this shape, as 1,3,224,224: enough to lint, not to judge accuracy.",
        ),
    ] = None
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER or FILE",
            rich_help_panel=DATA,
            help="With --images: what is to be found in them, as YOLO's .txt files, Pascal VOC's .xml files or COCO's "
            "JSON. mAP decides then.",
        ),
    ] = None
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=DATA,
            help="With --images: the class of every pixel, as PNG files of the images' names, or Cityscapes' "
            "labelTrainIds. Images are taken whole then, as they are. Mean IoU decides.",
        ),
    ] = None
    ignore_index: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=DATA, help="With --masks: what stands for no class.")
    ] = 255
    size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", rich_help_panel=FOLDER, help="Side of the square cut out of the middle: 224."),
    ] = None
    letterbox: Annotated[
        Letterboxes | None,
        typer.Option(
            rich_help_panel=FOLDER,
            help="Fitted in whole in place of that, as detectors take them. yolox: BGR, 0 … 255, 416 pixels. yolo: "
            "RGB, 0 … 1, 640 pixels.",
        ),
    ] = None
    resize: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            rich_help_panel=FOLDER,
            help="Short side before that; if not given, 8/7 of the size (256).",
        ),
    ] = None
    mean: Annotated[
        str, typer.Option(metavar="R,G,B", rich_help_panel=FOLDER, help="Subtracted, after scaling to 0 … 1.")
    ] = ",".join(map(str, IMAGENET_MEAN))
    std: Annotated[str, typer.Option(metavar="R,G,B", rich_help_panel=FOLDER, help="Divided by.")] = ",".join(
        map(str, IMAGENET_STD)
    )
    interpolation: Annotated[str, typer.Option(rich_help_panel=FOLDER, help="bilinear, bicubic …")] = "bilinear"
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, rich_help_panel=FOLDER, help="Images at a time.")] = 16
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=FOLDER, help="So many images, spread over the folder."),
    ] = None

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("images", "data", "input") if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(
                f"{' and '.join(given)}: data comes from one of them. Leave the others out.",
                code="options-exclude-each-other",
            )
        if self.limit is not None and self.images is None:
            raise OptionError(
                "--limit counts the images of a folder: give it with --images.", code="option-without-its-other"
            )
        if self.boxes is not None and (self.images is None or self.letterbox is None):
            raise OptionError(
                "--boxes are of images in a letterbox: give --images and --letterbox.", code="option-without-its-other"
            )

        if self.masks is not None and self.images is None:
            raise OptionError("--masks are of images: give --images.", code="option-without-its-other")
        cut = [f"--{name}" for name in ("boxes", "letterbox", "size", "resize") if getattr(self, name) is not None]
        if self.masks is not None and cut:
            raise OptionError(
                f"--masks and {cut[0]}: images with masks are taken whole, as they are. Leave one of them out.",
                code="options-exclude-each-other",
            )

    @property
    def preprocessing(self) -> Preprocessing | Letterbox | WholeImage:
        """Raises OptionError where the options do not go together."""
        if self.letterbox is not None:
            return self.square
        if self.masks is not None:
            return self.whole
        size = self.size or 224
        resize = round(size * 8 / 7) if self.resize is None else self.resize
        mean, std = numbers(self.mean, "--mean"), numbers(self.std, "--std")
        return Preprocessing(resize, size, mean, std, self.interpolation)

    @property
    def whole(self) -> WholeImage:
        """What makes tensors of images that have masks."""
        return WholeImage(numbers(self.mean, "--mean"), numbers(self.std, "--std"))

    @property
    def square(self) -> Letterbox:
        """The letterbox that is asked for."""
        chosen = LETTERBOXES[self.letterbox or Letterboxes.YOLO]
        return replace(chosen, size=self.size or chosen.size)


@dataclass(frozen=True)
class FormatOptions:
    """What the fixed point is like, and where its ranges come from."""

    per_channel: Annotated[
        PerChannel | None,
        typer.Option(rich_help_panel=FORMATS, help="Weights with a scale for each channel, not one for each tensor."),
    ] = None
    target: Annotated[
        str, typer.Option(rich_help_panel=FORMATS, help="The engine whose rounding is simulated: tidl or onnxruntime.")
    ] = "tidl"
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=FORMATS,
            help="Images that ranges are taken from, 128 of them; of the data itself if not given.",
        ),
    ] = None

    @property
    def scales(self) -> PerChannelOption:
        """`per_channel` as the library spells it."""
        return None if self.per_channel is None else self.per_channel.value


@dataclass(frozen=True)
class MethodOptions:
    """How the model is made to fit its formats."""

    method: Annotated[str, typer.Option(rich_help_panel=FORMATS, help="simple, advanced, advanced-dw or best.")] = (
        DEFAULT_METHOD
    )
    bits: Annotated[int, typer.Option(rich_help_panel=FORMATS, help="Of weights and activations.")] = 8
    macs_16bit: Annotated[
        float | None,
        typer.Option(
            "--macs-16bit",
            metavar="PERCENT",
            rich_help_panel=FORMATS,
            help="Choose layers to compute in 16 bit: at most so many percent of the multiply-accumulates.",
        ),
    ] = None

    @property
    def widths(self) -> int | MacBudget:
        """`bits` as the library takes them. Raises OptionError for what is no percentage."""
        return self.bits if self.macs_16bit is None else MacBudget(self.macs_16bit, others=self.bits)


@dataclass(frozen=True)
class QuantizedOptions(MethodOptions):
    """The same, or what an earlier calibration found."""

    load: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=FORMATS,
            help="What `qdiag calibrate --save` wrote, in place of a calibration. It brings its own formats.",
        ),
    ] = None


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between. Raises OptionError."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option} {text!r}: write numbers with commas between, as 0.5,0.5,0.5.", code="not-numbers"
        ) from None


def whole_numbers(text: str, option: str, sample: str) -> tuple[int, ...]:
    """Whole numbers with commas between. Raises OptionError."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option} {text!r}: write whole numbers with commas between, as {sample}.", code="not-numbers"
        ) from None
