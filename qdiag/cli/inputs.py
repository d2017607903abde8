"""From words on the command line to a model and its data."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from qdiag.errors import InputError, OptionError
from qdiag.images import ImageFolder, Preprocessing
from qdiag.weights import load_weights


@dataclass(frozen=True)
class Subject:
    """What a command works on. data: batches, or None where the user gave none."""

    model: nn.Module
    data: Any = None
    optimizer: torch.optim.Optimizer | None = None
    calibration: Any = None


def find(spec: str) -> Callable[..., Any]:
    """The function that `file.py:name` or `package.module:name` names.

    Raises OptionError where there is no such file, module or name.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise OptionError(f"{spec!r}: write file.py:function or package.module:function.")
    module = _module(place)
    if not hasattr(module, name):
        near = ", ".join(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        raise OptionError(f"{place} has no {name!r}. There are: {near[:300] or 'no functions'}.")
    found = getattr(module, name)
    if not callable(found):
        raise OptionError(f"{spec!r} is a {type(found).__name__}, not a function that returns a model.")
    function: Callable[..., Any] = found
    return function


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise OptionError(f"no module {error.name!r}. For a file, write its name with .py.") from error
    if not path.is_file():
        raise OptionError(f"there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path} cannot be loaded as Python.")
    sys.path.insert(0, str(path.parent.resolve()))  # the file's own neighbours, as when it is run
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def build(spec: str, arguments: Sequence[str] = (), weights: Path | None = None, device: str = "cpu") -> Subject:
    """Call the function with name=value arguments. It returns a model, (model, data) or (model, data, optimizer)."""
    function = find(spec)
    options = dict(_pair(argument) for argument in arguments)
    made = function(**options)
    parts = made if isinstance(made, tuple) else (made,)
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > 3:
        raise OptionError(
            f"{spec!r} returned a {type(made).__name__}. It should return a model, (model, data) or "
            "(model, data, optimizer)."
        )
    subject = Subject(*parts)
    if weights is not None:
        sys.stderr.write(f"{load_weights(subject.model, weights)}\n")
    try:
        subject.model.to(device)
    except RuntimeError as error:
        raise OptionError(f"device {device!r}: {error}") from error
    return subject


def _pair(argument: str) -> tuple[str, Any]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise OptionError(f"argument {argument!r}: write name=value.")
    words = {"true": True, "false": False, "none": None}
    for convert in (int, float):
        try:
            return name, convert(value)
        except ValueError:
            continue
    return name, words.get(value.lower(), value)


def random_images(shape: str, batch_size: int = 2) -> list[torch.Tensor]:
    """Images of noise, for what does not depend on what is on them. shape: N,C,H,W."""
    try:
        sizes = [int(size) for size in shape.split(",")]
        if not sizes or min(sizes) < 1:
            raise ValueError(shape)
    except ValueError:
        raise OptionError(f"--input {shape!r}: write the shape of one batch, as 1,3,224,224.") from None
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(sizes, generator=generator).split(batch_size))


def load_data(spec: str) -> Any:
    """What the function that `file.py:name` names returns, or the object itself where it is data already."""
    function = find(spec)
    data = function() if not inspect.isclass(function) else function
    if data is None:
        raise InputError(f"{spec!r} returned nothing. It should return a DataLoader or a list of batches.")
    return data


def folder_data(folder: Path, preprocessing: Preprocessing, limit: int | None, batch_size: int) -> Any:
    """Batches from a folder of images."""
    return ImageFolder(folder, preprocessing, limit).loader(batch_size)
