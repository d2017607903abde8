"""The parts of a diagnosis's report: the answer, what to do next, who is to blame, and what was tried."""

from collections.abc import Mapping, Sequence

from qdiag.comparison.comparison_parts import place
from qdiag.comparison.output_error import OutputError
from qdiag.explanation.culprit import Culprit, covering
from qdiag.explanation.next_step import NextStep
from qdiag.explanation.trials import Trial
from qdiag.explanation.verdict import Verdict, VerdictKind
from qdiag.report.cells import Cell, Code
from qdiag.report.elements import Block, Callout, Listing, Section, Text
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table

_LEVELS: dict[VerdictKind, Level] = {
    "healthy": "ok",
    "small-loss": "warning",
    "quantization": "error",
    "not-quantization": "error",
    "undecided": "warning",
    "cannot-judge": "error",
    "float-is-wrong": "error",
    "not-repeatable": "error",
}


def verdict_callout(verdict: Verdict) -> Callout:
    """The answer to the first question."""
    return Callout(_LEVELS[verdict.kind], verdict.headline, verdict.text)


def steps_section(steps: Sequence[NextStep]) -> Section:
    """What to do next, numbered, each with its code."""
    blocks: list[Block] = []
    for number, step in enumerate(steps, start=1):
        blocks.append(Text(f"**{number}. {step.title}.** {step.text}"))
        if step.code:
            blocks.append(Listing(step.code))
    return Section("What to do next", tuple(blocks))


def blame(culprits: Sequence[Culprit], trials: Sequence[Trial]) -> Text:
    """One paragraph: weights or activations, and the few layers that make most of it."""
    sentences = []
    parts = {trial.title: trial.output.sqnr_db for trial in trials if trial.kind == "part"}
    if parts:
        weights, activations = parts["weights only"], parts["activations only"]
        blame = "**The weights are to blame**" if weights < activations else "**The activations are to blame**"
        if abs(weights - activations) < 3:
            blame = "**Weights and activations share the blame**"
        sentences.append(
            f"{blame}: with only the weights in fixed point the output is at {weights:.1f} dB, with only the "
            f"activations at {activations:.1f} dB."
        )
    worst = covering(culprits, 0.5)
    names = ", ".join(f"`{culprit.layer.site}`" for culprit in worst)
    verb = "causes" if len(worst) == 1 else "cause"
    sentences.append(f"{names} {verb} {sum(culprit.share for culprit in worst):.0%} of the damage.")
    depthwise = sum(culprit.share for culprit in culprits if culprit.layer.is_depthwise)
    if depthwise >= 0.3:
        sentences.append(f"Depthwise convolutions stand for {depthwise:.0%}.")
    return Text(" ".join(sentences))


def culprit_table(culprits: Sequence[Culprit]) -> Table:
    """Who, how much, why, and what mends it."""
    tried = any(culprit.trial is not None for culprit in culprits)
    columns = (
        Column("site", "layer"),
        Column("kind", "kind"),
        Column("share_percent", "share", "%", ".0f", "right", "of the damage that all layers do, each by itself"),
        Column(
            "trial_sqnr_db", "output if only this", "dB", ".1f", "right", "with nothing but this layer in fixed point"
        ),
        Column("added_sqnr_db", "added", "dB", ".1f", "right", "its own tensor, from exact inputs"),
        Column("why", "why"),
        Column("fix", "what mends it"),
        Column("predicted_db", "predicted", "dB", ".1f", "right", "gain at the output, from the share of the damage"),
        Column("gained_db", "got", "dB", ".1f", "right", "the same, measured with nothing else changed"),
        Column("place", "called at"),
    )
    rows = tuple(_culprit_row(culprit) for culprit in culprits)
    caption = "The share is measured: each layer was quantized with all others in float, and the output compared."
    if any(culprit.trial is not None and culprit.trial.share is not None for culprit in culprits):
        caption = (
            "The layers were chosen by an estimate for each, a random probe sent back through the float network; the "
            "share is measured for these, each quantized with all others in float, and estimated for the rest."
        )
    if not tried:
        caption = "The share is of the noise that the layers add; how much of it reaches the output was not measured."
    return Table(columns, rows, "Culprits, worst first", caption, key="culprits")


def _culprit_row(culprit: Culprit) -> tuple[Cell, ...]:
    first, mend = culprit.evidence[0] if culprit.evidence else None, culprit.mend
    return (
        Code(str(culprit.layer.site)),
        culprit.layer.title,
        100 * culprit.share,
        culprit.trial.output.sqnr_db if culprit.trial else None,
        culprit.error.added["sqnr_db"],
        first.text if first else "no single cause stands out",
        _mended(culprit),
        mend.predicted_db if mend else None,
        mend.gained_db if mend else None,
        place(culprit.layer),
    )


def _mended(culprit: Culprit) -> str | None:
    """What was tried and gained; where nothing was tried, what the cause calls for."""
    if culprit.mend is not None:
        return culprit.mend.title
    if culprit.mends:
        return "nothing that was tried for it alone"
    return culprit.evidence[0].fix if culprit.evidence else None


def trial_table(outputs: Mapping[str, OutputError], images: int, trials: Sequence[Trial]) -> Table:
    """The numbers after doing it, under those of each lane as it is, on so many images."""
    columns = (
        Column("change", "what was changed"),
        Column("top1_percent", "top-1", "%", ".1f", "right"),
        Column("drop_points", "drop", "points", ".1f", "right"),
        Column("agreement_percent", "agrees with float", "%", ".1f", "right"),
        Column("sqnr_db", "output SQNR", "dB", ".1f", "right"),
        Column("images", "images", align="right"),
    )
    rows = [_trial_row(f"{lane}, as it is", output, images) for lane, output in outputs.items()]
    before = next((trial.before for trial in trials if trial.before is not None), None)
    if before is not None and before.images < images:
        lane = list(outputs)[-1]
        rows.append(_trial_row(f"{lane}, as it is, on the images of what follows", before, before.images))
    rows += [_trial_row(trial.title, trial.output, trial.images) for trial in trials]
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


def culprit_data(culprit: Culprit) -> dict[str, object]:
    """A culprit's figures and sentences, for machines."""
    return {
        "site": str(culprit.layer.site),
        "share": culprit.share,
        "evidence": [vars(evidence) for evidence in culprit.evidence],
        "findings": [finding.code for finding in culprit.findings],
        "mends": [
            {"title": mend.title, "predicted_db": mend.predicted_db, "gained_db": mend.gained_db, "code": mend.code}
            for mend in culprit.mends
        ],
    }


def trial_data(trial: Trial) -> dict[str, object]:
    """A trial's figures, for machines."""
    return {"kind": trial.kind, "title": trial.title, "images": trial.images, "output": trial.output.state()}
