"""What all commands have in common: options that come in groups, and errors that come as one message."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Annotated, Any

import typer

from qdiag.cli.output import tell_error
from qdiag.errors import QdiagError

_DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--debug", help="Show an error with its whole traceback.")],
)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """For Typer, a function whose parameters may be groups of options.

    A group is a dataclass, whose fields are annotated as Typer's parameters are; each becomes an option of the command.
    So several commands take the same options without each listing them.
    """
    signature = inspect.signature(function, eval_str=True)
    parts = {name: _options(parameter) for name, parameter in signature.parameters.items()}

    @functools.wraps(function)
    def run(debug: bool, **values: Any) -> None:
        with _plain_errors(debug):
            function(**{name: _value(signature.parameters[name], part, values) for name, part in parts.items()})

    flat = [option for part in parts.values() for option in part] + [_DEBUG]
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in flat]
    )
    return run


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The fields of a group; any other parameter is an option itself."""
    if _is_group(parameter):
        return list(inspect.signature(parameter.annotation, eval_str=True).parameters.values())
    return [parameter]


def _value(parameter: inspect.Parameter, options: list[inspect.Parameter], values: dict[str, Any]) -> Any:
    given = {option.name: values[option.name] for option in options}
    return parameter.annotation(**given) if _is_group(parameter) else given[parameter.name]


def _is_group(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.annotation)


@contextmanager
def _plain_errors(debug: bool) -> Iterator[None]:
    """An error of ours is one message, without a traceback, and exit code 2."""
    try:
        yield
    except QdiagError as error:
        if debug:
            raise
        tell_error(error)
        raise typer.Exit(2) from error
