"""A layer to blame."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.explanation.causes.cause import Evidence
from qdiag.explanation.trials import LEAST_GAIN_DB, Trial
from qdiag.linting.finding import Finding


@dataclass(frozen=True)
class Culprit:
    """A layer to blame.

    share: part of the noise at the network's output that this layer causes, by its trial where it had one, else part of
    all the noise that layers add; 0 to 1. evidence: the strongest first. findings: lint's, at this layer.
    mends: what was tried for this layer alone, the easiest to accept first.
    """

    layer: LayerComparison
    error: LayerError
    share: float
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...]
    trial: Trial | None
    mends: tuple[Trial, ...] = ()

    @property
    def mend(self) -> Trial | None:
        """The first that gains at least half as much, in dB, as the best does; None where nothing gains enough."""
        gains = [trial.gained_db or 0.0 for trial in self.mends]
        least = max([LEAST_GAIN_DB, *(gain / 2 for gain in gains)])
        return next((trial for trial, gain in zip(self.mends, gains, strict=True) if gain >= least), None)


def covering(culprits: Sequence[Culprit], part: float) -> Sequence[Culprit]:
    """The first culprits, as many as together do this part of the damage, 0 to 1."""
    covered = itertools.accumulate(culprit.share for culprit in culprits)
    enough = next((count for count, share in enumerate(covered, start=1) if share >= part), len(culprits))
    return culprits[:enough]
