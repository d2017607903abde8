"""One entry of a session's history."""

from dataclasses import dataclass

from qdiag.comparison.output_error import OutputError
from qdiag.errors import OptionError
from qdiag.quantization.quantized_model import QuantizedModel

_NAMES = ("calibrate", "what_if", "equalize", "QuantTrainModule", "Recipe", "Widths", "MacBudget", "train")


@dataclass(frozen=True)
class Version:
    """The model in fixed point, as one command left it.

    parent: the version that it was made from; "" for the float model. measured: its output beside the float model's, on
    the session's data; None where measuring was stopped, or failed. score: what the user's own `evaluate` gives. code:
    the lines that make it, those of its parents included; they name `model`, `images` to calibrate with and `training`
    images. title: what the user calls it, in place of its name; note: what they wrote beside it; is_pinned: whether it
    stands at the top.
    """

    name: str
    parent: str
    quantized: QuantizedModel
    measured: OutputError | None
    score: float | None
    code: tuple[str, ...]
    title: str = ""
    note: str = ""
    is_pinned: bool = False

    @property
    def called(self) -> str:
        """Its title, where it has one, else its name."""
        return self.title or self.name

    @property
    def output(self) -> OutputError:
        """What was measured. Raises OptionError where nothing was yet."""
        if self.measured is None:
            raise OptionError(
                f"{self.name!r} was not measured: that was stopped, or failed. Run diagnose(), which measures it.",
                code="not-measured",
            )
        return self.measured

    @property
    def script(self) -> str:
        """The lines of Python that make it, with what they import."""
        lines = "\n".join(self.code)
        names = ", ".join(name for name in sorted(_NAMES) if name in lines)
        imports = "import copy\n\n" if "copy." in lines else ""
        return f"{imports}from qdiag import {names}\n\n{lines}"
