"""The lines of Python that make a version."""

import ast

import pytest

from qdiag.workbench.version_code import calibrated, equalized, tried


@pytest.mark.parametrize("name", ["conv1", "it's", 'a "b"', "back\\slash", "new\nline", "naïve", "a'b\"c"])
def test_names_with_quotes_are_written_as_python_reads_them(name: str) -> None:
    for change in (
        tried([name, "head"], bits=16, per_channel=None, octaves=0),
        equalized([name]),
        equalized(name),
        calibrated((name,), {name: 16, "*": 8}, None),
    ):
        (line,) = change.code
        found = [node.value for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Constant)]
        assert name in found, line
