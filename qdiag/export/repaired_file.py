"""What `repair_file` returns."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qdiag.report.cells import Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Callout, Fact, Facts, Report
from qdiag.report.table import Column, Table


@dataclass(frozen=True)
class ChangedTensor:
    """A constant of the file that has other values than before.

    Attributes:
        name: In the file.
        shape: Of it.
        largest_change: The largest difference of a value from what it was; from 0 where the constant is new.
        largest_change_percent: The same as a part of the largest value that the constant had; None for a new one.
        layer: The address of the layer that it belongs to.
        role: weight, bias, or a BatchNormalization's scale, offset or mean.
        is_new: True where the file had no such constant.
        why: The techniques that changed it.
    """

    name: str
    shape: tuple[int, ...]
    largest_change: float
    largest_change_percent: float | None
    layer: str
    role: str
    is_new: bool
    why: str


@dataclass(frozen=True, repr=False)
class RepairedFile(Displayable):
    """An ONNX file in float with calibration's weights in it, and what is different from the file before.

    Attributes:
        path: The file.
        source: The file that it was made from.
        changes: By constant, in the order of the forward.
        output_difference: Between the file in ONNX Runtime and the repaired model here, as a part of the largest
            output.
    """

    path: Path
    source: Path
    changes: tuple[ChangedTensor, ...]
    output_difference: float

    def report(self) -> Report:
        """A callout, the counts, and every constant that changed."""
        facts = Facts(
            (
                Fact("constants changed", sum(not each.is_new for each in self.changes)),
                Fact("constants added", sum(each.is_new for each in self.changes)),
                Fact("layers", len({each.layer for each in self.changes})),
                Fact("largest difference of an output", 100 * self.output_difference, "%", ".4f"),
            )
        )
        data = asdict(self) | {"path": str(self.path), "source": str(self.source)}
        return Report(f"{self.path.name}, repaired", (_callout(self), facts, _table(self.changes)), "repaired", data)


def _callout(file: RepairedFile) -> Callout:
    if not file.changes:
        return Callout("note", "Nothing was changed.", f"The calibration has no weights other than {file.source.name}.")
    layers = len({each.layer for each in file.changes})
    return Callout(
        "ok",
        f"{file.path.name} is {file.source.name} with other weights in {layers} of its layers.",
        "It is in float, under the same names, and computes in ONNX Runtime what the repaired model computes here.",
    )


def _table(changes: Sequence[ChangedTensor]) -> Table:
    columns = (
        Column("name", "constant"),
        Column("role", "is a"),
        Column("layer", "layer"),
        Column("shape", "shape"),
        Column("largest_change", "largest change", align="right", format=".3g"),
        Column("largest_change_percent", "of its largest", "%", align="right", format=".1f"),
        Column("why", "why"),
    )
    rows = tuple(
        (
            Code(each.name),
            f"new {each.role}" if each.is_new else each.role,
            Code(each.layer),
            " x ".join(map(str, each.shape)),
            each.largest_change,
            each.largest_change_percent,
            each.why,
        )
        for each in changes
    )
    return Table(columns, rows, "What changed", key="changes")
