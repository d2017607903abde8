"""What a cause is, and where all of them are found."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.registry import Registry


@dataclass(frozen=True)
class Suspect:
    """A layer in the lane that is on trial.

    Attributes:
        layer: In all lanes.
        error: In this one.
    """

    layer: LayerComparison
    error: LayerError


@dataclass(frozen=True)
class Evidence:
    """Why a layer loses.

    Attributes:
        cause: Its name.
        title: The same in words.
        strength: Part of the noise that the layer adds which this accounts for, 0 to 1.
        text: The numbers that convict.
        fix: What mends it.
    """

    cause: str
    title: str
    strength: float
    text: str
    fix: str


class Cause:
    """One way to lose accuracy.

    Attributes:
        name: As `weight-channel-spread`.
        title: The same in words.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        """The evidence against this layer; None where the cause does not apply.

        Args:
            suspect: The layer, and its error.
        """
        raise NotImplementedError

    @classmethod
    def evidence(cls, strength: float, text: str, fix: str) -> Evidence:
        """Evidence of this cause.

        Args:
            strength: Part of the noise that the layer adds which this accounts for, 0 to 1.
            text: The numbers that convict.
            fix: What mends it.
        """
        return Evidence(cls.name, cls.title, strength, text, fix)


def _is_cause(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Cause) and value is not Cause


CAUSES: Registry[type[Cause]] = Registry("qdiag.explanation.causes", _is_cause, lambda cause: cause.name)


def evidence_against(suspect: Suspect) -> tuple[Evidence, ...]:
    """All that convicts a layer, the strongest first."""
    found = [evidence for cause in CAUSES if (evidence := cause.judge(suspect)) is not None]
    return tuple(sorted(found, key=lambda evidence: -evidence.strength))
