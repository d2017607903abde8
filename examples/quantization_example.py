"""A plain training loop in PyTorch, and the three lines that make it quantization-aware.

    python examples/quantization_example.py

Handwritten digits; a quarter of a minute on two CPU cores. The network is the demo's as found in the wild, which works
in float and loses 14 points in 8 bit. `qdiag.train` is such a loop too, with checkpoints, validation and more.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from qdiag import QuantTestModule, QuantTrainModule
from qdiag.demo.digits import digits, digits_loader
from qdiag.demo.load import wild_net


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    epochs = parser.parse_args(arguments).epochs

    torch.manual_seed(0)
    model: nn.Module = wild_net()
    print(f"float:             {accuracy(model):.1f} %")

    model = QuantTrainModule(model, digits()[0][:2])  # 1: wrap; model.module is still your own
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5)
    for epoch in range(epochs):
        model.train()
        if epoch == epochs // 2:
            model.freeze_norms().freeze_ranges()  # 2: for the second half
        for images, labels in digits_loader("train", shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        print(f"8-bit, epoch {epoch + 1}:    {accuracy(model):.1f} %")

    trained = QuantTestModule(wild_net(), digits()[0][:2])  # 3: what was saved, ready for inference and export
    trained.load_state_dict(model.state_dict())
    print(f"8-bit, loaded:     {accuracy(trained):.1f} %")


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Percent of the test images whose largest logit is the right one."""
    images, labels = digits("test")
    return 100 * (model.eval()(images).argmax(dim=1) == labels).float().mean().item()


if __name__ == "__main__":
    main()
