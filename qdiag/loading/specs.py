"""Names of the user's own functions, as `file.py:function`, and the errors that come out of them."""

import ast
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from qdiag.errors import InputError, ModelError, OptionError, QdiagError

_NOT_THE_USERS = (*map(str, {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}), "<frozen")
_OURS = str(Path(__file__).parent)
_WORDS = {"true": True, "false": False, "none": None}


def load_object(spec: str) -> Any:
    """What `file.py:name` or `package.module:name` names.

    Raises OptionError where there is no such file, module or name, ModelError where the file itself raises.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise OptionError(f"{spec!r}: write file.py:function or package.module:function.", code="function-syntax")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        near = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise OptionError(
            f"{place} has no {name!r}. There are: {', '.join(near)[:300] or 'no functions'}.", code="no-function"
        )
    return getattr(module, name)


def call(spec: str, arguments: Sequence[str] = ()) -> Any:
    """What the function returns that `spec` names, or the object itself where it is no function.

    arguments: as `name=value`; values are Python literals, else words.

    Raises OptionError for arguments that the function does not take, ModelError where it raises.
    """
    found = load_object(spec)
    if not inspect.isroutine(found) and not inspect.isclass(found):
        if arguments:
            raise OptionError(
                f"{spec!r} is a {type(found).__name__}, which takes no arguments.", code="no-arguments-taken"
            )
        return found
    options = dict(map(_argument, arguments))
    _check_arguments(found, options, spec)
    with _users_own(spec):
        return found(**options)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise OptionError(f"argument {text!r}: write name=value, as width=32.", code="argument-syntax")
    if value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _check_arguments(function: Callable[..., Any], options: dict[str, Any], spec: str) -> None:
    signature = inspect.signature(function)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise OptionError(
            f"{spec}{signature}: {error}. Give its arguments as --arg name=value.", code="wrong-arguments"
        ) from None


def _module(name: str) -> ModuleType:
    nowhere = f"there is no module {name!r} to import here. For a file, write its name with .py."
    if not all(part.isidentifier() for part in name.split(".")):
        raise OptionError(nowhere, code="no-module")
    _search_first(Path.cwd())
    with _users_own(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if name == error.name or name.startswith(f"{error.name}."):
                raise OptionError(nowhere, code="no-module") from error
            raise  # the module is there, and lacks one that it needs


def _file(path: Path) -> ModuleType:
    """The file as a module, run once even where both the model and the data come from it."""
    path = path.resolve()
    if not path.is_file():
        raise OptionError(f"there is no file {path}.", code="no-file")
    _search_first(path.parent)  # the file's own neighbours, as when it is run
    # Worker processes of a DataLoader look for the file's own name; a name that is taken stays its owner's.
    name = path.stem
    while (loaded := sys.modules.get(name)) is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path} cannot be loaded as Python.", code="no-module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _users_own(path.name):
        spec.loader.exec_module(module)
    return module


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@contextmanager
def _users_own(what: str) -> Iterator[None]:
    """An error of the user's code is one of ours that says what it was and where; the original stays attached."""
    try:
        yield
    except QdiagError:
        raise
    except SystemExit as error:
        raise InputError(
            f"{what} ended the program{_place(error)}\nA file that is a script too keeps that part under "
            'if __name__ == "__main__":',
            code="script-ended",
        ) from error
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"{what} raised {type(error).__name__}: {error}{_place(error)}", code="user-code-raised"
        ) from error


def _place(error: BaseException) -> str:
    """The user's own lines on the way to the error, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*_NOT_THE_USERS, _OURS))]
    lines = [(frame.filename, frame.lineno, frame.line) for frame in own]
    if isinstance(error, SyntaxError):
        lines.append((error.filename or "", error.lineno, (error.text or "").strip()))
    return "".join(f"\n  {file}:{number}: {line}" for file, number, line in lines)
