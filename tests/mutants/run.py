"""Do the tests of numerics see a small fault in it? `make mutants`, or `python -m tests.mutants.run [--number N]`.

A sample of all faults, spread evenly over the files, and always the same; prints a line for each fault that no test
saw, and the counts. The suite of the room and its doctests run against each, in a process of its own, until one fails.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np  # noqa: F401 - what every child needs is loaded once
import pytest
import torch

from tests.mutants.mutate import Mutant, mutants

REPOSITORY = Path(__file__).parents[2]
ROOM = Path("qdiag", "numerics")
SECONDS = 120
"""Of the processor, after which an endless loop counts as seen."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Small faults in qdiag/numerics, and whether its tests see them.")
    parser.add_argument("--number", type=int, default=200, help="how many faults")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then")
    parser.add_argument("--only", default="", help="only files with these letters in their path")
    given = parser.parse_args()
    torch.set_num_threads(1)
    until, seen, tried = time.monotonic() + 60 * given.minutes, Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_of_the_house(Path(folder))
        assert not is_seen(copied, "qdiag/numerics/__init__.py", Mutant(0, "", "")), "the tests fail without a fault"
        for path, mutant in sample(given.only, given.number):
            if time.monotonic() > until:
                break
            tried[path] += 1
            if is_seen(copied, path, mutant):
                seen[path] += 1
            else:
                print(f"not seen: {path}:{mutant.line}: {mutant.fault}", flush=True)
    for path in sorted(tried):
        print(f"| {path} | {tried[path]} | {seen[path]} |")
    print(f"{seen.total()} of {tried.total()} faults were seen.", flush=True)


def sample(only: str, number: int) -> list[tuple[str, Mutant]]:
    """So many faults of all, in an order that is always the same."""
    paths = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / ROOM).rglob("*.py"))
    every = [(path, mutant) for path in paths if only in path for mutant in mutants((REPOSITORY / path).read_text())]
    return random.Random(0).sample(every, min(number, len(every)))


def copy_of_the_house(folder: Path) -> Path:
    """The package and the tests of the room, where they may be changed."""
    left_out = shutil.ignore_patterns("__pycache__", ".cache")
    for name in ("qdiag", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=left_out)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def is_seen(folder: Path, path: str, mutant: Mutant) -> bool:
    """Whether a test fails with this fault in place."""
    file = folder / path
    whole = file.read_text()
    file.write_text(mutant.source)
    try:
        child = os.fork()
        if child == 0:
            run_tests(folder, path)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != pytest.ExitCode.OK
    finally:
        file.write_text(whole)


def run_tests(folder: Path, path: str) -> None:
    """The tests named as the file first, then all of the room; never returns."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the signal ends the process
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("qdiag", "tests")]:
        del sys.modules[name]
    sys.path[:] = [str(folder), *(entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY)]
    sys.dont_write_bytecode = True
    own = Path("tests/numerics", f"test_{Path(path).stem}.py")
    chosen = [*([str(own)] if own.exists() else []), path, "tests/numerics", str(ROOM)]
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:logging", *chosen])
    os._exit(int(code))


if __name__ == "__main__":
    main()
