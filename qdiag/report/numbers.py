"""Numbers as a reader sees them: one way in every face.

A missing value is –, a value that is none is nan, and infinity is ∞: all three may stand in a report.
"""

import math

MISSING = "–"


def format_number(value: float | None, spec: str = "") -> str:
    """One number by its column's format.

    spec: a Python format such as ".1f", or "" for counts as 12,345 and other numbers to 3 significant digits.

    >>> format_number(71.94, ".1f"), format_number(12345), format_number(0.018237), format_number(None)
    ('71.9', '12,345', '0.0182', '–')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return _not_finite(value)
    if spec:
        return format(value, spec)
    return f"{value:,}" if isinstance(value, int) else significant(value)


def significant(value: float, digits: int = 3) -> str:
    """To so many significant digits; as a power of ten only where plain digits would be long.

    >>> significant(12345.6), significant(71.94), significant(0.00012345), significant(0.0)
    ('12,346', '71.9', '1.23e-04', '0')
    """
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")  # first, so that 9.996 counts as 10.0 and not as 10.00
    exponent = math.floor(math.log10(abs(rounded)))
    if not -4 < exponent < 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def with_unit(text: str, unit: str) -> str:
    """The unit after a space; what is missing has none."""
    return f"{text} {unit}" if unit and text != MISSING else text


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return "∞" if value > 0 else "-∞"
