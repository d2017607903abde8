"""Trains the demo's two networks on handwritten digits, and writes the weights that qdiag ships.

    python examples/train_digits.py

Takes half a minute on two CPU cores. Seeded: on one machine, a second run gives the same weights up to float noise.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import trange

import qdiag.demo
from qdiag.demo.digits import digits, digits_loader
from qdiag.demo.networks import HealthyNet, WildNet
from qdiag.demo.recipes import LEARNING_RATE, healthy_optimizer, wild_optimizer
from qdiag.demo.stretch import stretch_wild

SEED = 1
PACKAGED_WEIGHTS = Path(qdiag.demo.__file__).parent / "weights"


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    healthy = HealthyNet()
    train(healthy, healthy_optimizer(healthy), options.epochs, "healthy")
    save(healthy, options.out / "healthy.pt")

    torch.manual_seed(SEED)
    wild = WildNet()
    train(wild, wild_optimizer(wild), options.epochs, "wild")
    stretch_wild(wild)
    save(wild, options.out / "wild.pt")


def train(model: nn.Module, optimizer: Optimizer, epochs: int, name: str) -> None:
    """Trains in place, at a learning rate that rises and falls once."""
    loader = digits_loader("train", shuffle=True)
    schedule = OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=epochs * len(loader))
    model.train()
    for _ in trange(epochs, desc=name, unit="epoch"):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()


def save(model: nn.Module, path: Path) -> None:
    torch.save(model.state_dict(), path)
    print(f"{path.name}: float accuracy {accuracy(model):.1%}, {path.stat().st_size / 1000:.0f} kB")


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Share of the test images whose largest logit is the right one."""
    images, labels = digits("test")
    return (model.eval()(images).argmax(dim=1) == labels).float().mean().item()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=PACKAGED_WEIGHTS, help="folder for the weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
