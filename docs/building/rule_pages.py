"""A page for each lint rule, made from the rule: its words, its two example models, and what lint says of the first."""

import re
from functools import cache

from qdiag.linting.explain import explain_rule
from qdiag.linting.finding import SEVERITIES
from qdiag.linting.lint import lint_model
from qdiag.linting.rule import RULES, Rule
from qdiag.report.elements import Listing, Text

FAMILIES = {
    "QD1": "How the model is built",
    "QD2": "How it is trained",
    "QD3": "Its numbers",
    "QD4": "What is hard in fixed point",
    "QD5": "What exports badly",
}


@cache
def rule_pages() -> dict[str, str]:
    """Text by path, the list of all rules first."""
    return {"rules/index.md": _index()} | {_path(rule): _page(rule) for rule in RULES}


def _path(rule: type[Rule]) -> str:
    return f"rules/{rule.code.lower()}_{rule.name.replace('-', '_')}.md"


def _index() -> str:
    lines = [
        "# Lint rules",
        "",
        "`lint_model(model, images, optimizer)`, or `qdiag lint my_model.py:build --input 1,3,224,224`, runs all of "
        "them over one forward. `# qdiag: ignore[QD103]` on a line of yours puts aside what is found there; `ignore=` "
        "and `suppress=` do it for a rule, everywhere or at some sites.",
    ]
    for family, title in FAMILIES.items():
        lines += ["", f"## {title}", "", "| rule | finds | severity |", "|---|---|---|"]
        rules = [rule for rule in RULES if rule.code.startswith(family)]
        lines += [
            f"| [{r.code} {r.name}]({_path(r).removeprefix('rules/')}) | {r.title} | {r.severity} |" for r in rules
        ]
    return "\n".join(lines) + "\n"


def _page(rule: type[Rule]) -> str:
    text, *listings = (block for block in explain_rule(rule.code).report().blocks if isinstance(block, Text | Listing))
    assert isinstance(text, Text)
    lines = [f"# {rule.code} {rule.name}", "", f"*{rule.severity}: {rule.title}*", "", text.text]
    for listing in listings:
        assert isinstance(listing, Listing)
        lines += ["", f"## {listing.title}", "", "```python", listing.text, "```"]
    return "\n".join([*lines, "", *_said(rule)]) + "\n"


def _said(rule: type[Rule]) -> list[str]:
    """What lint finds in the bad example."""
    model, inputs, optimizer, _ = rule.bad()
    lines = ["## What lint says of it", ""]
    for finding in lint_model(model, inputs, optimizer, select=rule.code).findings:
        assert finding.severity in SEVERITIES
        lines += [f"**{finding.severity}** at `{finding.site}`: {finding.why}", ""]
        lines += ["```python", finding.fix, "```", ""] if re.search(r"\S", finding.fix) else []
    return lines
