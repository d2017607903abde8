"""Every error qdiag raises on purpose: what happened, where, and what to do next."""


class QdiagError(Exception):
    """Base of all errors of ours.

    code: short and lasting, for programs and tests to tell errors by. Tracebacks show it below the message, and
    docs/errors.md lists all of them.

    An error that reaches the user as anything else is a defect of qdiag.

    >>> error = OptionError("no version 'best' in the history.", code="no-version")
    >>> str(error), error.code
    ("no version 'best' in the history.", 'no-version')
    """

    def __init__(self, message: str, *, code: str = ""):
        # Torch makes an error that a DataLoader's worker raised anew, from its message alone.
        super().__init__(_printable(message))
        self.code = code
        if code:
            self.add_note(f"error code: {code}")


class InputError(QdiagError):
    """The data, or an example input, is not something the model can be run on."""


class ModelError(QdiagError):
    """The model cannot be run or simulated as it is: it raises, holds NaN, or lies on no real device."""


class SiteNotFound(QdiagError, KeyError):
    """An address that this trace does not hold."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0])


class OptionError(QdiagError, ValueError):
    """An option's value is not one of those on offer."""


class QdiagWarning(UserWarning):
    """Something was left out or done differently, and the result says so too."""


def _printable(text: str) -> str:
    """With what steers a terminal, as a file's name may hold it, written out."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
