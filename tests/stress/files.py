"""Damaged files: what is written is cut, flipped, overwritten, and its fields deleted or made something else."""

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.errors import QdiagError
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from qdiag.weights import load_weights, read_checkpoint
from qdiag.workbench.session import Session
from tests.models import settle

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(2))
WAY = ("equalization", "gptq", "bias-correction")
RECIPE = Recipe(epochs=1, batch_size=4)


def net() -> nn.Module:
    """The same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(48, 3))
        return settle(nn.Sequential(*layers), IMAGES).eval()


@dataclass(frozen=True)
class Kind:
    """A kind of file. make: writes one into a folder, and gives its path. use: reads it; what comes out of it."""

    name: str
    make: Callable[[Path], Path]
    use: Callable[[Path], Any]


def _quantized(folder: Path) -> Path:
    torch.save(calibrate(net(), IMAGES, WAY).state_dict(), folder / "calibrated.pt")
    return folder / "calibrated.pt"


def _use_quantized(path: Path) -> Any:
    wrapped = QuantTestModule(net(), IMAGES)
    state: Any = read_checkpoint(path)
    try:
        wrapped.load_state_dict(state)
    except (RuntimeError, TypeError) as error:  # torch's own words for names, shapes and types that do not fit
        raise Refused from error
    return wrapped(IMAGES), wrapped.quantized.get_extra_state()


def _weights(folder: Path) -> Path:
    torch.save(net().state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def _use_weights(path: Path) -> Any:
    model = net()
    load_weights(model, path, strict=True)
    return model(IMAGES)


def _calibration(folder: Path) -> Path:
    calibrate(net(), IMAGES, WAY, checkpoint=folder / "run.pt")
    return folder / "run.pt"


def _use_calibration(path: Path) -> Any:
    found = calibrate(net(), IMAGES, WAY, checkpoint=path)
    return found(IMAGES), found.get_extra_state()


def _training(folder: Path) -> Path:
    module = QuantTrainModule.from_calibrated(calibrate(net(), IMAGES, "simple"))
    train(module, IMAGES, RECIPE, output=folder / "run")
    return folder / "run" / "checkpoint.pt"


def _use_training(path: Path) -> Any:
    module = QuantTrainModule.from_calibrated(calibrate(net(), IMAGES, "simple"))
    result = train(module, IMAGES, RECIPE, output=path.parent, resume=True)
    return module.eval()(IMAGES), module.get_extra_state(), result.to_pandas("epochs").to_dict()


def _session(folder: Path) -> Path:
    session = Session(net(), [IMAGES], calibration_data=IMAGES, folder=folder)
    session.calibrate("simple")
    session.calibrate(WAY)
    return next(folder.rglob("session.pt"))


def _use_session(path: Path) -> Any:
    session = Session(net(), [IMAGES], calibration_data=IMAGES, folder=path.parents[2])
    session.restore(path.parent.name)
    versions = [
        (version.name, version.parent, version.quantized(IMAGES), version.measured, version.score, version.code)
        for version in session.history.values()
    ]
    return (
        versions,
        list(session.history.applied),
        [one.quantized.get_extra_state() for one in session.history.values()],
    )


KINDS = (
    Kind("quantized model", _quantized, _use_quantized),
    Kind("weights", _weights, _use_weights),
    Kind("checkpoint of a calibration", _calibration, _use_calibration),
    Kind("checkpoint of a training run", _training, _use_training),
    Kind("session", _session, _use_session),
)


class Refused(Exception):
    """An error that the user is meant to see, of torch's own `load_state_dict`."""


@dataclass(frozen=True)
class Prepared:
    """A file that is whole, with what comes out of it."""

    kind: Kind
    path: Path
    whole: bytes
    expected: Any


def prepared(kind: Kind, folder: Path) -> Prepared:
    path = kind.make(folder)
    whole = path.read_bytes()
    expected = kind.use(path)
    path.write_bytes(whole)
    return Prepared(kind, path, whole, expected)


def attack(file: Prepared, seed: int) -> str:
    """Damage it and read it: "refused", or "same" where what comes out is what was put in.

    Raises AssertionError for another result, and for an error that is none of the library's.
    """
    draws = random.Random(seed)
    name, damage = draws.choice(DAMAGES)
    for beside in file.path.parent.glob("*.csv"):
        beside.unlink()
    try:
        file.path.write_bytes(file.whole)
        told = damage(file.path, draws)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = file.kind.use(file.path)
    except (QdiagError, Refused):
        return "refused"
    except Exception as error:
        raise AssertionError(
            f"{file.kind.name}, seed {seed}: {name} {told}: {type(error).__name__}: {error}"
        ) from error
    finally:
        file.path.write_bytes(file.whole)
    assert same(found, file.expected), f"{file.kind.name}, seed {seed}: {name} {told}: taken for whole"
    return "same"


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, in containers of any form."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        is_tensor = isinstance(one, Tensor) and isinstance(other, Tensor) and one.dtype == other.dtype
        return is_tensor and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


# Bytes ----------------------------------------------------------------------------------------------------------------


def _truncate(path: Path, draws: random.Random) -> str:
    left = draws.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:left])
    return f"to {left}"


def _flip(path: Path, draws: random.Random) -> str:
    whole = bytearray(path.read_bytes())
    place, bit = draws.randrange(len(whole)), draws.randrange(8)
    whole[place] ^= 1 << bit
    path.write_bytes(whole)
    return f"bit {bit} of byte {place}"


def _blank(path: Path, draws: random.Random) -> str:
    whole = bytearray(path.read_bytes())
    length = min(len(whole), draws.choice((16, 512, 4096)))
    place = draws.randrange(len(whole) - length + 1)
    whole[place : place + length] = bytes(length)
    path.write_bytes(whole)
    return f"{length} bytes at {place}"


def _swap(path: Path, draws: random.Random) -> str:
    whole = bytearray(path.read_bytes())
    a, b = (draws.randrange(len(whole) - 64) for _ in range(2))
    whole[a : a + 64], whole[b : b + 64] = whole[b : b + 64], whole[a : a + 64]
    path.write_bytes(whole)
    return f"64 bytes at {a} and {b}"


# Fields ---------------------------------------------------------------------------------------------------------------


def _delete(path: Path, draws: random.Random) -> str:
    return _changed(path, draws, lambda holder, key: holder.pop(key), list | dict)


def _retype(path: Path, draws: random.Random) -> str:
    def change(holder: Any, key: Any) -> None:
        holder[key] = _of_another_kind(holder[key], draws)

    return _changed(path, draws, change, list | dict)


def _changed(path: Path, draws: random.Random, change: Callable[[Any, Any], object], holders: Any) -> str:
    """A field of the file, somewhere in it, changed; check sums are those of the changed file."""
    contents = _unlocked(torch.load(path, weights_only=True))
    places = [(way, holder, key) for way, holder, key in _fields(contents) if isinstance(holder, holders)]
    way, holder, key = draws.choice(places)
    before = repr(holder[key])[:40]
    change(holder, key)
    after = repr(holder[key])[:40] if (isinstance(holder, dict) and key in holder) else ""
    torch.save(contents, path)
    return f"{way} = {before} -> {after}"


def _unlocked(tree: Any) -> Any:
    """Tuples as lists, so that each field can be changed."""
    if isinstance(tree, dict):
        return type(tree)((key, _unlocked(value)) for key, value in tree.items())
    if isinstance(tree, list | tuple):
        return [_unlocked(value) for value in tree]
    return copy.deepcopy(tree)


def _fields(tree: Any, way: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where each field stands: its holder, and the key in it."""
    pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in pairs:
        yield f"{way}[{key!r}]", tree, key
        yield from _fields(value, f"{way}[{key!r}]")


def _of_another_kind(value: Any, draws: random.Random) -> Any:
    """Something that does not belong in the place of this."""
    if isinstance(value, Tensor):
        shorter = value.reshape(-1)[:-1].clone()
        return draws.choice([shorter, None, "text", value.tolist()])
    if isinstance(value, bool) or value is None:
        return draws.choice(["yes", [1], {"a": 1}])
    if isinstance(value, int | float):
        return draws.choice([None, str(value), [value], float("nan"), {"a": value}])
    if isinstance(value, str):
        return draws.choice([None, 3, [value], value.encode()])
    return draws.choice([None, 7, "text", float("inf")])


Damage = Callable[[Path, random.Random], str]
DAMAGES: tuple[tuple[str, Damage], ...] = (
    ("truncated", _truncate),
    ("flipped", _flip),
    ("flipped", _flip),
    ("blanked", _blank),
    ("swapped", _swap),
    ("deleted", _delete),
    ("retyped", _retype),
    ("retyped", _retype),
)
