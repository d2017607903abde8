"""What makes a version: its name, and the lines of Python."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qdiag.numerics.ranges.range import widening
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Bits

SHOWN = 2
"""Layers that the name of a version holds, at most."""
UNCHANGED = {"bits": "same", "per_channel": None, "octaves": 0}
"""What `what_if` leaves as it was."""


@dataclass(frozen=True)
class Change:
    """What a command makes of the version before, or of the float model: the new one's name, and lines of Python."""

    name: str
    code: tuple[str, ...]

    def after(self, code: tuple[str, ...]) -> "Change":
        """With the lines before it."""
        return Change(self.name, (*code, *self.code))


def calibrated(method: str | Sequence[str], bits: Bits | MacBudget, per_channel: PerChannelOption) -> Change:
    """A calibration of the float model.

    >>> calibrated("best", 16, "depthwise").name
    'best bits=16 per_channel="depthwise"'
    """
    options = [] if bits == 8 else [f"bits={bits!r}"]
    options += [] if per_channel is None else [f"per_channel={_quoted(per_channel)}"]
    name = " ".join([method if isinstance(method, str) else ", ".join(method), *options])
    return Change(name, (f"quantized = calibrate({', '.join(['model', 'images', _quoted(method), *options])})",))


def tried(layers: str | Sequence[str], **formats: Any) -> Change:
    """Other formats of some layers, as `what_if` takes them.

    >>> tried(["conv1", "conv2"], bits=16, per_channel=None, octaves=0)
    Change(name='conv1, conv2: 16-bit', code=('quantized = what_if(quantized, ["conv1", "conv2"], bits=16)',))
    """
    options = ", ".join(f"{name}={value!r}" for name, value in formats.items() if value != UNCHANGED[name])
    code = f"quantized = what_if(quantized, {_quoted(layers)}, {options})"
    return Change(f"{layers_in_words(layers)}: {formats_in_words(**formats)}", (code,))


def equalized(layers: str | Sequence[str]) -> Change:
    """Channels of some layers equalized."""
    return Change(
        f"{layers_in_words(layers)}: equalized", (f"quantized = equalize(quantized, images, {_quoted(layers)})",)
    )


def trained(name: str, recipe: dict[str, Any], *, learn_thresholds: bool) -> Change:
    """A training run. recipe: what differs from `Recipe()`.

    >>> trained("QAT-1", {"epochs": 3}, learn_thresholds=False).code[2]
    'train(trained, training, Recipe(epochs=3), teacher=teacher)'
    """
    options = ", learn_thresholds=True" if learn_thresholds else ""
    words = ", ".join(f"{option}={value!r}" for option, value in recipe.items())
    lines = (
        "teacher = copy.deepcopy(model)",
        f"trained = QuantTrainModule.from_calibrated(quantized{options})",
        f"train(trained, training, Recipe({words}), teacher=teacher)",
        "quantized = trained.eval().quantized",
    )
    return Change(name, lines)


def formats_in_words(*, bits: Any, per_channel: bool | None, octaves: int) -> str:
    """What a what-if changes, in a few words.

    >>> formats_in_words(bits=16, per_channel=True, octaves=-1)
    '16-bit, per-channel, ranges / 2'
    """
    words: list[str] = []
    if bits is None:
        words.append("in float")
    elif bits != "same":
        words.append(f"{bits}-bit" if isinstance(bits, int) else str(bits))
    if per_channel is not None:
        words.append("per-channel" if per_channel else "per-tensor")
    words += [f"ranges {widening(octaves)}"] if octaves else []
    return ", ".join(words)


def layers_in_words(layers: str | Sequence[str]) -> str:
    """Which layers, in a few words.

    >>> layers_in_words(["a", "b", "c", "d"]), layers_in_words("*")
    ('a, b and 2 more', 'all layers')
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    if names == ["*"]:
        return "all layers"
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _quoted(value: Any) -> str:
    r"""As Python writes it, in double quotes, whatever quotes a name has.

    >>> _quoted(["conv1", "it's"])
    '["conv1", "it\'s"]'
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        parts = ", ".join(map(_quoted, value))
        return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' if len(value) == 1 else ''})"
    return repr(value)
