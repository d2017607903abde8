"""The parts of a report on flipped images: figures, pictures, and tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from qdiag.report.cells import Badge, Cell
from qdiag.report.elements import Fact, Facts, Gallery, Picture
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table

LEVELS: Mapping[str, Level] = {"lost": "error", "changed": "warning", "won": "ok"}
WORDS = {"lost": "right → wrong", "changed": "changed", "won": "wrong → right"}


class FlipRow(Protocol):
    """What is shown of one flip."""

    @property
    def number(self) -> int: ...
    @property
    def reference_score(self) -> float | None: ...
    @property
    def version_score(self) -> float | None: ...
    @property
    def picture(self) -> str: ...
    @property
    def kind(self) -> str: ...


Row = tuple[FlipRow, str, str, str]
"""A flip, its label, and what float and the version say, in words."""


def flip_facts(images: int, kinds: Mapping[str, int], lane: str, *, has_labels: bool) -> Facts:
    """How many flipped, and for the better or the worse."""
    facts = [Fact("images", images), Fact(f"{lane} decides otherwise", sum(kinds.values()))]
    if has_labels:
        facts.append(Fact(WORDS["lost"], kinds["lost"], level="error" if kinds["lost"] else None))
        facts += [Fact(WORDS["won"], kinds["won"]), Fact("wrong both ways", kinds["changed"])]
    return Facts(tuple(facts))


def flip_gallery(rows: Sequence[Row], lane: str) -> Gallery:
    """The gravest flips as pictures."""
    shown = [row for row in rows if row[0].picture]
    pictures = tuple(_picture(*row, lane) for row in shown)
    what = "The gravest first: lost by fixed point, and of these what float was surest of. "
    more = f"{len(shown)} of {len(rows)} are shown. " if len(shown) < len(rows) else ""
    caption = (
        f"{what}{more}Scores are the network's own, or softmax of what it gives; each picture is as bright as can be."
    )
    return Gallery(pictures, "Images that are decided otherwise", caption if shown else "These inputs are no pictures.")


def _picture(flip: FlipRow, label: str, before: str, after: str, lane: str) -> Picture:
    told = f"label **{label}** · " if label else ""
    answers = f"float **{before}**{_sure(flip.reference_score)} · {lane} **{after}**{_sure(flip.version_score)}"
    return Picture(flip.picture, f"image {flip.number}: {before} → {after}", told + answers, LEVELS[flip.kind])


def _sure(score: float | None) -> str:
    return "" if score is None else f" {100 * score:.0f} %"


def flip_table(rows: Sequence[Row], lane: str) -> Table:
    """One row for each flip."""
    columns = (
        Column("image", "image", "", "", "right", "its place in the data, from 0"),
        Column("kind", "what happened"),
        Column("label", "label"),
        Column("float_class", "float"),
        Column("version_class", lane),
        Column("float_score_percent", "score, float", "%", ".1f", "right", "of float's answer"),
        Column("version_score_percent", f"score, {lane}", "%", ".1f", "right", f"of {lane}'s answer"),
    )
    return Table(columns, tuple(_row(*row) for row in rows), key="flips")


def _row(flip: FlipRow, label: str, before: str, after: str) -> tuple[Cell, ...]:
    scores = (None if score is None else 100 * score for score in (flip.reference_score, flip.version_score))
    return flip.number, Badge(WORDS[flip.kind], LEVELS[flip.kind]), label, before, after, *scores


def confusion_table(pairs: Counter[tuple[str, str]], lost: Counter[tuple[str, str]], lane: str) -> Table:
    """Pairs of classes, the most frequent first."""
    columns = (
        Column("float_class", "float says"),
        Column("version_class", f"{lane} says"),
        Column("images", "images", "", "", "right"),
        Column("lost", "of them float was right", "", "", "right"),
    )
    rows = tuple((before, after, count, lost[before, after]) for (before, after), count in pairs.most_common())
    return Table(columns, rows, key="confusion")


def class_table(classes: Sequence[tuple[str, int, int, int]], lane: str) -> Table:
    """Images of each label, and how many are right in float and in the version."""
    columns = (
        Column("label", "class"),
        Column("images", "images", "", "", "right"),
        Column("float_right", "float right", "", "", "right"),
        Column("version_right", f"{lane} right", "", "", "right"),
        Column("lost", "lost", "", "", "right", "right in float, less right in fixed point"),
    )
    rows = tuple((name, images, one, other, one - other) for name, images, one, other in classes)
    return Table(columns, rows, key="classes")
