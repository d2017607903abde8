"""What `fix_model()` gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from qdiag.fixing.edit import Edit, EditKind
from qdiag.linting.lint_report import LintReport
from qdiag.report.cells import Cell, Code, Place
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Report
from qdiag.report.table import Column, Table

_RULES: dict[EditKind, str] = {"reuse": "QD102", "function": "QD103", "branches": "QD108"}


@dataclass(frozen=True)
class Left:
    """A module that was not mended. path: of the module. why: what stands against it."""

    path: str
    why: str


@dataclass(frozen=True)
class FixedModel(Displayable):
    """A mended copy of a model, and what was done to it.

    Attributes:
        model: The copy, in the mode that the model is in.
        edits: Each change of a forward, in the order of modules, the innermost first.
        left: Modules that only their author can mend.
        lint: What the mended rules still find in the copy.
        difference: The largest relative difference of an output from the model's, on the images that it ran on.
    """

    model: nn.Module
    edits: tuple[Edit, ...]
    left: tuple[Left, ...]
    lint: LintReport
    difference: float

    def report(self) -> Report:
        """A callout, every change with the user's line before and after, and what is left with its fix."""
        blocks: list[Block] = [_callout(self)]
        if self.edits:
            blocks.append(_edit_table(self.edits))
        if self.left:
            blocks.append(_left_table(self.left))
        if self.lint.findings:
            blocks += self.lint.report().blocks
        return Report(f"{self.lint.model_name}, mended", tuple(blocks), "fixed-model", self._data())

    def _data(self) -> dict[str, object]:
        return {
            "edits": [
                {"rule": _RULES[one.kind], "module": one.module, "was": one.was, "made": one.made, "now": one.now}
                for one in self.edits
            ],
            "left": [vars(one) for one in self.left],
            "difference": self.difference,
            "lint": dict(self.lint.report().data),
        }


def _callout(fixed: FixedModel) -> Callout:
    if not fixed.edits:
        return Callout("ok", "Nothing was changed.", "Lint finds nothing here that a machine can mend.")
    modules = len({edit.module for edit in fixed.edits})
    title = f"{len(fixed.edits)} changes in {modules} modules; the outputs are the same."
    text = f"They differ from the model's by {fixed.difference:.1e} of their size, which is the rounding of float."
    return Callout("ok", title, text if fixed.difference else "They equal the model's bit for bit.")


def _edit_table(edits: Sequence[Edit]) -> Table:
    """One row for each line of code and new module, with the number of modules that it was changed in."""
    columns = (
        Column("rule", "rule"),
        Column("module", "in", help="the first of the modules"),
        Column("modules", "modules", align="right", help="with the same change"),
        Column("place", "line"),
        Column("was", "was"),
        Column("made", "in __init__"),
        Column("now", "in forward"),
    )
    alike: dict[tuple[object, ...], list[Edit]] = {}
    for edit in edits:
        alike.setdefault((edit.kind, edit.source, edit.made, edit.now), []).append(edit)
    rows = tuple(_edit_row(group[0], len(group)) for group in alike.values())
    return Table(columns, rows, "What was changed", key="edits")


def _edit_row(edit: Edit, modules: int) -> tuple[Cell, ...]:
    place = Place(edit.source.file, edit.source.line, str(edit.source)) if edit.source else None
    was = Code(edit.was) if edit.was else None
    return Code(_RULES[edit.kind]), Code(edit.module or "model"), modules, place, was, Code(edit.made), Code(edit.now)


def _left_table(left: Sequence[Left]) -> Table:
    columns = (Column("module", "module"), Column("why", "why it is left as it was"))
    return Table(columns, tuple((Code(one.path or "model"), one.why) for one in left), "Left as they were", key="left")
