"""One lint rule a file, found by `qdiag.linting.rule.RULES`; other packages add theirs through `qdiag.rules`."""
