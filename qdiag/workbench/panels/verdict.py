"""The verdict of the applied version as HTML: a headline in its colour, the figures, and the reasons folded."""

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.intervals import Interval
from qdiag.comparison.output_error import OutputError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.diagnosis_parts import blame
from qdiag.explanation.loss import LIMIT_POINTS
from qdiag.report.colours import COLOURS
from qdiag.report.levels import LEVELS, Level
from qdiag.workbench.controls import escaped, marked

GRAVE: dict[str, Level] = {"healthy": "ok", "small-loss": "warning"}
"""How grave a kind of verdict is; every other one is an error."""


def verdict_html(name: str, diagnosis: Diagnosis) -> str:
    """What everybody reads: how bad, in a headline and in figures. name: the applied version's."""
    level = GRAVE.get(diagnosis.verdict.kind, "error")
    figures = [f"applied <b>{escaped(name)}</b>", *_figures(diagnosis.comparison), *_lint(diagnosis)]
    return (
        f'<div style="line-height:1.45;padding-left:0.6em;border-left:6px solid {COLOURS[level]}">'
        f'<div style="font-size:1.05em"><b>{LEVELS[level].symbol} {escaped(diagnosis.verdict.headline)}</b></div>'
        f"{' &nbsp; '.join(figures)} &nbsp; on {diagnosis.comparison.images} images</div>"
    )


def reasons_html(diagnosis: Diagnosis) -> str:
    """What some read: the verdict in sentences, the layer to blame, and every next step with its line of code."""
    steps = "".join(
        f"<li><b>{escaped(s.title)}</b> {escaped(s.text)} <code>{escaped(s.code)}</code></li>" for s in diagnosis.steps
    )
    blamed = ""
    if diagnosis.culprits and diagnosis.verdict.kind != "healthy":
        worst = diagnosis.culprits[0]
        why = f" In `{worst.layer.site}`, {worst.evidence[0].text}." if worst.evidence else ""
        blamed = f"<br>{marked(blame(diagnosis.culprits, diagnosis.trials).text + why)}"
    return f'<div style="line-height:1.45">{escaped(diagnosis.verdict.text)}{blamed}<ol>{steps}</ol></div>'


def _figures(comparison: Comparison) -> list[str]:
    found = []
    if comparison.float_top1_percent is not None:
        found.append(f"float <b>{comparison.float_top1_percent:.1f} %</b>")
    found += [f"{escaped(lane)} {_figure(comparison.outputs[lane])}" for lane in comparison.lanes]
    output = comparison.outputs[comparison.lanes[-1]]
    if output.drop_points is not None:
        within = _within(output.drop_interval)
        found.append(f"drop <b>{output.drop_points:.1f}</b> points{within} (limit {LIMIT_POINTS:.1f})")
    return found


def _figure(output: OutputError) -> str:
    if output.top1_percent is not None:
        return f"<b>{output.top1_percent:.1f} %</b>"
    if output.means_classes and output.agreement_percent is not None:
        return f"<b>{output.agreement_percent:.1f} %</b>{_within(output.agreement_interval)}"
    return f"<b>{output.worst_sqnr_db:.1f} dB</b>"


def _within(interval: Interval | None) -> str:
    return "" if interval is None else f", 95 % interval {interval[0]:.1f} to {interval[1]:.1f}"


def _lint(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.lint is None:
        return []
    found = [finding.severity for finding in diagnosis.lint.findings]
    counts = (_counted(found.count(severity), severity) for severity in ("error", "warning"))
    return [f"lint <b>{', '.join(counts)}</b>"]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
