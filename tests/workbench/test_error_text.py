"""What the page says of an exception."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qdiag
from qdiag.errors import OptionError
from qdiag.quantization.calibrate import calibrate
from qdiag.workbench.error_text import error_html

USERS = """
import torch
class Net(torch.nn.Module):
    def forward(self, x):
        return self.scaled(x)
    def scaled(self, x):
        return x @ torch.ones(7, 7)
"""


def test_the_innermost_line_of_the_users_own_code_is_named(tmp_path: Path) -> None:
    file = tmp_path / "network.py"
    file.write_text(USERS)
    names: dict[str, type[nn.Module]] = {}
    exec(compile(USERS, str(file), "exec"), names)
    with pytest.raises(Exception, match="mat1 and mat2") as caught:
        calibrate(names["Net"](), torch.zeros(2, 4))
    shown = error_html(caught.value)
    assert "network.py:7 in scaled: <code>return x @ torch.ones(7, 7)</code>" in shown
    assert "<details>" in shown


def test_a_folder_beside_ours_is_the_users() -> None:
    ours = Path(qdiag.__file__).parent
    for folder, expected in ((ours.with_name(f"{ours.name}_models"), True), (ours, False)):
        names: dict[str, Any] = {}
        exec(compile("def fail():\n    raise ValueError('no')", str(folder / "net.py"), "exec"), names)
        with pytest.raises(ValueError, match="no") as caught:
            names["fail"]()
        assert ("net.py:2 in fail" in error_html(caught.value)) == expected


def test_an_error_of_ours_says_it_all() -> None:
    with pytest.raises(OptionError) as caught:
        calibrate(nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8), "bset")
    shown = error_html(caught.value)
    assert "no method &#x27;bset&#x27;" in shown
    assert "defect" not in shown


def test_what_comes_from_nowhere_else_is_a_defect_of_ours() -> None:
    shown = error_html(ZeroDivisionError("by <zero>"))
    assert "<b>ZeroDivisionError</b>: by &lt;zero&gt;" in shown
    assert "defect of qdiag" in shown
