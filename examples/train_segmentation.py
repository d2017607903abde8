"""Trains a segmentation network in float, calibrates it, and trains it in 8-bit fixed point.

    python examples/train_segmentation.py --data camvid:FOLDER --epochs 60
    python examples/train_segmentation.py --data camvid:FOLDER --weights camvid.pt      # weights that are there already
    python examples/train_segmentation.py --data cityscapes:FOLDER --width 1 --epochs 200
    accelerate launch examples/train_segmentation.py …                                  # on every GPU of the machine

DeepLabV3+ on MobileNetV2. FOLDER is as examples/camvid.py and examples/published_rows.py say. With --output, a second
run goes on where the first one was stopped or killed.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import camvid
import torch
from accelerate import PartialState
from published_rows import IGNORED as CITYSCAPES_IGNORED
from published_rows import cityscapes
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qdiag import QuantTrainModule, Recipe, TrainingResult, calibrate, train


class CutOut(Dataset[tuple[Tensor, Tensor]]):
    """Parts of a data set's images, zoomed and mirrored, at random."""

    def __init__(self, whole: Any, crop: tuple[int, int]):
        self.whole, self.crop = whole, crop

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image, label = self.whole[number]
        images, labels = camvid.cut_out(image[None], label[None], self.crop)
        return images[0], labels[0]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    torch.manual_seed(options.seed)
    whole, validation, classes, ignored = data_sets(options.data)
    training, measured = (
        DataLoader(data, options.batch_size, num_workers=options.workers)
        for data in (CutOut(whole, tuple(options.crop)), validation)
    )
    model = camvid.DeepLab(classes, options.width)
    shared: dict[str, Any] = {"epoch_size": options.epoch_size, "seed": options.seed, "ignore_index": ignored}
    if options.weights is not None:
        model.load_state_dict(torch.load(options.weights, weights_only=True))
    else:
        recipe = Recipe.from_scratch(options.epochs, 3e-3, optimizer="adamw", weight_decay=1e-3, **shared)
        show(train(model, (training, measured), recipe, **kept(options, "float")))

    teacher = copy.deepcopy(model)
    quantized = QuantTrainModule.from_calibrated(calibrate(model, DataLoader(whole, 4), max_images=options.calibration))
    recipe = Recipe(options.qat_epochs, distillation=options.distillation, **shared)
    show(train(quantized, (training, measured), recipe, teacher=teacher, **kept(options, "quantized")))


def data_sets(data: str) -> tuple[Dataset[Any], Dataset[Any], int, int]:
    """To train with, to validate with; classes, and the label that stands for none of them."""
    kind, _, folder = data.partition(":")
    if kind == "camvid":
        parts = camvid.CamVid(Path(folder), "train"), camvid.CamVid(Path(folder), "val")
        return (*parts, len(camvid.CLASSES), camvid.IGNORED)
    if kind == "cityscapes":
        return cityscapes(Path(folder), "train"), cityscapes(Path(folder), "val"), 19, CITYSCAPES_IGNORED
    raise SystemExit(f"--data {data}: write camvid:FOLDER or cityscapes:FOLDER.")


def show(result: TrainingResult) -> None:
    """Once, of several processes."""
    if PartialState().is_main_process:
        result.print()


def kept(options: argparse.Namespace, part: str) -> dict[str, Any]:
    return {} if options.output is None else {"output": options.output / part, "resume": True}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="camvid:FOLDER or cityscapes:FOLDER")
    parser.add_argument("--weights", type=Path, help="of the float network; trained if not given")
    parser.add_argument("--width", type=float, default=0.5, help="of the MobileNetV2")
    parser.add_argument("--crop", type=int, nargs=2, default=[192, 256], help="height and width to train on")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60, help="in float")
    parser.add_argument("--calibration", type=int, default=64, help="images to calibrate with")
    parser.add_argument("--qat-epochs", type=int, default=4, help="in fixed point")
    parser.add_argument("--distillation", type=float, default=1.0, help="part of the loss from the float model, 0 to 1")
    parser.add_argument("--epoch-size", type=float, default=1.0, help="part of the images for each epoch, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for checkpoints and weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
