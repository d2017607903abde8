"""The demo, ready to be diagnosed: a trained network, its optimizer and its data."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from qdiag.demo.digits import digits_loader
from qdiag.demo.networks import HealthyNet, WildNet
from qdiag.demo.recipes import healthy_optimizer, wild_optimizer
from qdiag.errors import OptionError
from qdiag.tensor_files import read_tensors

DemoKind = Literal["wild", "healthy"]
Net = TypeVar("Net", bound=nn.Module)


def load_demo(kind: DemoKind = "wild") -> "Demo":
    """One of the two demo networks with all that a diagnosis asks for.

    Args:
        kind: "wild", with five faults as they are found in the wild, or "healthy".

    Raises:
        OptionError: For another kind.

    >>> demo = load_demo("wild")
    >>> demo.model.training, len(demo.loader.dataset), len(demo.calibration_loader.dataset)
    (False, 500, 128)
    """
    if kind == "wild":
        model: nn.Module = wild_net()
        optimizer = wild_optimizer(model)
        description = "as found in the wild: works in float, loses accuracy in 8 bits"
    elif kind == "healthy":
        model = healthy_net()
        optimizer = healthy_optimizer(model)
        description = "built and trained in a way that quantizes"
    else:
        raise OptionError(f"No demo {kind!r}. Use 'wild' or 'healthy'.", code="unknown-name")
    return Demo(
        model=model,
        optimizer=optimizer,
        loader=digits_loader("test"),
        calibration_loader=digits_loader("calibration"),
        training_loader=digits_loader("train", shuffle=True),
        name=f"digits-{kind}",
        description=f"Depthwise network for handwritten digits, {description}.",
    )


@dataclass(frozen=True)
class Demo:
    """A network with its training recipe and its data.

    Attributes:
        model: Trained, in eval mode.
        optimizer: As the network was trained with; lint reads its parameter groups.
        loader: Batches of (images, labels) to measure with.
        calibration_loader: The same to calibrate with.
        training_loader: The same to train with.
        name: As "digits-wild".
        description: In a sentence.
    """

    model: nn.Module
    optimizer: Optimizer
    loader: DataLoader[tuple[Tensor, ...]]
    calibration_loader: DataLoader[tuple[Tensor, ...]]
    training_loader: DataLoader[tuple[Tensor, ...]]
    name: str
    description: str


def wild_net() -> WildNet:
    """The trained `WildNet`, in eval mode."""
    return _trained(WildNet(), "wild.pt")


def healthy_net() -> HealthyNet:
    """The trained `HealthyNet`, in eval mode."""
    return _trained(HealthyNet(), "healthy.pt")


def _trained(net: Net, file: str) -> Net:
    with as_file(files("qdiag.demo") / "weights" / file) as path:
        net.load_state_dict(read_tensors(path, "file of the demo's weights"))
    return net.eval()
