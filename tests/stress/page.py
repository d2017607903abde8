"""docs/reliability.md: attacks by group, and what happened."""

from collections import Counter
from pathlib import Path
from typing import TypedDict

TEXT = Path(__file__).with_name("reliability.md")
"""The page around its table, which stands where it says [table]."""


class Row(TypedDict):
    """One attack. outcome: "wrong: " and why, where something was lost or taken for what it is not."""

    group: str
    seed: int
    outcome: str


def page(rows: list[Row]) -> str:
    """Markdown of all rows."""
    return TEXT.read_text(encoding="utf-8").replace("[table]", table(rows))


def table(rows: list[Row]) -> str:
    """A line for each group, and under it every attack that succeeded."""
    lines = ["| attacks | number | what happened | wrong |", "|---|---|---|---|"]
    for group in sorted({row["group"] for row in rows}, key=_place):
        own = [row["outcome"] for row in rows if row["group"] == group]
        wrong = sum(outcome.startswith("wrong") for outcome in own)
        lines.append(f"| {group} | {len(own):,} | {_told(own)} | {wrong} |")
    total = sum(row["outcome"].startswith("wrong") for row in rows)
    lines.append(f"| **all** | **{len(rows):,}** | | **{total}** |")
    failed = [f"- {row['group']}, number {row['seed']}: {row['outcome']}" for row in rows if "wrong" in row["outcome"]]
    return "\n".join([*lines, "", *(["What went wrong:", "", *failed, ""] if failed else [])])


def _told(outcomes: list[str]) -> str:
    """In words: how often which; of kills and draws their sums."""
    fine = [outcome for outcome in outcomes if not outcome.startswith("wrong")]
    if fine and fine[0].startswith("killed"):
        return f"{sum(int(outcome.split()[1]) for outcome in fine)} times dead, and each went on to the same end"
    if fine and fine[0].startswith("drew"):
        return f"{sum(int(outcome.split()[1]) for outcome in fine):,} numbers drawn, none of them twice"
    words = {"equal": "every integer equal", "refused": "refused", "same": "without effect", "told apart": "told apart"}
    return ", ".join(f"{count:,} {words[name]}" for name, count in Counter(fine).most_common())


def _place(group: str) -> tuple[int, str]:
    order = ("networks", "files", "kills", "identities", "draws")
    return next(place for place, name in enumerate(order) if group.startswith(name)), group
