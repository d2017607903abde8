"""The parts of a target export's report: what to look out for, every file, setting and layer."""

from collections.abc import Mapping, Sequence

from qdiag.export.engines.engine import Setting
from qdiag.export.range_file import TargetLayer, ends
from qdiag.report.cells import Code
from qdiag.report.elements import Callout, Fact, Facts
from qdiag.report.table import Column, Table


def target_callouts(target: str, simulated: str, floating: Sequence[str], unlisted: Sequence[str]) -> list[Callout]:
    """What may make the engine compute something else than the simulation."""
    callouts = []
    if simulated != target:
        callouts.append(
            Callout(
                "warning",
                f"The simulation rounds as {simulated} does.",
                f"Calibrate with target={target!r} to see what this engine computes.",
            )
        )
    if floating:
        callouts.append(
            Callout(
                "warning",
                f"Operations that stay in float: {len(floating)}.",
                "The engine leaves them to the host processor, and may part the network there; a range file holds "
                f"for a network in one part alone. The first: `{floating[0]}`.",
            )
        )
    if unlisted:
        callouts.append(
            Callout(
                "warning",
                f"Tensors that a range file cannot tell of: {len(unlisted)}.",
                "The simulation computes them on the way to another, or the engine's word for their operator is not"
                f" known; the engine may calibrate by itself then. The first: `{unlisted[0]}`.",
            )
        )
    return callouts


def target_facts(style: str, layers: int, wide: int) -> Facts:
    """Counts of layers, and of those in 16 bits."""
    return Facts((Fact("style", style), Fact("layers", layers), Fact("listed for 16 bits", wide)))


def file_table(files: Mapping[str, str]) -> Table:
    """What is in the folder."""
    columns = (Column("file", "file"), Column("purpose", "what it is for"))
    return Table(columns, tuple((Code(name), text) for name, text in files.items()), "Files", key="files")


def setting_table(settings: Sequence[Setting]) -> Table:
    """What the importer is to be told, and why."""
    columns = (Column("key", "setting"), Column("value", "value"), Column("why", "why"))
    rows = tuple((Code(s.key), Code(str(s.value)), s.why) for s in settings)
    return Table(columns, rows, "Settings", key="settings")


_NAMES = (Column("tensor", "in the file"), Column("site", "stored tensor"), Column("format", "format"))


def layer_table(layers: Sequence[TargetLayer]) -> Table:
    """Every layer of the range file, by both of its names."""
    more = (
        Column("kind", "layer"),
        Column("min", "min", format=".6g", align="right"),
        Column("max", "max", format=".6g", align="right"),
        Column("weight", "weight"),
    )
    return Table((*_NAMES, *more), tuple(map(_row, layers)), "Layers", key="layers")


def _row(layer: TargetLayer) -> tuple[Code | str | float | None, ...]:
    low, high = ends(layer.output)
    weight = None if layer.weight is None else str(layer.weight)
    return Code(layer.name), Code(layer.site), str(layer.output), layer.kind or None, low, high, weight


def name_table(names: Mapping[str, str], formats: Mapping[str, str]) -> Table:
    """Every stored tensor by both of its names, where the file itself brings the scales."""
    rows = tuple((Code(name), Code(site), formats[site]) for site, name in names.items())
    return Table(_NAMES, rows, "Layers", key="layers")
