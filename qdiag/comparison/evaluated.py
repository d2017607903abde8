"""The user's own function, called with a model: each time with the same draws, and what it gives is looked at."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, SupportsFloat, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError, QdiagError
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Evaluate
from qdiag.tracing.random_state import kept_random_state

SAME = 0.01
"""Of the figure: so near to it comes what it would be with each image taken once."""

FLOAT = "the float model in eval mode: run it with that by itself"
VERSION = (
    "a version in fixed point, which is called as the model is. Take attributes from its .module, or from the model "
    "outside the function"
)


@runtime_checkable
class ByImage(Protocol):
    """What an `evaluate` may give in place of a number: a figure that knows what it would be on other images.

    images: how many it is of.
    """

    images: int

    def __float__(self) -> float:
        """The figure."""
        ...

    def on(self, counts: Float[Tensor, "draws images"]) -> Float[Tensor, " draws"]:
        """What it would be with each image taken so many times."""
        ...


@dataclass(frozen=True)
class Evaluated:
    """A figure. was_called: False where the function gave it without a call of the version that it was given."""

    figure: SupportsFloat
    was_called: bool


def evaluated(evaluate: Evaluate, model: nn.Module) -> Evaluated:
    """The user's figure of a model: what is drawn at random meanwhile is the same for every model.

    Raises ModelError where the function raises, OptionError where it gives no number.
    """
    is_version = isinstance(model, QuantizedModel)
    with kept_random_state(), _calls(model) as calls:
        try:
            found = evaluate(model)
        except QdiagError:
            raise
        except Exception as error:
            raise ModelError(
                f"evaluate raised {type(error).__name__}: {error}. It was given {VERSION if is_version else FLOAT}.",
                code="user-code-raised",
            ) from error
    return Evaluated(as_figure(found), bool(calls) or not is_version)


@contextmanager
def _calls(model: nn.Module) -> Iterator[list[str]]:
    """One entry for each call of a version, of copies too; a model of the user's is not watched."""
    calls: list[str] = []
    with ExitStack() as stack:
        if isinstance(model, QuantizedModel):
            stack.callback(model.register_forward_pre_hook(lambda *_: calls.append("")).remove)
        yield calls


def as_figure(found: Any) -> SupportsFloat:
    """What an `evaluate` gave, as a number or as a figure by image. Raises OptionError for anything else."""
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.item()
    try:
        number = float(found)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"evaluate gave {_told(found)}, which is no number. Let it return one figure, the higher the better.",
            code="option-value",
        ) from error
    if not isinstance(found, ByImage):
        return number
    if not isinstance(found.images, int) or found.images < 1:
        raise OptionError(
            f"the figure that evaluate gave is of images={found.images!r}: how many images it is of, as an integer.",
            code="option-value",
        )
    once = float(drawn(found, torch.ones(1, found.images, dtype=torch.float64)))
    if abs(once - number) > SAME * abs(number):
        raise OptionError(
            f"evaluate gave {number:.4g}, and its on(counts) {once:.4g} for each image taken once. Both are the same "
            "figure in the same unit.",
            code="option-value",
        )
    return found


def drawn(figure: ByImage, counts: Float[Tensor, "draws images"]) -> Float[Tensor, " draws"]:
    """The figure on each draw. Raises ModelError where its function raises, OptionError for another shape."""
    try:
        found = torch.as_tensor(figure.on(counts), dtype=torch.float64).detach().cpu()
    except Exception as error:
        raise ModelError(
            f"on(counts) of the figure that evaluate gave raised {type(error).__name__}: {error}. It was given counts "
            f"{list(counts.shape)}, one row for each draw and one column for each image.",
            code="user-code-raised",
        ) from error
    if found.shape != counts.shape[:1]:
        raise OptionError(
            f"on(counts) of the figure that evaluate gave is {list(found.shape)} for counts {list(counts.shape)}: "
            f"{list(counts.shape[:1])} would fit, one figure for each draw.",
            code="option-value",
        )
    return found


def _told(found: Any) -> str:
    shape = f" of shape {list(found.shape)}" if isinstance(found, Tensor | np.ndarray) else ""
    return f"{found!r}" if found is None else f"a {type(found).__name__}{shape}"
