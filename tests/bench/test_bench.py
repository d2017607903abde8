"""The benchmark runs, on a network of little size, and its page says what was measured."""

from dataclasses import asdict
from typing import Any

import pytest

from tests.bench.measure import memory_ratio, ratios
from tests.bench.page import WORKS, page
from tests.bench.works import Network

SMALL = Network("squeezenet1_1", size=32, images=4)


@pytest.mark.sweep
def test_every_figure_of_the_page_is_measured() -> None:
    found: dict[str, Any] = {name: asdict(one) for name, one in ratios(SMALL, rounds=1).items()}
    found["memory"] = memory_ratio(SMALL)
    assert found.keys() == WORKS.keys()
    record = {"commit": "c0ffee", "date": "2026-01-01", "machine": "a processor", "networks": {"mobilenet_v2": found}}
    text = page([record])
    assert f"| {found['compare']['processor']:.2f} |" in text
    assert text.count("–") == 0
