import math

import pytest

from qdiag.report.numbers import format_number, significant, with_unit


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (None, ".1f", "–"),
        (math.nan, ".1f", "nan"),
        (math.inf, ".1f", "∞"),
        (-math.inf, ".1f", "-∞"),
        (True, "", "yes"),
        (False, ".1f", "no"),
        (12345, "", "12,345"),
        (12345, ".1f", "12345.0"),
        (0.125, "", "0.125"),
    ],
)
def test_a_number_is_shown_by_its_columns_format(value: float | None, spec: str, text: str) -> None:
    assert format_number(value, spec) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.996, "10.0"),  # rounding up adds no digit
        (999.6, "1,000"),
        (-0.0123456, "-0.0123"),
        (0.001, "0.00100"),
        (0.0001, "1.00e-04"),
        (123456.0, "123,456"),
        (999999.6, "1.00e+06"),
    ],
)
def test_three_digits_are_significant(value: float, text: str) -> None:
    assert significant(value) == text


def test_what_is_missing_has_no_unit() -> None:
    assert (with_unit("3.1", "dB"), with_unit("–", "dB"), with_unit("3.1", "")) == ("3.1 dB", "–", "3.1")
