"""A report as strict JSON.

Every block is an object with its `type` and its fields. JSON has no such numbers as nan and infinity: they stand as the
strings "NaN", "Infinity" and "-Infinity", which Python's `float()` and JavaScript's `Number()` read back.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from qdiag.errors import OptionError
from qdiag.report.elements import Report

SCHEMA = "qdiag.report.v1"
MEDIA_TYPE = f"application/vnd.{SCHEMA}+json"


def encode_report(report: Report) -> dict[str, Any]:
    """The report in JSON's types."""
    return {
        "schema": SCHEMA,
        "kind": report.kind,
        "title": report.title,
        "data": encode(report.data),
        "blocks": encode(report.blocks),
    }


def render_json(report: Report) -> str:
    """The report as a JSON document of one object."""
    return json.dumps(encode_report(report), indent=1, ensure_ascii=False, allow_nan=False)


def encode(value: Any) -> Any:
    """Plain data in JSON's types. Raises OptionError for anything else, as a tensor."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__.lower(), **fields}
    raise OptionError(
        f"a report cannot hold a {type(value).__name__}. Give str, numbers, None, lists or dictionaries.",
        code="report-content",
    )


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
