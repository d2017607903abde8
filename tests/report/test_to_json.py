import json
import math
from typing import Any, NoReturn

import pytest

from qdiag.errors import OptionError
from qdiag.report.to_json import encode, render_json
from tests.report.golden import assert_golden
from tests.report.samples import EVERY_KIND


def parse_strictly(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_kind_of_block_is_an_object_with_its_type() -> None:
    assert_golden("report.json", render_json(EVERY_KIND))


def test_json_is_strict_and_numbers_come_back() -> None:
    read = parse_strictly(render_json(EVERY_KIND))
    assert read["schema"] == "qdiag.report.v1"
    assert read["kind"] == "diagnosis"
    measured, infinite, undefined = (float(value) for value in read["data"]["sqnr_db"])
    assert measured == 3.14159
    assert math.isinf(infinite)
    assert math.isnan(undefined)


def test_plain_data_stays_as_it_is() -> None:
    assert encode({"a": (1, [True, None]), 2: -math.inf}) == {"a": [1, [True, None]], "2": "-Infinity"}


def test_other_data_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot hold a set"):
        encode({"a": {1, 2}})
