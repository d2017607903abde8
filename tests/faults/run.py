"""Every case, one after another; rows are kept as they come, so that a run that was stopped goes on: `make faults`."""

import argparse
import json
import sys
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from tests.faults.cases import REAL, ZOO, Make, all_cases, digit_names
from tests.faults.hosts import CACHE
from tests.faults.page import Extent, page
from tests.faults.row import Row
from tests.faults.score import run_case

HEAVY = ("mobilenet_v2", "efficientnet_lite0", "yolox_nano")
HEAVY_CASES = (
    *("healthy", "ranges too large | 16", "ranges too small | 8", "one hot pixel | 200", "other preprocessing | 255"),
    *("labels shifted", "images of 0 to 255", "images upside down", "untrained weights | 0"),
)
"""What is tried on networks of full size, where a case takes minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What qdiag says of known faults, held against the truth.")
    parser.add_argument("page", type=Path, help="the page to write")
    parser.add_argument("--hosts", nargs="*", help="only these networks")
    parser.add_argument("--only", default="", help="only cases with these letters in their name")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then; the page says how many cases there were")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of earlier runs")
    parser.add_argument("--seed", type=int, default=0, help="other trained networks, and other places of the faults")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    path = CACHE / f"rows-{given.seed}.jsonl"
    if given.fresh:
        path.unlink(missing_ok=True)
    names = given.hosts or [*digit_names(given.seed), *ZOO, *REAL]
    chosen = tried(names, given.only, given.seed)
    rows = list(measured(chosen, path, time.monotonic() + 60 * given.minutes))
    given.page.write_text(page(rows, extent(names, chosen, path, rows, given.seed)), encoding="utf-8")


def measured(chosen: Sequence[tuple[str, Make]], path: Path, until: float) -> Iterator[Row]:
    """The rows of these cases; those that the file has are not run again.

    In an order that is neither the hosts' nor the faults', so that a part of them is a sample of all; heavy ones last.
    """
    path.parent.mkdir(exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    known = {row["name"]: row for row in map(json.loads, lines)}
    bar = tqdm(chosen, file=sys.stderr, unit="case")
    for name, make in bar:
        bar.set_postfix_str(name[:50])
        if name not in known and time.monotonic() > until:
            continue
        if name not in known:
            begun = time.perf_counter()
            case = make()
            row = None if case is None else run_case(case)
            known[name] = row or {"name": name, "skipped": True, "seconds": round(time.perf_counter() - begun, 2)}
            with path.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
        if not known[name].get("skipped"):
            yield known[name]


def extent(names: list[str], chosen: Sequence[tuple[str, Make]], path: Path, rows: Sequence[Row], seed: int) -> Extent:
    """How far the run came."""
    through = {name for name, _ in chosen} & {json.loads(line)["name"] for line in path.read_text().splitlines()}
    absent = set(names) - {row["host"] for row in rows}
    return Extent(len(chosen), len(through), tuple(name for name in names if name in absent), seed)


def tried(names: list[str], only: str, seed: int) -> list[tuple[str, Make]]:
    """The cases in the order in which they run."""
    chosen = [(name, make) for name, make in all_cases(names, seed) if only in name and is_tried(name)]
    return sorted(chosen, key=lambda case: (case[0].startswith(HEAVY), zlib.crc32(case[0].encode())))


def is_tried(name: str) -> bool:
    host, _, fault = name.partition(" | ")
    return host not in HEAVY or fault.startswith(HEAVY_CASES)


if __name__ == "__main__":
    main()
