"""One case: what the library says of it, held against the truth."""

import contextlib
import io
import time
from functools import cache

import qdiag
from qdiag.explanation.diagnosis import Diagnosis
from tests.faults.boxes import Finding
from tests.faults.cases import Case, host_of
from tests.faults.repaired import mended, repaired
from tests.faults.row import Row, key
from tests.faults.truth import Figures, Truth, truth_of

WEIGHT_CAUSES = {"weight-channel-spread", "input-channel-spread", "weight-outlier", "coarse-weight", "saturated-bias"}
NOISY_MAP = 6.0
"""Points of mAP that 32 images cannot tell from nothing: as wide as its interval over them is."""
FALLEN = 0.2
"""Float that lost so much of its top-1 by wrong data or weights is wrong; less is not scored."""


def run_case(case: Case) -> Row | None:
    """The case's row; None where the fault does nothing that there would be a right answer to."""
    begun = time.perf_counter()
    truth = truth_of(case.host)
    row: Row = {"name": case.name, "group": case.group, "fault": case.fault, "host": case.healthy.name}
    if case.group == "wrong":
        before = truth_of(case.healthy).float_right
        if before is None or truth.float_right is None or truth.float_right > before - FALLEN:
            return None
        row |= {"float": truth.float_right, "healthy_float": before}
    diagnosis = diagnosed(case)
    kind = diagnosis.verdict.kind
    right = accepted(case, truth)
    lost = truth.coarse.is_lost or truth.fine.is_lost
    row |= {
        "verdict": kind,
        "accepted": sorted(right),
        "right": kind in right,
        "lost": lost,
        "false_healthy": kind == "healthy" and (lost or case.group == "wrong"),
        "drop": truth.coarse.drop,
        "agreement": truth.coarse.agreement,
        "db": round(truth.coarse.worst_db, 2),
        "headline": diagnosis.verdict.headline,
    }
    if case.group == "healthy":
        row |= accused(diagnosis)
    if lost and case.group != "wrong":
        row |= blamed(case, truth, diagnosis)
        row |= repaired(case, truth, diagnosis) | mended(case, diagnosis)
    return row | {"seconds": round(time.perf_counter() - begun, 2)}


def diagnosed(case: Case) -> Diagnosis:
    host = case.host
    finding = None if host.boxes is None else Finding(host.images, host.boxes)
    with contextlib.redirect_stderr(io.StringIO()):
        return qdiag.diagnose(
            host.model, host.data, calibration_data=host.calibration, evaluate=finding, minutes=host.minutes
        )


def accepted(case: Case, truth: Truth) -> set[str]:
    """Verdicts that are right: one, or two where the truth lies so near a limit that other rounding would cross it."""
    if case.group == "wrong":
        return {"float-is-wrong"}
    fine, coarse = truth.fine, truth.coarse
    if fine.is_lost and not may_be_small(fine):
        return {"not-quantization"}
    found = set()
    if fine.is_lost or (not fine.is_fine and fine.worst_db < coarse.worst_db + 7):
        found.add("not-quantization")
    if coarse.is_lost or may_be_lost(coarse):
        found.add("quantization")
    if not coarse.is_lost and may_be_fine(coarse):
        found.add("healthy")
    if may_be_small(coarse):
        found |= {"small-loss", "undecided"}
    return found


def may_be_lost(one: Figures) -> bool:
    if one.is_of_values:
        return one.worst_db < 16.5
    return one.most_equal < 92 or one.most_lost > 1.25


def may_be_fine(one: Figures) -> bool:
    if one.is_of_values:
        return one.worst_db > 23.5
    return one.most_equal >= 95 and one.most_lost <= 1.5 and (one.agreement is None or one.worst_db > 14)


def may_be_small(one: Figures) -> bool:
    if one.is_of_values:
        return 13.5 < one.worst_db < 26.5
    equal, lost = one.most_equal, one.most_lost
    limit = 3.5 if one.agreement is not None else NOISY_MAP
    return equal > 88 and lost < limit and not (equal > 98.8 and lost < 0.4 and one.worst_db > 16)


def accused(diagnosis: Diagnosis) -> Row:
    """Of a healthy network: findings of lint that are errors, and layers blamed."""
    errors = [] if diagnosis.lint is None else [f.code for f in diagnosis.lint.findings if f.severity == "error"]
    return {"errors": errors, "named": [str(culprit.layer.site) for culprit in diagnosis.culprits]}


@cache
def loses_already(name: str) -> bool:
    """True of a network that 8 bits break as it is: then the fault put in need not be what the layer suffers from."""
    healthy = host_of(name)
    return healthy is not None and truth_of(healthy).coarse.is_lost


def blamed(case: Case, truth: Truth, diagnosis: Diagnosis) -> Row:
    """Culprit and cause."""
    named = [key(culprit.layer.site) for culprit in diagnosis.culprits]
    row: Row = {
        "culprit": named[:3],
        "true_culprits": list(truth.culprits),
        "first": bool(named) and named[0] in truth.culprits,
        "in_three": any(name in truth.culprits for name in named[:3]),
        "baseline_first": truth.lowest[0] in truth.culprits,
        "baseline_in_three": any(name in truth.culprits for name in truth.lowest[:3]),
    }
    if not row["first"]:
        return row
    evidence = diagnosis.culprits[0].evidence
    cause = evidence[0].cause if evidence else None
    weights = truth.weights_of(named[0])
    row |= {"cause": cause, "weights_part": round(weights, 3)}
    if 0.35 < weights < 0.65:
        words = case.causes[0] + case.causes[1]
        row["side"] = cause is not None
    else:
        words = case.causes[0 if weights >= 0.65 else 1]
        row["side"] = cause is not None and (cause in WEIGHT_CAUSES) == (weights >= 0.65)
    if words and not loses_already(case.healthy.name):
        row["word"] = cause in words
    return row
