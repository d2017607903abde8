"""`explain()`: the verdict in words, culprits first, a repair for each."""

from collections.abc import Sequence

from qdiag.comparison.comparison import Comparison
from qdiag.explanation.causes.cause import Suspect, evidence_against
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.repairs import Untried
from qdiag.explanation.steps import next_steps
from qdiag.explanation.trials import Trial, damage_shares
from qdiag.explanation.verdict import judge
from qdiag.linting.lint_report import LintReport

CULPRITS = 10
LEAST_SHARE = 0.01


def explain(
    comparison: Comparison,
    lint: LintReport | None = None,
    trials: Sequence[Trial] = (),
    untried: Sequence[Untried] = (),
) -> Diagnosis:
    """Say what a comparison shows: the verdict, the layers to blame with their causes, and what to do.

    The coarsest lane of the comparison is the one on trial.

    Args:
        comparison: Of float with one version or more.
        lint: Findings to set beside the culprits.
        trials: What changes did to the output; `diagnose()` runs them. Without them layers are ranked by the noise that
            each adds, which cannot see how much of it later layers let through.
        untried: Repairs that `diagnose()` had no time for.

    >>> import torch
    >>> from qdiag.comparison.compare import compare
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU()).eval()
    >>> explain(compare(net, torch.rand(64, 3, 6, 6))).verdict.kind
    'healthy'
    """
    verdict = judge(comparison)
    culprits = () if verdict.kind == "healthy" else rank(comparison, lint, trials)
    steps = next_steps(verdict, comparison, culprits, trials, lint, untried)
    return Diagnosis(verdict, comparison, culprits, tuple(trials), steps, lint)


def rank(comparison: Comparison, lint: LintReport | None, trials: Sequence[Trial]) -> tuple[Culprit, ...]:
    """The layers to blame, worst first; by their trials also whether weights or the stored tensor are."""
    lane = comparison.lanes[-1]
    tried = {trial.site: trial for trial in trials if trial.kind == "layer"}
    added = sum(min(layer.lanes[lane].added_noise, 1.0) for layer in comparison.layers)
    shares = damage_shares(trials)
    found = []
    for layer in comparison.layers:
        error, trial = layer.lanes[lane], tried.get(layer.site)
        if tried and trial is None:
            continue
        findings = () if lint is None else tuple(dict.fromkeys(f for site in layer.sites for f in lint.by_site(site)))
        mends = tuple(one for one in trials if one.kind == "mend" and one.site == layer.site)
        share = shares[layer.site] if trial else min(error.added_noise, 1.0) / (added or 1.0)
        told = error if trial is None or trial.weights_part is None else error.blamed(trial.weights_part)
        found.append(Culprit(layer, error, share, evidence_against(Suspect(layer, told)), findings, trial, mends))
    found.sort(key=lambda culprit: -culprit.share)
    return tuple(culprit for culprit in found[:CULPRITS] if culprit.share >= LEAST_SHARE)
