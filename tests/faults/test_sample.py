"""A sample of the bench: one network, a few faults of each kind, against the truth by brute force."""

import pytest
import torch

from tests.faults.cases import Case, all_cases, digit_names
from tests.faults.data_faults import CALIBRATION_FAULTS, WRONG
from tests.faults.graph import fold, graph_of
from tests.faults.hosts import digit_host
from tests.faults.inject import FORMAT_FAULTS, spread_channels
from tests.faults.page import Extent, page
from tests.faults.score import run_case
from tests.faults.truth import rounded

LOST = ("loud depthwise channels | 2^9", "weight outlier | 2^8", "ranges too small | 8", "ranges too large | 64")


def case_of(name: str) -> Case:
    case = dict(all_cases(["demo"]))[f"demo | {name}"]()
    assert case is not None
    return case


@pytest.mark.parametrize("name", LOST)
def test_a_known_fault_gets_its_verdict_its_culprit_its_cause_and_a_repair_that_works(name: str) -> None:
    row = run_case(case_of(name))
    assert row is not None
    assert row["right"], row["headline"]
    assert row["first"], (row["culprit"], row["true_culprits"])
    assert row["side"] and row["word"], row["cause"]  # noqa: PT018
    assert row["regained"], row["repair"]
    assert row.get("mend_works", True), row["mend"]


def test_a_healthy_network_has_no_culprit() -> None:
    row = run_case(case_of("healthy"))
    assert row is not None
    assert (row["verdict"], row["errors"], row["named"]) == ("healthy", [], [])
    assert "Nothing." in page([row], Extent(planned=1, through=1))


@pytest.mark.parametrize("name", ["labels shifted | 0", "untrained weights | 0"])
def test_what_spoils_float_is_said_before_any_word_on_bits(name: str) -> None:
    row = run_case(case_of(name))
    assert row is not None
    assert row["verdict"] == "float-is-wrong"


def test_there_are_enough_cases_without_any_other_data() -> None:
    assert sum(1 for _ in all_cases(digit_names())) >= 250
    faults = {fault.name for fault in (*FORMAT_FAULTS, *CALIBRATION_FAULTS, *WRONG)}
    assert len(faults) == len(FORMAT_FAULTS) + len(CALIBRATION_FAULTS) + len(WRONG)


def test_a_fault_and_the_folded_graph_are_the_same_function() -> None:
    host = digit_host("demo")
    changed = host.copy().model
    assert spread_channels(changed, 3, 8.0, torch.Generator().manual_seed(0)) is not None
    few = host.images[:8]
    with torch.no_grad():
        expected = host.model(few)
        assert torch.allclose(changed(few), expected, atol=1e-4)
        assert torch.allclose(fold(graph_of(changed))(few), expected, atol=1e-4)


def test_the_truth_rounds_by_hand_worked_numbers() -> None:
    x = torch.tensor([0.0, 0.4, 1.0, 1.9, 7.0])
    assert rounded(x, 0.0, 1.9, 2).tolist() == [0.0, 0.5, 1.0, 1.5, 1.5]  # steps of 1/2, up to 3/2
    assert rounded(-x, -1.9, 0.0, 2).tolist() == [0.0, 0.0, -1.0, -2.0, -2.0]  # steps of 1, from -2 to 1
