"""Every rule against its own two example models: the pattern is found where it is, and nowhere else."""

import inspect
import linecache
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from qdiag import registry
from qdiag.linting.context import LintContext
from qdiag.linting.explain import explain_rule
from qdiag.linting.finding import SEVERITIES, Finding
from qdiag.linting.lint import lint_model
from qdiag.linting.rule import RULES, Rule
from qdiag.report.elements import Listing

every_rule = pytest.mark.parametrize("rule", list(RULES), ids=lambda rule: f"{rule.code}-{rule.name}")


@every_rule
def test_bad_example_has_the_pattern_at_its_sites(rule: type[Rule]) -> None:
    model, inputs, optimizer, sites = rule.bad()
    report = lint_model(model, inputs, optimizer, select=rule.code)
    assert tuple(site for finding in report.findings for site in finding.sites) == sites
    assert sites, "an example names the sites of its pattern"


@every_rule
def test_bad_example_is_found_at_the_marked_line(rule: type[Rule]) -> None:
    model, inputs, optimizer, _ = rule.bad()
    report = lint_model(model, inputs, optimizer, select=rule.code)
    places = [one for finding in report.findings for one in finding.each()]
    lines = [linecache.getline(one.source.file, one.source.line) for one in places if one.source]
    assert all(line.rstrip().endswith("# <-") for line in lines)
    module = inspect.getmodule(rule)
    assert module is not None
    assert bool(lines) == ("# <-" in inspect.getsource(module))


@every_rule
def test_examples_as_they_are_shown_make_the_examples(rule: type[Rule]) -> None:
    _, *listings = explain_rule(rule.code).report().blocks
    names = vars(inspect.getmodule(rule))
    for shown, example in zip(listings, (rule.bad(), rule.good()), strict=True):
        assert isinstance(shown, Listing)
        made: dict[str, object] = dict(names)
        exec(shown.text, made)
        models = [value for value in made.values() if isinstance(value, nn.Module)]
        model = models[0] if models else made["Net"]()  # type: ignore[operator]
        assert str(model) == str(example.model).removeprefix("_")


@every_rule
def test_good_example_is_clean(rule: type[Rule]) -> None:
    model, inputs, optimizer, _ = rule.good()
    assert lint_model(model, inputs, optimizer, select=rule.code).findings == ()


@every_rule
def test_severity_of_a_rule_is_that_of_its_example(rule: type[Rule]) -> None:
    model, inputs, optimizer, _ = rule.bad()
    found = lint_model(model, inputs, optimizer, select=rule.code).findings[0]
    assert found.severity in SEVERITIES
    assert SEVERITIES.index(found.severity) <= SEVERITIES.index(rule.severity)


@every_rule
def test_explanation_says_why_how_to_fix_and_where_it_is_written(rule: type[Rule]) -> None:
    text = str(explain_rule(rule.code))
    for heading in ("Why it", "Fix.", "Reference.", "The pattern", "Without it"):
        assert heading in text
    assert rule.__module__.rpartition(".")[2] == f"{rule.code.lower()}_{rule.name.replace('-', '_')}"


def test_rule_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class LargeKernel(Rule):
        """House rule."""

        code, name, title, severity = "HOUSE1", "large-kernel", "kernel over 5 x 5", "warning"

        def check(self, context: LintContext) -> Iterator[Finding]:
            for call in context.features:
                weight = call.tensor("weight")
                if weight is not None and weight.shape[-1] > 5:
                    yield self.finding(call, f"A kernel of {weight.shape[-1]}.", "nn.Conv2d(…, kernel_size=5)")

    assert "HOUSE1" not in RULES.members
    monkeypatch.delitem(vars(RULES), "members")
    points = {"qdiag.rules": [SimpleNamespace(load=lambda: LargeKernel)]}
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, []))

    report = lint_model(nn.Sequential(nn.Conv2d(3, 4, 7)), torch.zeros(1, 3, 9, 9), select="large-kernel")
    assert [(finding.code, finding.site) for finding in report.findings] == [("HOUSE1", "0")]
    assert "House rule." in str(explain_rule("HOUSE1"))  # without examples


def test_codes_and_names_are_unique() -> None:
    rules = list(RULES)
    assert len({rule.code for rule in rules}) == len({rule.name for rule in rules}) == len(rules) == 26
