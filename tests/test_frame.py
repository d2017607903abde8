"""The frame that everything stands in: the public names, the open sets, and what is in the package."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import qdiag
from qdiag.errors import OptionError
from qdiag.registry import Registry

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", qdiag.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    documentation = getattr(qdiag, name).__doc__
    assert documentation
    assert not documentation.startswith(f"{name}(")  # what a dataclass writes when nobody else did


def test_the_installed_version_is_the_one_of_the_project() -> None:
    assert importlib.metadata.version("qdiag") == PROJECT["version"]


def test_every_python_that_is_named_is_tested() -> None:
    named = {line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["fast"]["strategy"]["matrix"]
    assert set(matrix["python"]) == named
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*matrix["target"], *(one["target"] for one in matrix["include"])} <= set(targets)


def test_every_requirement_has_its_lowest_version() -> None:
    """`make test-lowest` runs with these."""
    requirements = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    assert [name for name in requirements if ">=" not in name] == []


def test_every_imported_package_is_declared() -> None:
    graph = grimp.build_graph("qdiag", include_external_packages=True, cache_dir=None)
    imported = {module for module in graph.modules if graph.is_module_squashed(module)} - sys.stdlib_module_names
    requirements = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    declared = {canonicalize_name(Requirement(requirement).name) for requirement in requirements}
    providers = importlib.metadata.packages_distributions()
    undeclared = {name for name in imported if declared.isdisjoint(map(canonicalize_name, providers.get(name, ())))}
    assert undeclared == set()


def test_the_wheel_holds_the_whole_package_and_the_notebooks(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("qdiag/")}
    package = {path.relative_to(REPOSITORY) for path in files_in(REPOSITORY / "qdiag")}
    notebooks = {Path("qdiag", path.relative_to(REPOSITORY)) for path in files_in(REPOSITORY / "notebooks")}
    assert packed == {path.as_posix() for path in package | notebooks}


def files_in(folder: Path) -> list[Path]:
    left_out = {"__pycache__", ".ipynb_checkpoints"}
    return [path for path in folder.rglob("*") if path.is_file() and left_out.isdisjoint(path.parts)]


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[Any]]:
    """An open set of two members, each in a file of its own, called by their sounds."""
    folder = tmp_path / "zoo" / "animals"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "cat.py").write_text("class Cat:\n    sound = 'meow'\n")
    (folder / "dog.py").write_text(
        "from zoo.animals.cat import Cat\nclass Dog:\n    sound = 'bark'\nclass Kennel: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("zoo.animals", lambda value: hasattr(value, "sound"), lambda animal: str(animal.sound))
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]


def test_members_are_found_once_each_and_in_order_of_their_names(animals: Registry[Any]) -> None:
    assert [animal.__name__ for animal in animals] == ["Dog", "Cat"]  # bark, meow
    assert len(animals) == 2


def test_a_member_is_called_by_its_name(animals: Registry[Any]) -> None:
    assert animals["meow"].__name__ == "Cat"


def test_a_wrong_name_is_answered_with_those_that_exist(animals: Registry[Any]) -> None:
    with pytest.raises(OptionError, match=re.escape("no animal 'moo'. There are: bark, meow.")):
        animals["moo"]


def test_another_package_adds_a_member_by_an_entry_point(animals: Registry[Any], tmp_path: Path) -> None:
    (tmp_path / "farm.py").write_text("class Cow:\n    sound = 'moo'\n")
    metadata = tmp_path / "farm-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: farm\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[qdiag.animals]\ncow = farm:Cow\n")
    assert [animal.__name__ for animal in animals] == ["Dog", "Cat", "Cow"]


def test_no_module_imports_one_that_imports_it_back() -> None:
    graph = grimp.build_graph("qdiag", exclude_type_checking_imports=False, cache_dir=None)
    imports = ((one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one))
    assert [way for one, other in imports if (way := graph.find_shortest_chain(other, one))] == []
