"""Linting: is the model built and trained in a way that quantizes?

Here live `lint_model()`, its result `LintReport` with one `Finding` for each cause, the base class `Rule`, and what a
rule may ask (`LintContext`). The rules are in rules/, one file each: its docstring is what users read, its two example
models are its test. May import: subject and below.
"""
