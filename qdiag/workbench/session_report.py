"""A session as a report: the answer, the versions, and a close look at the worst layers."""

from collections.abc import Mapping

from qdiag.comparison.site_detail import SiteDetail
from qdiag.explanation.diagnosis import ANSWER, Diagnosis
from qdiag.export.verification import Verification
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Section, Text, charts_in
from qdiag.tracing.site import Site
from qdiag.workbench.history import History
from qdiag.workbench.session_parts import close_look, code_section, version_data
from qdiag.workbench.version_list import version_list

CLOSE = 3
"""Layers that are shown close up, at most."""


def session_report(
    model: str,
    history: History,
    verifications: Mapping[str, Verification],
    float_score: float | None,
    diagnosis: Diagnosis | None,
    details: Mapping[Site, SiteDetail],
    images: Displayable | None,
) -> Report:
    """The applied version's diagnosis, with its worst layers close up, and every version with its code.

    diagnosis, details: of the applied version; None and empty where it was not diagnosed yet. images: what became of
    them in it; None where nobody has looked.
    """
    title, versions = f"Session of {model}", history.values()
    if history.current is None:
        hint = "Nothing was run yet: `session.diagnose()` says whether it is quantization, where and why."
        return Report(title, (Text(hint),), "session", {"versions": [], "applied": None})
    beside = version_list(model, history, verifications, float_score).report().blocks
    blocks: list[Block] = [Section("Versions", (*beside, *map(code_section, versions)))]
    blocks += [Section("What happened to the images", images.report().blocks)] if images is not None else []
    data: dict[str, object] = {"applied": history.current.name, "versions": [version_data(v) for v in versions]}
    if diagnosis is not None:
        found = diagnosis.report()
        sites = [culprit.layer.site for culprit in diagnosis.culprits[:CLOSE]]
        looks = [close_look(str(site), charts_in(details[site].report())) for site in sites]
        blocks = [*found.blocks[:ANSWER], *blocks, *looks, *found.blocks[ANSWER:]]
        data["diagnosis"] = dict(found.data)
    return Report(title, tuple(blocks), "session", data)
