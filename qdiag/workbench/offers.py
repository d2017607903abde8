"""What the session can do next, by one command each, with what trying it brought in the diagnosis."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdiag.comparison.output_error import OutputError
from qdiag.explanation.culprit import Culprit, covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.repairs import BUDGET
from qdiag.explanation.trials import Trial
from qdiag.quantization.calibrate import DEFAULT_METHOD
from qdiag.workbench.material import FIRST

SUGGESTED = 5
"""Culprits that one offer changes, at most."""
COVERED = 0.9
"""So much of the damage they do together."""
LOSING = ("quantization", "small-loss")
"""Verdicts that number formats can mend."""

Deed = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A command of `Session`, and what it is called with."""
REPAIRS: dict[str, tuple[str, Deed]] = {
    "searched ranges": ("Calibrate: advanced", ("calibrate", ("advanced",), {})),
    "all that needs no labels": (f"Calibrate: {DEFAULT_METHOD}", ("calibrate", (DEFAULT_METHOD,), {})),
    "depthwise weights per-channel": (
        "Per-channel depthwise weights",
        ("calibrate", ("simple",), {"per_channel": "depthwise"}),
    ),
    "all weights per-channel": ("Per-channel weights", ("calibrate", ("simple",), {"per_channel": "all"})),
    f"{BUDGET.percent:g} % of its operations in 16 bit": (
        f"{BUDGET.percent:g} % of operations in 16 bit",
        ("calibrate", ("simple", BUDGET), {}),
    ),
}
"""Repairs of the whole network that a calibration by minimum and maximum is compared with, by the trial's title: what
the page calls them, and what does them."""


@dataclass(frozen=True)
class Offer:
    """One command of the session that makes a version, or looks at one.

    Attributes:
        title: What it does.
        command: The session's method.
        arguments: It is called with them.
        options: It is called with them, by name.
        gain: The output's figure before and after, where it was tried; "" where it was not.
    """

    title: str
    command: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    gain: str = ""

    @property
    def code(self) -> str:
        """The line of Python that does the same."""
        words = [*map(repr, self.arguments), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"session.{self.command}({', '.join(words)})"


def offers(
    diagnosis: Diagnosis, applied: str, made: Iterable[str] = (), *, is_verified: bool = False
) -> tuple[Offer, ...]:
    """What to do next, the best first; what the diagnosis advises comes before what it merely tried.

    Args:
        diagnosis: Of the applied version.
        applied: Its name.
        made: Names of versions that are there already.
        is_verified: Whether its integers were compared with ONNX Runtime's.
    """
    if diagnosis.verdict.kind == "healthy":
        return () if is_verified else (Offer("Verify its integers", "verify"),)
    if diagnosis.verdict.kind not in LOSING:
        return ()
    found = [*_advised(diagnosis, applied), *_at_culprits(diagnosis)]
    found.append(Offer(f"Calibrate: {DEFAULT_METHOD}", "calibrate", (DEFAULT_METHOD,)))
    known = {repr((name,)) for name in made}
    fresh = [offer for offer in found if offer.command != "calibrate" or repr(offer.arguments) not in known]
    first_of_each = {offer.code: offer for offer in reversed(fresh)}
    return tuple(offer for offer in fresh if first_of_each[offer.code] is offer)


def _advised(diagnosis: Diagnosis, applied: str) -> Iterator[Offer]:
    """Repairs of the whole network, in the order in which the diagnosis advises them."""
    before = diagnosis.comparison.outputs[diagnosis.comparison.lanes[-1]]
    trials = {trial.code: trial for trial in diagnosis.trials if trial.kind == "repair"}
    for step in diagnosis.steps:
        trial = trials.get(step.code)
        if trial is None:
            continue
        if trial.title == "equalized channels":
            yield Offer("Equalize channels", "equalize", ("*",), gain=gain(trial, before))
        elif applied == FIRST and trial.title in REPAIRS:  # each of them starts from the float model
            title, (command, arguments, options) = REPAIRS[trial.title]
            yield Offer(title, command, arguments, options, gain(trial, before))


def _at_culprits(diagnosis: Diagnosis) -> Iterator[Offer]:
    """Mends of the worst layer alone, as they were tried; then the usual changes of all that do most of the damage."""
    worst = covering(diagnosis.culprits, COVERED)[:SUGGESTED]
    if not worst:
        return
    mends = worst[0].mends
    for trial in sorted(mends, key=lambda trial: trial is not worst[0].mend):
        offer = _mend(str(worst[0].layer.site), trial)
        if offer is not None and (trial.gained_db or 0.0) > 0:
            yield offer
    weighted = _names(culprit for culprit in worst if culprit.layer.is_weighted)
    if weighted:
        yield Offer(f"Per-channel weights: {_told(weighted)}", "what_if", (weighted,), {"per_channel": True})
    names = _names(worst)
    yield Offer(f"16 bit: {_told(names)}", "what_if", (names,), {"bits": 16})


def _mend(name: str, trial: Trial) -> Offer | None:
    """None for what no command does, as ranges from other data."""
    deeds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "equalized channels": ("Equalize channels", "equalize", {}),
        "per-channel weights": ("Per-channel weights", "what_if", {"per_channel": True}),
        "16 bit": ("16 bit", "what_if", {"bits": 16}),
    }
    if trial.title not in deeds or trial.before is None:
        return None
    title, command, options = deeds[trial.title]
    return Offer(f"{title}: {name}", command, ([name],), options, gain(trial, trial.before))


def gain(trial: Trial, before: OutputError) -> str:
    """The figure that counts, from and to, and on how many images."""
    before, after = trial.before or before, trial.output
    if before.score is not None and after.score is not None:
        told = f"{after.figure} {before.score:.4g} → {after.score:.4g}"
    elif before.top1_percent is not None and after.top1_percent is not None:
        told = f"top-1 {before.top1_percent:.1f} → {after.top1_percent:.1f} %"
    elif after.means_classes and before.agreement_percent is not None and after.agreement_percent is not None:
        told = f"agrees with float {before.agreement_percent:.1f} → {after.agreement_percent:.1f} %"
    else:
        told = f"output {before.worst_sqnr_db:.1f} → {after.worst_sqnr_db:.1f} dB"
    return f"{told} (tried on {trial.images} images)"


def _names(culprits: Iterable[Culprit]) -> list[str]:
    return [str(culprit.layer.site) for culprit in culprits]


def _told(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} layers"
