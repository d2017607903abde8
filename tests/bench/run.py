"""Measures every network, keeps the figures by commit, and writes the page: `make bench`."""

import argparse
import json
import platform
import subprocess
import sys
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.bench.measure import memory_ratio, ratios
from tests.bench.page import page, plot
from tests.bench.works import NETWORKS


def main() -> None:
    parser = argparse.ArgumentParser(description="What qdiag costs, in forwards of the model itself.")
    parser.add_argument("page", type=Path, help="the page to write; the history lies beside it")
    parser.add_argument("--networks", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    history_file = given.page.with_suffix(".json")
    history = json.loads(history_file.read_text()) if history_file.exists() else []
    chosen = [network for network in NETWORKS if not given.networks or network.name in given.networks]
    memory = {network.name: memory_ratio(network) for network in chosen}  # a child's peak counts what its parent held
    networks: dict[str, Any] = {}
    record = {"commit": commit(), "date": datetime.now(UTC).date().isoformat(), "machine": machine()}
    for network in tqdm(chosen, file=sys.stderr, unit="network"):
        found: dict[str, Any] = {name: asdict(one) for name, one in ratios(network, given.rounds).items()}
        networks[network.name] = found | {"memory": memory[network.name]}
        history = [one for one in history if one["commit"] != record["commit"]] + [record | {"networks": networks}]
        history_file.write_text(json.dumps(history, indent=1) + "\n")
        given.page.write_text(page(history))
    plot(history, given.page.parent / "assets" / "speed.svg")


def commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no commit"


def machine() -> str:
    """The processor's model, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
