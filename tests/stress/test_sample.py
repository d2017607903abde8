"""A sample of what `make stress` does by the thousand."""

from pathlib import Path

import pytest

from tests.stress import files, identities, kills
from tests.stress.draws import hammer
from tests.stress.integers import Widths, stored_tensors
from tests.stress.network_check import check
from tests.stress.networks import generated, images_for
from tests.stress.page import Row, table


def test_generated_networks_compute_what_integers_give() -> None:
    for seed in range(16):
        assert check(seed) == "equal"


def test_a_generated_network_is_the_runtimes_too() -> None:
    assert check(3, runtime=True) == "equal"


def test_integers_of_other_widths_are_others() -> None:
    """So that what holds the networks is seen to tell one from another."""
    network, program = generated(1)
    images = images_for(program, 1)
    fine, coarse = (stored_tensors(network, images, images, Widths(bits)).outputs[0].values for bits in (8, 7))
    assert not (fine == coarse).all()


@pytest.mark.parametrize("kind", files.KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_refused_or_read_as_they_were(kind: files.Kind, tmp_path: Path) -> None:
    prepared = files.prepared(kind, tmp_path)
    outcomes = [files.attack(prepared, seed) for seed in range(16)]
    assert outcomes.count("refused") > 8


@pytest.mark.parametrize("work", kills.WORKS, ids=lambda work: work.name)
def test_what_is_killed_goes_on_to_the_same_end(work: kills.Work, tmp_path: Path) -> None:
    measured = kills.measured(work, tmp_path)
    assert kills.kill(measured, 0, tmp_path, times=1).startswith("killed")


def test_the_same_numbers_in_another_order_are_others() -> None:
    assert identities.check(0) == "told apart"


def test_draws_of_another_thread_come_once() -> None:
    drawn, repeated = hammer(0, least=300)
    assert drawn > 100
    assert not repeated


def test_the_table_names_what_went_wrong() -> None:
    rows: list[Row] = [
        {"group": "networks", "seed": 1, "outcome": "equal"},
        {"group": "networks", "seed": 2, "outcome": "wrong: AssertionError: network 2"},
        {"group": "kills: train", "seed": 0, "outcome": "killed 3 times"},
    ]
    found = table(rows)
    assert "| networks | 2 | 1 every integer equal | 1 |" in found
    assert "3 times dead" in found
    assert "- networks, number 2: wrong: AssertionError: network 2" in found
