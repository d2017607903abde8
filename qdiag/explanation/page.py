"""A diagnosis, shown: the answer first, then what convicts, then everything."""

from typing import TYPE_CHECKING

from qdiag.comparison.outputs import OutputError
from qdiag.comparison.page import as_data as comparison_data
from qdiag.comparison.page import error_chart, floating_section, layer_table, output_facts, place, worst_chart
from qdiag.explanation.culprit import Culprit, covering
from qdiag.explanation.verdict import VerdictKind
from qdiag.report.cells import Cell, Code
from qdiag.report.elements import Block, Callout, Listing, Report, Section, Text
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table

if TYPE_CHECKING:
    from qdiag.explanation.diagnosis import Diagnosis

_LEVELS: dict[VerdictKind, Level] = {
    "healthy": "ok",
    "small-loss": "warning",
    "quantization": "error",
    "not-quantization": "error",
}


def page(diagnosis: "Diagnosis") -> Report:
    """Verdict, figures, next steps, culprits, trials, lint, and every layer."""
    comparison, verdict = diagnosis.comparison, diagnosis.verdict
    blocks: list[Block] = [
        Callout(_LEVELS[verdict.kind], verdict.headline, verdict.text),
        output_facts(comparison),
        Section("What to do next", _steps(diagnosis)),
    ]
    if diagnosis.culprits and verdict.kind != "healthy":
        blocks.append(Section("Who is to blame", (blame(diagnosis), culprit_table(diagnosis))))
    if any(trial.kind != "alone" for trial in diagnosis.trials):
        blocks.append(Section("What was tried", (trial_table(diagnosis),)))
    if diagnosis.lint is not None:
        lint = diagnosis.lint.report()
        blocks.append(Section(lint.title, lint.blocks))
    blocks.append(Section("Where the error enters", (error_chart(comparison), worst_chart(comparison))))
    blocks.append(Section("Every layer", (layer_table(comparison),), collapsed=True))
    if comparison.floating:
        blocks.append(floating_section(comparison))
    blocks += [culprit_section(culprit) for culprit in diagnosis.culprits]
    return Report(f"Diagnosis of {comparison.model_name}", tuple(blocks), "diagnosis", as_data(diagnosis))


def _steps(diagnosis: "Diagnosis") -> tuple[Block, ...]:
    blocks: list[Block] = []
    for number, step in enumerate(diagnosis.steps, start=1):
        blocks.append(Text(f"**{number}. {step.title}.** {step.text}"))
        if step.code:
            blocks.append(Listing(step.code))
    return tuple(blocks)


def blame(diagnosis: "Diagnosis") -> Text:
    """One paragraph: weights or activations, and the few layers that make most of it."""
    sentences = []
    parts = {trial.title: trial.output.sqnr_db for trial in diagnosis.trials if trial.kind == "part"}
    if parts:
        weights, activations = parts["weights only"], parts["activations only"]
        blame = "**The weights are to blame**" if weights < activations else "**The activations are to blame**"
        if abs(weights - activations) < 3:
            blame = "**Weights and activations share the blame**"
        sentences.append(
            f"{blame}: with only the weights in 8 bit the output is at {weights:.1f} dB, with only the activations at "
            f"{activations:.1f} dB."
        )
    worst = covering(diagnosis.culprits, 0.5)
    names = ", ".join(f"`{culprit.layer.site}`" for culprit in worst)
    verb = "causes" if len(worst) == 1 else "cause"
    sentences.append(f"{names} {verb} {sum(culprit.share for culprit in worst):.0%} of the damage.")
    depthwise = sum(culprit.share for culprit in diagnosis.culprits if culprit.layer.is_depthwise)
    if depthwise >= 0.3:
        sentences.append(f"Depthwise convolutions stand for {depthwise:.0%}.")
    return Text(" ".join(sentences))


def culprit_table(diagnosis: "Diagnosis") -> Table:
    """Who, how much, why, and what mends it."""
    tried = any(culprit.trial is not None for culprit in diagnosis.culprits)
    columns = (
        Column("site", "layer"),
        Column("kind", "kind"),
        Column("share_percent", "share", "%", ".0f", "right", "of the damage that the layers listed here do"),
        Column("alone_sqnr_db", "output if only this", "dB", ".1f", "right", "with nothing but this layer in 8 bit"),
        Column("added_sqnr_db", "layer alone", "dB", ".1f", "right", "its own tensor, from exact inputs"),
        Column("why", "why"),
        Column("fix", "what mends it"),
        Column("place", "called at"),
    )
    rows = tuple(_culprit_row(culprit) for culprit in diagnosis.culprits)
    caption = "The share is measured: each layer was quantized with all others in float, and the output compared."
    if not tried:
        caption = "The share is of the noise that the layers add; how much of it reaches the output was not measured."
    return Table(columns, rows, "Culprits, worst first", caption, key="culprits")


def _culprit_row(culprit: Culprit) -> tuple[Cell, ...]:
    first = culprit.evidence[0] if culprit.evidence else None
    return (
        Code(str(culprit.layer.site)),
        culprit.layer.title,
        100 * culprit.share,
        culprit.trial.output.sqnr_db if culprit.trial else None,
        culprit.error.added["sqnr_db"],
        first.text if first else "no single cause stands out",
        first.fix if first else None,
        place(culprit.layer),
    )


def trial_table(diagnosis: "Diagnosis") -> Table:
    """The numbers after doing it."""
    comparison = diagnosis.comparison
    columns = (
        Column("change", "what was changed"),
        Column("top1_percent", "top-1", "%", ".1f", "right"),
        Column("drop_points", "drop", "points", ".1f", "right"),
        Column("agreement_percent", "agrees with float", "%", ".1f", "right"),
        Column("sqnr_db", "output SQNR", "dB", ".1f", "right"),
        Column("images", "images", align="right"),
    )
    rows = [_trial_row(f"{lane}, as it is", comparison.outputs[lane], comparison.images) for lane in comparison.lanes]
    rows += [_trial_row(t.title, t.output, t.images) for t in diagnosis.trials if t.kind != "alone"]
    return Table(columns, tuple(rows), key="trials")


def _trial_row(title: str, output: OutputError, images: int) -> tuple[Cell, ...]:
    return title, output.top1_percent, output.drop_points, output.agreement_percent, output.sqnr_db, images


def culprit_section(culprit: Culprit) -> Section:
    """All that is known against one layer."""
    blocks: list[Block] = [
        Text(f"**{evidence.title}** ({evidence.strength:.0%} of what it adds): {evidence.text}. Mend: {evidence.fix}.")
        for evidence in culprit.evidence
    ]
    blocks += [Text(f"Lint {finding.code} {finding.name}: {finding.why}") for finding in culprit.findings]
    title = f"{culprit.layer.site} · {culprit.layer.title} · {culprit.share:.0%} of the damage"
    return Section(title, tuple(blocks), anchor=str(culprit.layer.site), collapsed=True)


def as_data(diagnosis: "Diagnosis") -> dict[str, object]:
    """Every figure and sentence, for machines."""
    verdict = diagnosis.verdict
    return {
        "verdict": {
            "kind": verdict.kind,
            "headline": verdict.headline,
            "text": verdict.text,
            "first_departure": str(verdict.first_departure) if verdict.first_departure else None,
        },
        "steps": [vars(step) for step in diagnosis.steps],
        "culprits": [
            {
                "site": str(culprit.layer.site),
                "share": culprit.share,
                "evidence": [vars(evidence) for evidence in culprit.evidence],
                "findings": [finding.code for finding in culprit.findings],
            }
            for culprit in diagnosis.culprits
        ],
        "trials": [
            {"kind": t.kind, "title": t.title, "images": t.images, "output": vars(t.output)} for t in diagnosis.trials
        ],
        "comparison": comparison_data(diagnosis.comparison),
        "lint": None if diagnosis.lint is None else dict(diagnosis.lint.report().data),
    }
