"""The one place where a user's model is called."""

from typing import Any, Protocol

from torch import nn

from qdiag.errors import ModelError, QdiagError
from qdiag.tracing.input_hint import input_hint
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source, calls_the_model


class Whereabouts(Protocol):
    """Tells how far a forward has come: the last address that it reached, and where in the user's code that is."""

    last_site: Site | None
    last_source: Source | None


@calls_the_model
def forward(model: nn.Module, inputs: Inputs, seen: Whereabouts | None = None) -> Any:
    """Call the model. Raises ModelError with the last address reached where it raises an error of its own."""
    try:
        return model(*inputs.args, **inputs.kwargs)
    except QdiagError:
        raise
    except Exception as error:  # the user's model may raise anything; its error stays attached
        where = ""
        if seen is not None and seen.last_site is not None:
            at = f" ({seen.last_source})" if seen.last_source else ""
            where = f" at or after site {str(seen.last_site)!r}{at}"
        hint = input_hint(model, inputs)
        raise ModelError(
            f"the model raised {type(error).__name__}{where}: {error}. It was called with ({inputs.describe()}).{hint}",
            code="model-raised",
        ) from error
