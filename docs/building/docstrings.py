"""How the reference reads docstrings: examples become code, long work gives its result, names become links."""

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.building.links import linked

_EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!\s*$).*\n?)*)+", re.MULTILINE)
_STEPS = re.compile(r"^Steps\[(.*)\]$")


class DocstringsAsHere(griffe.Extension):
    """Applied to every function and class that the reference shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring before it is parsed."""
        if obj.docstring is not None:
            text = linked(obj.docstring.value, indented=True)
            obj.docstring.value = _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """A verb of long work returns its result; `verb.steps(...)` gives the events."""
        if any(str(decorator.value) == "long_work" for decorator in func.decorators):
            found = _STEPS.match(str(func.returns))
            if found is not None:
                func.returns = found[1]
                func.labels.add("long work")
