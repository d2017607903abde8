"""Three ways to put a finding aside; it is counted all the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import OptionError
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport

IMAGE = torch.zeros(1, 3, 8, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.neck = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.neck(x)  # measured, and fine  # qdiag: ignore[QD101, QD103]
        return self.head(x)


def sites(report: LintReport) -> list[str]:
    return [site for finding in report.findings for site in finding.sites]


def test_comment_on_the_line_suppresses() -> None:
    report = lint_model(Net(), IMAGE, select="QD101")
    assert sites(report) == ["stem"]
    (put_aside,) = report.suppressed
    assert put_aside.finding.site == "neck"
    assert put_aside.by.startswith("comment at linting/test_suppression.py:")


@pytest.mark.parametrize("rule", ["QD101", "missing-batchnorm"])
def test_ignore_puts_a_whole_rule_aside(rule: str) -> None:
    report = lint_model(Net(), IMAGE, ignore=rule)
    assert report.by_rule("QD101") == ()
    assert [s.finding.site for s in report.suppressed if s.by == "ignore=QD101"] == ["stem", "neck"]


@pytest.mark.parametrize("pattern", ["stem", "st*", ["x", "stem"]])
def test_suppress_takes_sites_by_pattern(pattern: str | list[str]) -> None:
    report = lint_model(Net(), IMAGE, select="QD101", suppress={"QD101": pattern})
    assert report.findings == ()
    assert {s.finding.site for s in report.suppressed} == {"stem", "neck"}


def test_comment_for_another_rule_does_nothing_and_one_for_all_does_all() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)  # qdiag: ignore[QD305]
            x = self.b(x)  # qdiag: ignore
            return self.head(x)

    assert sites(lint_model(Other(), IMAGE, select="QD101")) == ["a"]


def test_suppressed_findings_do_not_fail() -> None:
    report = lint_model(Net(), IMAGE, select="QD101", suppress={"QD101": "stem"}, fail_on="note")
    assert report.exit_code == 0
    assert "Suppressed (2)" in str(report)


@pytest.mark.parametrize("options", [{"select": "QD999"}, {"ignore": ["no-such"]}, {"suppress": {"QD999": "*"}}])
def test_unknown_rule_is_an_error_that_lists_them(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"(?s)QD101 missing-batchnorm.*unknown-name"):
        lint_model(Net(), IMAGE, **options)


def test_unknown_severity_is_an_error() -> None:
    with pytest.raises(OptionError, match="'error', 'warning', 'note'"):
        lint_model(Net(), IMAGE, fail_on="grave")  # type: ignore[arg-type]
