"""Every error of ours has a code, which the page of errors explains."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

import qdiag
from qdiag import errors
from qdiag.errors import InputError, OptionError, QdiagError, SiteNotFound

PACKAGE = Path(qdiag.__file__).parent
PAGE = PACKAGE.parent / "docs" / "errors.md"
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, QdiagError)}


def made_errors() -> Iterator[tuple[str, str, str]]:
    """Place, class and code of every error that the package makes; no code is ""."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
                codes = [word.value for word in node.keywords if word.arg == "code"]
                code = codes[0].value if codes and isinstance(codes[0], ast.Constant) else ""
                yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno}", node.func.id, str(code)


def explained() -> dict[str, set[str]]:
    """Classes by code, as the page lists them."""
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w, ]+) \| \S.* \| \S.* \|$", PAGE.read_text(), re.MULTILINE)
    assert [code for code, _ in rows] == sorted({code for code, _ in rows}), "in order, and each code once"
    return {code: set(kinds.split(", ")) for code, kinds in rows}


def test_every_code_is_explained_and_every_explained_code_is_used() -> None:
    used: dict[str, set[str]] = {}
    for _, kind, code in made_errors():
        if code:
            used.setdefault(code, set()).add(kind)
    assert used == explained()


def test_an_error_shows_its_code_and_keeps_it_between_processes() -> None:
    error = SiteNotFound("no site 'x'", code="no-site")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.code, copied.__notes__) == ("no site 'x'", "no-site", ["error code: no-site"])
    with pytest.raises(SiteNotFound, match="no-site"):
        raise copied
    assert not hasattr(OptionError("no code"), "__notes__")


class Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise InputError("cannot read the image", code="unreadable-image")


def test_an_error_comes_out_of_a_loaders_worker_as_what_it_is() -> None:
    with pytest.raises(InputError, match=r"(?s)cannot read the image.*unreadable-image"):
        next(iter(DataLoader(Broken(), num_workers=1)))


def test_every_error_has_a_code() -> None:
    assert [place for place, _, code in made_errors() if not code] == []


def test_what_a_file_name_holds_steers_no_terminal() -> None:
    assert str(InputError("'a\x1b[31m\x07.pt'\nis no file: größer")) == "'a\\x1b[31m\\x07.pt'\nis no file: größer"
