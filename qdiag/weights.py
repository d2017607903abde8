"""Loading a checkpoint into a model, with an account of what fitted and what did not.

May import: tensor_files, mask_folder and below.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError
from qdiag.tensor_files import read_file

Weights = str | os.PathLike[str] | Mapping[str, object]

ENVELOPES = ("state_dict", "model")  # keys under which training scripts keep the state_dict
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and DDP, and torch.compile, put before every name


def load_weights(model: nn.Module, weights: Weights, *, strict: bool = False) -> "LoadedWeights":
    """Loads into `model` every tensor of a checkpoint that fits by name and shape, and says what was left.

    A model that quietly kept half of its random weights looks like a quantization problem later; hence the account.

    Args:
        model: Takes the tensors.
        weights: A file's path, a state_dict, or a dict that holds one under "state_dict" or "model". A wrapper's prefix
            ("module.", "_orig_mod.") is looked through, on either side. Files are read with `weights_only=True`, and
            met with their check sums.
        strict: Raise unless everything fits; the model is then left as it was.

    Raises:
        InputError: When the file is missing, damaged, or cannot be read.
        OptionError: When `weights` holds no tensors.
        ModelError: When nothing fits; with `strict`, unless everything does.

    >>> import torch
    >>> model = nn.Linear(2, 1)
    >>> print(load_weights(model, {"module.weight": torch.ones(1, 2), "head.bias": torch.ones(1)}))
    Loaded 1 of the model's 2 tensors.
    Missing, kept as they were: bias
    Unexpected, not used: head.bias
    """
    given = _tensors_of(weights)
    own = _only_tensors(model.state_dict())
    own_by_bare_name = {_bare(name): name for name in own}

    fitting: dict[str, Tensor] = {}
    unexpected: list[str] = []
    mismatched: list[ShapeMismatch] = []
    for name, tensor in given.items():
        target = name if name in own else own_by_bare_name.get(_bare(name))
        if target is None:
            unexpected.append(name)
        elif own[target].shape != tensor.shape:
            mismatched.append(ShapeMismatch(target, tuple(own[target].shape), tuple(tensor.shape)))
        else:
            fitting[target] = tensor

    met = {*fitting, *(mismatch.name for mismatch in mismatched)}
    result = LoadedWeights(
        loaded=tuple(name for name in own if name in fitting),
        missing=tuple(name for name in own if name not in met),
        unexpected=tuple(unexpected),
        mismatched=tuple(mismatched),
    )
    if not fitting:
        raise ModelError(
            f"No tensor of the checkpoint fits this model; is it another model's?\n{result}", code="other-model"
        )
    if strict and not result.complete:
        raise ModelError(
            f"The checkpoint does not fit this model, and strict=True asks that it does.\n{result}", code="other-model"
        )
    model.load_state_dict(fitting, strict=False)
    return result


@dataclass(frozen=True)
class ShapeMismatch:
    """A tensor that the model and the checkpoint both have, in different shapes."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} (model {list(self.expected)}, checkpoint {list(self.found)})"


@dataclass(frozen=True)
class LoadedWeights:
    """What became of each tensor of the model and of the checkpoint.

    Attributes:
        loaded: The model's own names, in its order.
        missing: The same of tensors that kept the value they had.
        unexpected: The checkpoint's names of tensors that the model has no place for.
        mismatched: Tensors found under the right name in another shape; the model kept its own.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[ShapeMismatch, ...]

    @property
    def complete(self) -> bool:
        """True where every tensor of the model was loaded and none of the checkpoint was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        groups = {
            "Missing, kept as they were": self.missing,
            "Unexpected, not used": self.unexpected,
            "Of another shape, kept as they were": [str(mismatch) for mismatch in self.mismatched],
        }
        lines = [f"{heading}: {_shortened(names)}" for heading, names in groups.items() if names]
        return "\n".join([f"Loaded {len(self.loaded)} of the model's {total} tensors.", *lines])


def _tensors_of(weights: Weights) -> dict[str, Tensor]:
    """The checkpoint's named tensors, taken out of their file and their envelope."""
    content = weights if isinstance(weights, Mapping) else read_checkpoint(weights)
    if isinstance(content, Mapping):
        envelopes = (content[key] for key in ENVELOPES if isinstance(content.get(key), Mapping))
        tensors = _only_tensors(next(envelopes, content))
        if tensors:
            return tensors
    raise OptionError(
        "The checkpoint holds no named tensors. Pass a state_dict, a dict with one under "
        f"{' or '.join(map(repr, ENVELOPES))}, or the path of a file with either in it.",
        code="no-weights",
    )


def read_checkpoint(path: str | os.PathLike[str]) -> object:
    """What a file of tensors holds. Raises InputError where it is missing, damaged, or cannot be read."""
    if not isinstance(path, str | os.PathLike):
        raise OptionError(
            f"Weights come as a path or a dict, not as {type(path).__name__}. Try model.state_dict().",
            code="no-weights",
        )
    return read_file(
        path,
        "cannot be read as a file of tensors",
        "Where it holds whole objects, save it again with torch.save(model.state_dict(), path).",
        classes=[argparse.Namespace],  # torchvision's scripts keep their options so
    )


def _only_tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    """The name without the prefixes of wrappers around the model."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _shortened(names: Sequence[str], limit: int = 8) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
