"""The verdict of the applied version as HTML: a headline in its colour, the figures, and the reasons."""

import re

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
_INTERVALS = re.compile(r" \(95 % interval [^)]*\)")


def verdict_html(diagnosis: Diagnosis) -> str:
    """How bad it is, in one line; intervals stand in `figures_html`, and all of it in the line's tooltip."""
    level = GRAVE.get(diagnosis.verdict.kind, "error")
    whole = diagnosis.verdict.headline
    return (
        f'<div class="qd-verdict-line" title="{escaped(whole)}" style="border-left:6px solid {COLOURS[level]}">'
        f"<b>{LEVELS[level].symbol} {escaped(_INTERVALS.sub('', whole))}</b></div>"
    )


def figures_html(name: str, diagnosis: Diagnosis) -> str:
    """Float and each number of bits as a figure with its interval. name: the applied version's."""
    comparison = diagnosis.comparison
    tiles = []
    output = comparison.outputs[comparison.lanes[-1]]
    if output.float_score is not None:
        tiles.append(_tile("float", f"{output.float_score:.4g}", output.figure))
    elif comparison.float_top1_percent is not None:
        tiles.append(_tile("float", f"{comparison.float_top1_percent:.1f} %", f"top-1, {comparison.images} images"))
    tiles += [_tile(lane, *_figure(comparison.outputs[lane])) for lane in comparison.lanes]
    applied = f"applied <b>{escaped(name)}</b>"
    told = " · ".join([applied, *_lint(diagnosis), f"limit {LIMIT_POINTS:.1f} points"])
    return f'<div class="qd-tiles">{"".join(tiles)}<span class="qd-applied">{told}</span></div>'


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
    told = f"{escaped(diagnosis.verdict.headline)} {escaped(diagnosis.verdict.text)}"
    return f'<div style="line-height:1.45">{told}{blamed}<ol>{steps}</ol></div>'


def where(diagnosis: Diagnosis) -> str:
    """The layer that does most of the damage, in a few words; "" where none is to blame."""
    if not diagnosis.culprits or diagnosis.verdict.kind == "healthy":
        return ""
    worst = diagnosis.culprits[0]
    return f"{worst.layer.site}: {worst.share:.0%} of the damage"


def _tile(label: str, figure: str, beneath: str) -> str:
    colour = COLOURS.get(label, COLOURS["8-bit"])
    return (
        f'<span class="qd-tile" style="border-left-color:{colour}"><small>{escaped(label)}</small>'
        f"<b>{escaped(figure)}</b><small>{escaped(beneath)}</small></span>"
    )


def _figure(output: OutputError) -> tuple[str, str]:
    """The figure that counts, and what stands beneath it: what is lost, within which interval."""
    lost = "" if output.drop_points is None else f"loses {output.drop_points:.1f}{_within(output.drop_interval)}"
    if output.score is not None:
        beneath = f"{output.figure}{_within(output.score_interval)}"
        return f"{output.score:.4g}", f"top-1 {lost}" if lost else beneath
    if output.top1_percent is not None:
        return f"{output.top1_percent:.1f} %", lost
    if output.means_classes and output.agreement_percent is not None:
        return f"{output.agreement_percent:.1f} %", f"as float{_within(output.agreement_interval)}"
    return f"{output.worst_sqnr_db:.1f} dB", "SQNR of the worst output"


def _within(interval: Interval | None) -> str:
    return "" if interval is None else f" (95 %: {interval[0]:.1f} to {interval[1]:.1f})"


def _lint(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.lint is None:
        return []
    found = [finding.severity for finding in diagnosis.lint.findings]
    counts = (_counted(found.count(severity), severity) for severity in ("error", "warning"))
    return [f"lint <b>{', '.join(counts)}</b>"]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
