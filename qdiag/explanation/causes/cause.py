"""What a cause is, and where all of them are found."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.registry import Registry


@dataclass(frozen=True)
class Suspect:
    """A layer in the lane that is on trial."""

    layer: LayerComparison
    error: LayerError


@dataclass(frozen=True)
class Evidence:
    """Why a layer loses. strength: part of the noise it adds that this accounts for, 0 to 1."""

    cause: str
    title: str
    strength: float
    text: str
    fix: str


class Cause:
    """One way to lose accuracy. name: as `weight-channel-spread`; title: the same in words."""

    name: ClassVar[str]
    title: ClassVar[str]

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        """The evidence against this layer; None where the cause does not apply."""
        raise NotImplementedError

    @classmethod
    def evidence(cls, strength: float, text: str, fix: str) -> Evidence:
        return Evidence(cls.name, cls.title, strength, text, fix)


def _is_cause(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Cause) and value is not Cause


CAUSES: Registry[type[Cause]] = Registry("qdiag.explanation.causes", _is_cause, lambda cause: cause.name)


def evidence_against(suspect: Suspect) -> tuple[Evidence, ...]:
    """All that convicts a layer, the strongest first."""
    found = [evidence for cause in CAUSES if (evidence := cause.judge(suspect)) is not None]
    return tuple(sorted(found, key=lambda evidence: -evidence.strength))
