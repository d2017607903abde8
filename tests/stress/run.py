"""Thousands of attacks: `make stress`, or `python -m tests.stress.run PAGE [--minutes M] [--only GROUP]`.

Every attack has a number, from which it can be made again; those that have a row are not run again.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from tests.stress import draws, files, identities, kills
from tests.stress.network_check import check
from tests.stress.page import Row, page

CACHE = Path(__file__).parent / ".cache"
"""Rows as they come; git does not see it."""
MEETS_RUNTIME = 20
"""Of so many networks one meets ONNX Runtime."""
Attack = Callable[[int], str]


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks, damaged files, kills and draws by the thousand.")
    parser.add_argument("page", type=Path, help="the page to write")
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="stop then; the page says how many attacks there were"
    )
    parser.add_argument("--only", default="", help="only groups with these letters in their name")
    parser.add_argument("--times", type=float, default=1.0, help="so many times the usual number of attacks")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of earlier runs")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = CACHE / "rows.jsonl"
    rows.parent.mkdir(exist_ok=True)
    if given.fresh:
        rows.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run(rows, Path(folder), given.only, given.times, time.monotonic() + 60 * given.minutes)
    given.page.write_text(page(read(rows)), encoding="utf-8")


def run(path: Path, folder: Path, only: str, times: float, until: float) -> None:
    """Every group in turn, a hundred attacks of each at a time, so that what is stopped has some of all."""
    known = {(row["group"], row["seed"]) for row in read(path)}
    chosen = [(name, count, make) for name, count, make in groups(folder) if only in name]
    waiting = {name: iter(range(int(count * times))) for name, count, _ in chosen}
    makes: dict[str, Attack] = {}
    bar = tqdm(file=sys.stderr, unit="attack")
    while waiting and time.monotonic() < until:
        for name, _, make in chosen:
            for seed in _some(waiting, name, known):
                if time.monotonic() > until:
                    break
                if name not in makes:
                    makes[name] = make()
                bar.set_postfix_str(f"{name} {seed}")
                bar.update()
                _keep(path, {"group": name, "seed": seed, "outcome": outcome(makes[name], seed)})


def _some(waiting: dict[str, Iterator[int]], name: str, known: set[tuple[str, int]], most: int = 25) -> Iterator[int]:
    """The next few numbers of a group that have no row."""
    given = 0
    for seed in waiting.get(name, iter(())):
        if (name, seed) not in known:
            given += 1
            yield seed
            if given == most:
                return
    waiting.pop(name, None)


def outcome(attack: Attack, seed: int) -> str:
    """What it says; "wrong: " and why where it raises."""
    try:
        return attack(seed)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
        return f"wrong: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def groups(folder: Path) -> Iterator[tuple[str, int, Callable[[], Attack]]]:
    """Name, how many attacks, and what makes one of them."""
    yield "networks", 2000, lambda: lambda seed: check(seed, runtime=seed % MEETS_RUNTIME == 0)
    for kind in files.KINDS:
        yield f"files: {kind.name}", 1000, lambda kind=kind: _damaging(kind, folder)  # type: ignore[misc]
    for work in kills.WORKS:
        yield f"kills: {work.name}", 20, lambda work=work: _killing(work, folder)  # type: ignore[misc]
    yield "identities", 200, lambda: identities.check
    yield "draws", 10, lambda: _drawn


def _damaging(kind: files.Kind, folder: Path) -> Attack:
    place = folder / f"files {kind.name}"
    place.mkdir()
    prepared = files.prepared(kind, place)
    return lambda seed: files.attack(prepared, seed)


def _killing(work: kills.Work, folder: Path) -> Attack:
    place = folder / f"kills {work.name}"
    place.mkdir()
    measured = kills.measured(work, place)
    return lambda seed: kills.kill(measured, seed, place)


def _drawn(seed: int) -> str:
    drawn, repeated = draws.hammer(seed)
    if repeated:
        raise AssertionError(f"{repeated} of {drawn} came twice")
    return f"drew {drawn}"


def _keep(path: Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[Row]:
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


if __name__ == "__main__":
    main()
