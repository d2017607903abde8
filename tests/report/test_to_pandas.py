import math

import pytest

from qdiag.errors import OptionError
from qdiag.report.to_pandas import report_frame
from tests.report.samples import EVERY_KIND


def test_the_first_table_is_the_main_one() -> None:
    frame = report_frame(EVERY_KIND)
    assert list(frame.columns) == ["severity", "site", "source", "sqnr_db", "weights", "merged", "why"]
    assert frame["sqnr_db"].dtype == float
    assert frame["sqnr_db"].tolist()[:2] == [3.14159, math.inf]
    assert frame["site"].tolist() == ["layer1.0.conv1.conv2d", "conv1.conv2d", "fc.linear"]
    assert frame["severity"].tolist() == ["error", "unusual", "note"]
    assert frame["source"][0] == "/home/ann/net/models/resnet.py:92"


def test_a_table_is_found_by_its_key() -> None:
    assert report_frame(EVERY_KIND, "findings").equals(report_frame(EVERY_KIND))
    with pytest.raises(OptionError, match=r"(?s)'layers'.*'findings'.*no-table"):
        report_frame(EVERY_KIND, "layers")
