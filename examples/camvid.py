"""CamVid segmentation: a small DeepLabV3+ on MobileNetV2, trained in float.

    python examples/camvid.py --data DATA --weights camvid.pt [--epochs 90] [--output camvid.onnx]

DATA holds train/, trainannot/, test/ and testannot/: images, and class indices 0 to 10 as PNG, 11 for what is ignored.
Half an hour on two cores. `examples/calibration_results.py --parts camvid` measures what 8 bit makes of it.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation
from torchvision.transforms.functional import pil_to_tensor

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
IGNORED = 11
MEAN, STD = torch.tensor([0.41, 0.42, 0.43]), torch.tensor([0.31, 0.31, 0.31])
LOW_LEVEL, HIGH_LEVEL = 3, 17
"""MobileNetV2's blocks whose features the decoder takes: at a quarter, and at a sixteenth of the image's size."""


class CamVid(Dataset[tuple[Tensor, Tensor]]):
    """A part of CamVid: images [3, H, W], normalised, and labels [H, W]."""

    def __init__(self, folder: Path, part: str):
        self.images = sorted((folder / part).iterdir())
        self.labels = [folder / f"{part}annot" / f"{image.stem}.png" for image in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = pil_to_tensor(Image.open(self.images[index]).convert("RGB")) / 255
        label = pil_to_tensor(Image.open(self.labels[index]))[0].long()
        return (image - MEAN[:, None, None]) / STD[:, None, None], label

    def all(self) -> tuple[Tensor, Tensor]:
        images, labels = zip(*(self[index] for index in range(len(self))), strict=True)
        return torch.stack(images), torch.stack(labels)


class DeepLab(nn.Module):
    """DeepLabV3+ (arXiv:1802.02611) on MobileNetV2, at an output stride of 16. width: of the backbone."""

    def __init__(self, classes: int = len(CLASSES), width: float = 0.5):
        super().__init__()
        self.backbone = mobilenet_v2(width_mult=width).features[: HIGH_LEVEL + 1]
        for block in list(self.backbone)[14:]:
            _dilate(block)
        low, high = (_channels(self.backbone[index]) for index in (LOW_LEVEL, HIGH_LEVEL))
        self.branches = nn.ModuleList(
            Conv2dNormActivation(high, 64, kernel_size, dilation=dilation)
            for kernel_size, dilation in ((1, 1), (3, 3), (3, 6))
        )
        self.project = Conv2dNormActivation(3 * 64, 64, 1)
        self.low = Conv2dNormActivation(low, 24, 1)
        self.decode = Conv2dNormActivation(64 + 24, 64, 3)
        self.classify = nn.Conv2d(64, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images: [N, 3, H, W]. Gives scores [N, classes, H, W]."""
        x = images
        for index, block in enumerate(self.backbone):
            x = block(x)
            if index == LOW_LEVEL:
                low = self.low(x)
        x = self.project(torch.cat([branch(x) for branch in self.branches], 1))
        x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=False)
        x = self.classify(self.decode(torch.cat([x, low], 1)))
        return F.interpolate(x, images.shape[2:], mode="bilinear", align_corners=False)


def _channels(block: nn.Module) -> int:
    assert isinstance(block, InvertedResidual)
    return int(block.out_channels)


def _dilate(block: nn.Module) -> None:
    """Look at every second position in place of going to half the size."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.stride, module.dilation, module.padding = (1, 1), (2, 2), (2, 2)


def confusion(scores: Tensor, labels: Tensor, ignored: int = IGNORED) -> Tensor:
    """[classes, classes] counts of pixels, by label and by decision. scores: [N, classes, H, W]; labels: [N, H, W]."""
    counts: Tensor = multiclass_confusion_matrix(
        scores.argmax(1), labels, num_classes=scores.shape[1], ignore_index=ignored
    )
    return counts


def mean_iou_percent(confusion: Tensor) -> Tensor:
    """Of counts [..., classes, classes]: the mean of intersection over union, over classes that occur."""
    both = confusion.diagonal(dim1=-2, dim2=-1).double()
    union = confusion.sum(-1) + confusion.sum(-2) - both
    return 100 * (both / union).nanmean(-1)


def iou_drop(reference: Tensor, version: Tensor, draws: int = 1000) -> tuple[float, float, float]:
    """Points of mean IoU that a version loses, and a 95 % interval by bootstrap over images.

    Both are counts [images, classes, classes] of the same images.
    """
    again = torch.randint(0, len(reference), (draws, len(reference)), generator=torch.Generator().manual_seed(0))
    float_means, means = (
        torch.stack([mean_iou_percent(one[rows].sum(0)) for rows in again]) for one in (reference, version)
    )
    low, high = (float_means - means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(mean_iou_percent(reference.sum(0)) - mean_iou_percent(version.sum(0))), low, high


def train(model: nn.Module, data: CamVid, epochs: int, crop: tuple[int, int] = (192, 256), batch_size: int = 8) -> None:
    """In float, on random crops of randomly scaled and mirrored images; rare classes count more."""
    images, labels = data.all()
    shares = torch.bincount(labels.flatten(), minlength=IGNORED + 1)[:IGNORED].float()
    weights = 1 / torch.log(1.1 + shares / shares.sum())
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-3)
    steps = epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images))[: steps // epochs * batch_size].split(batch_size):
            x, y = cut_out(images[chosen], labels[chosen], crop)
            loss = F.cross_entropy(model(x), y, weights, ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1} of {epochs}: loss {total / (steps // epochs):.3f}", flush=True)


def cut_out(images: Tensor, labels: Tensor, crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A part of that size of images [N, 3, H, W] and labels [N, H, W], zoomed and mirrored, all at random."""
    zoom = float(torch.empty(1).uniform_(0.6, 1.5))
    height, width = (min(round(side / zoom), whole) for side, whole in zip(crop, images.shape[2:], strict=True))
    top = int(torch.randint(0, images.shape[2] - height + 1, ()))
    left = int(torch.randint(0, images.shape[3] - width + 1, ()))
    x = F.interpolate(images[..., top : top + height, left : left + width], crop, mode="bilinear", antialias=True)
    y = F.interpolate(labels[:, None, top : top + height, left : left + width].float(), crop)[:, 0].long()
    return (x.flip(-1), y.flip(-1)) if torch.rand(()) < 0.5 else (x, y)


def trained(data: Path, weights: Path, epochs: int) -> DeepLab:
    """The network with weights from a file; where there is none, it is trained, and they are written there."""
    torch.manual_seed(0)
    model = DeepLab()
    if weights.is_file():
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    else:
        print(f"{weights} is not there: {epochs} epochs of training write it.", flush=True)
        train(model.to(memory_format=torch.channels_last), CamVid(data, "train"), epochs)
        torch.save(model.state_dict(), weights)
    return model.eval()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("camvid.pt"))
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--output", type=Path, help="also write the network as an ONNX file, for one image")
    options = parser.parse_args()
    with torch.enable_grad():
        model = trained(options.data, options.weights, options.epochs)
    if options.output is not None:
        image = CamVid(options.data, "test")[0][0][None]
        torch.onnx.export(model, (image,), options.output, opset_version=18, dynamo=True, verbose=False)
    test = CamVid(options.data, "test")
    counts = sum(confusion(model(image[None]), label[None]) for image, label in (test[i] for i in range(len(test))))
    print(f"{len(test)} test images: mean IoU {float(mean_iou_percent(torch.as_tensor(counts))):.2f} %")


if __name__ == "__main__":
    main()
