"""docs/faults.md: the scores of a run, by kind of fault, and every case that came out wrong."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.faults.row import Row

HEAD = """# Known faults

How far can a diagnosis be trusted? Faults are put into healthy networks at known places, the truth is found by brute
force with other code than the library's, and what `diagnose()` says is held against it. `make faults` runs all of it
and writes this page; `make faults FAULTS="--minutes 15"` stops after a quarter of an hour, in an order that makes the
part a sample of the whole; `--seed 3` trains other networks and chooses other places. Rows are kept as they come
(`tests/faults/.cache`), and a run that was stopped goes on.

- **Networks**: the demo's; classifiers of residual blocks, inverted bottlenecks and concatenated branches, a segmenter
  and a regression of five values, all for handwritten digits and trained from seeds; architectures of torchvision with
  settled BatchNorm and a solved last layer; with the shared data, CIFAR-10, ImageNet and COCO networks with their real
  weights.
- **Format faults** change weights so that float stays the same function (asserted, 1e-3): channels or branches of other
  size, an offset that the next layer takes back, branches that cancel, one large weight that meets zeros only, a
  constant that nothing reads; two at once. **Calibration faults** change only the images that ranges come from. **Wrong
  data** is labels, images or weights with which float itself fails; where float lost less than 20 points is left out.
- **The truth**: fake quantization written in `tests/faults/truth.py` over torch.fx's graph, 16 and 8 bit and each
  layer alone, half up as the target rounds. Lost means a drop of over 2 points (of top-1; of masks, of pixel accuracy
  or mean IoU; of boxes, of mAP) or under 90 % equal decisions, of values under 15 dB. Within about a point, two
  percent or 1.5 dB of a limit the words on both its sides are right. A culprit is right that does at least three
  quarters of what the worst layer does. A side is judged where weights or tensor make 65 % of it, a word where the
  network loses nothing as it is. A repair works that wins half back. A mend is of the first culprit alone, where the
  output gains when that layer is exact; it works where half of the noise goes that would go then.
- **The baseline** is the usual table: stored tensors, all of them in 8 bit, lowest SQNR first.
"""

Pick = Callable[[Row], bool | None]
GROUPS = {"format": "format faults", "calibration": "calibration faults", "wrong": "wrong data and random models"}


@dataclass(frozen=True)
class Extent:
    """How far a run came: cases that it was to go through, and has; networks of which it has none; the bench's seed."""

    planned: int
    through: int
    absent: Sequence[str] = ()
    seed: int = 0


def page(rows: Sequence[Row], extent: Extent) -> str:
    """Markdown of a run's rows; some faults have no place in some networks, and then there is no row."""
    parts = [HEAD, f"## Scores\n\n{_told(rows, extent)}\n", _scores(rows)]
    parts += ["## By fault\n", _by("fault", rows), "## By network\n", _by("host", rows)]
    parts += ["## What came out wrong\n", _wrong(rows)]
    return "\n".join(parts)


def _told(rows: Sequence[Row], extent: Extent) -> str:
    """Whether this is all of it, or what part."""
    networks = len({row["host"] for row in rows})
    without = extent.through - len(rows)
    told = f"Seed {extent.seed}: {len(rows)} cases on {networks} networks"
    told += f"; {without} more have no place there, or do no harm."
    if extent.through < extent.planned:
        told = (
            f"**A sample**: {extent.through} of the {extent.planned} cases of a whole run, in an order by check sum of "
            f"their names. {told} What is 0 of few here need not be 0 of all."
        )
    if extent.absent:
        told += f" Not run: {', '.join(extent.absent)}."
    return told


def _share(rows: Iterable[Row], pick: Pick) -> str:
    """As 94 % (30 of 32), of the rows for which there is an answer."""
    found = [value for row in rows if (value := pick(row)) is not None]
    return f"{100 * sum(found) / len(found):.0f} % ({sum(found)} of {len(found)})" if found else "–"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _scores(rows: Sequence[Row]) -> str:
    lost = [row for row in rows if row["lost"] or row["group"] == "wrong"]
    unharmed = [row for row in rows if row["group"] == "healthy"]
    fine = [row for row in unharmed if "healthy" in row["accepted"]]
    lines = [(f"verdict right: {title}", _share(_of(group, rows), _field("right"))) for group, title in GROUPS.items()]
    lines += [
        ("verdict right: networks as they are", _share(unharmed, _field("right"))),
        ("false “healthy”", f"{sum(row['false_healthy'] for row in lost)} of {len(lost)}"),
        ("culprit first", _share(rows, _field("first"))),
        ("culprit in three", _share(rows, _field("in_three"))),
        ("baseline: culprit first", _share(rows, _field("baseline_first"))),
        ("baseline: culprit in three", _share(rows, _field("baseline_in_three"))),
        ("cause on the right side", _share(rows, _field("side"))),
        ("cause in the right word", _share(rows, _field("word"))),
        ("first repair wins half back", _share(rows, _field("regained"))),
        ("the same, in 8 bit", _share(rows, lambda row: _both(row, "regained", "in_8_bit"))),
        ("what mends the first culprit works", _share(rows, _field("mend_works"))),
        ("predicted against got, of these mends", _apart(rows)),
        ("healthy networks with an error of lint", f"{sum(bool(r['errors']) for r in fine)} of {len(fine)}"),
        ("healthy networks with a culprit", f"{sum(map(_is_named, fine))} of {len(fine)}"),
    ]
    return _table(("what", "score"), lines)


def _apart(rows: Iterable[Row]) -> str:
    """How far the predicted gain is from the measured one."""
    found = [abs(row["predicted_db"] - row["gained_db"]) for row in rows if row.get("gained_db") is not None]
    return f"median {statistics.median(found):.1f} dB apart ({len(found)})" if found else "–"


def _is_named(row: Row) -> bool:
    return bool(row["named"])


def _of(group: str, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["group"] == group]


def _field(name: str) -> Pick:
    return lambda row: row.get(name)


def _both(row: Row, one: str, other: str) -> bool | None:
    return None if one not in row else bool(row[one] and row.get(other))


def _by(key: str, rows: Sequence[Row]) -> str:
    head = (key, "cases", "verdict", "culprit first", "baseline", "side", "word", "repair")
    fields = ("right", "first", "baseline_first", "side", "word", "regained")
    lines = []
    for value in sorted({row[key] for row in rows}):
        chosen = [row for row in rows if row[key] == value]
        lines.append((value, str(len(chosen)), *(_few(chosen, name) for name in fields)))
    return _table(head, lines)


def _few(rows: Iterable[Row], name: str) -> str:
    found = [row[name] for row in rows if row.get(name) is not None]
    return f"{sum(found)} of {len(found)}" if found else "–"


def _wrong(rows: Iterable[Row]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: str(row["name"])):
        told = []
        if not row["right"]:
            told.append(f"verdict {row['verdict']}, right: {' or '.join(row['accepted'])}")
        if row.get("first") is False:
            told.append(f"blames {row['culprit'][0] if row['culprit'] else 'nothing'}, not {row['true_culprits'][0]}")
        if row.get("side") is False:
            told.append(f"cause {row['cause']}, where weights make {100 * row['weights_part']:.0f} %")
        elif row.get("word") is False:
            told.append(f"cause {row['cause']}")
        if row.get("regained") is False:
            told.append(f"first repair: {row['repair'] or 'none that runs'}")
        if row.get("mend_works") is False:
            told.append(f"mend: {row['mend'] or 'none'}")
        if told:
            lines.append((row["name"].replace("|", "·"), "; ".join(told)))
    return _table(("case", "what was said"), lines) if lines else "Nothing.\n"
