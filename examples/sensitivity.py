"""How well the fast sensitivity follows the exact one, and what the two cost: docs/reading_results.md.

Run `python examples/sensitivity.py`, or with names of torchvision's architectures.
"""

import sys
from collections.abc import Callable, Sequence

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import qdiag

NETWORKS = ("resnet18", "mobilenet_v2", "regnet_y_400mf")


def main(names: Sequence[str]) -> None:
    """Print a line for the demo, and for each architecture."""
    demo = qdiag.load_demo("wild")
    report("demo", demo.model, torch.cat([images for images, _ in list(demo.loader)[:2]]))
    for name in names:
        torch.manual_seed(0)
        model, images = getattr(torchvision.models, name)(num_classes=10), torch.randn(16, 3, 64, 64)
        report(name, settled(model, images), images)


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """With statistics of these images in its BatchNorms, and scales and shifts that are not one and zero."""
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def report(name: str, model: nn.Module, images: Tensor) -> None:
    """Both methods in the same formats, on the same images."""
    quantized, found = qdiag.calibrate(model, images, "simple"), []
    one = operations(lambda: model(images))
    exact = operations(lambda: found.append(qdiag.sensitivity(quantized, images, "exact")))
    fast = operations(lambda: found.append(qdiag.sensitivity(quantized, images, "fast")))
    order = spearman(*[[layer.noise or 0.0 for layer in result.layers] for result in found])
    layers = len(found[0].layers)
    print(
        f"{name}: {layers} layers, Spearman {order:.3f}, {exact / one / layers:.2f} forwards a layer, {fast / one:.1f}"
    )


def operations(work: Callable[[], object]) -> int:
    """Multiplications, those of passes back too."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of ranks."""
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


if __name__ == "__main__":
    main(sys.argv[1:] or NETWORKS)
