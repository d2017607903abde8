"""What is advised, run as it stands there: does it bring back what was lost?"""

import contextlib
import io
import math

import torch
from torch import Tensor, nn

import qdiag
from qdiag.explanation.diagnosis import Diagnosis
from tests.faults.cases import Case
from tests.faults.hosts import Host
from tests.faults.row import Row, key
from tests.faults.truth import NOTHING, Brute, Figures, Lane, Truth, figures

LEAST_DB = 1.0
"""Where a layer that is exact gains less, others keep the output lost, and nothing is asked of its mend."""


def repaired(case: Case, truth: Truth, diagnosis: Diagnosis) -> Row:
    """The first step that can be run: what it is, and whether it regains half of what was lost."""
    step = next((s for s in diagnosis.steps if s.code.startswith(("calibrate(", "equalize("))), None)
    if step is None:
        return {"repair": None, "regained": False}
    before, after = answers(case.host.model, case.host), answers(run(step.code, case), case.host)
    found = figures(before, after, case.host)
    return {
        "repair": step.title,
        "regained": regains(truth.coarse, found),
        "in_8_bit": "bits=" not in step.code,
        "after_db": round(found.worst_db, 2),
    }


def run(code: str, case: Case) -> nn.Module:
    """The model that a line of advice makes."""
    names = {"model": case.host.model, "images": case.host.calibration, "data": case.host.images}
    verbs = {name: getattr(qdiag, name) for name in ("calibrate", "equalize", "what_if", "MacBudget")}
    with contextlib.redirect_stderr(io.StringIO()):
        return eval(code, verbs | names)


@torch.no_grad()
def answers(model: nn.Module, host: Host) -> Tensor:
    return torch.cat([model(part) for part in host.images.split(100)])


def regains(before: Figures, after: Figures) -> bool:
    """Half of the changed decisions and of the drop; of values, half of the noise."""
    if before.is_of_values:
        return after.worst_db >= before.worst_db + 3
    changed = 100 - after.most_equal <= max(0.5 * (100 - before.most_equal), 1.0)
    return changed and after.most_lost <= max(0.5 * before.most_lost, 0.5)


def mended(case: Case, diagnosis: Diagnosis) -> Row:
    """What mends the first culprit, where the output gains when that layer alone is exact: half of that noise gone?

    Also what was predicted of it, and what the diagnosis measured, on its few images.
    """
    if not diagnosis.culprits:
        return {}
    culprit = diagnosis.culprits[0]
    name, brute = key(culprit.layer.site), Brute(case.host)
    exact = brute.outputs(NOTHING, case.host.images)

    def noise(lane: Lane) -> float:
        return float((brute.outputs(lane, case.host.images) - exact).square().sum())

    others = [other for other in brute.names if other != name]
    before, best = noise(brute.everything(8)), noise(Lane(others, others))
    if best * 10 ** (LEAST_DB / 10) > before:
        return {}
    if culprit.mend is None:
        return {"mend": None, "mend_works": False}
    after = float((answers(run(culprit.mend.code, case), case.host) - exact).square().sum())
    return {
        "mend": culprit.mend.title,
        "mend_works": after <= before - 0.5 * (before - best),
        "mend_db": round(10 * math.log10(before / max(after, 1e-30)), 2),
        "exact_db": round(10 * math.log10(before / max(best, 1e-30)), 2),
        "predicted_db": culprit.mend.predicted_db,
        "gained_db": culprit.mend.gained_db,
    }
