"""What `export_target` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdiag.errors import SiteNotFound
from qdiag.export.engines.engine import Setting
from qdiag.export.exported_model import ExportedModel
from qdiag.export.range_file import TargetLayer, ends
from qdiag.report.cells import Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Fact, Facts, Report, Text
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class TargetExport(Displayable):
    """A folder that an engine's importer works on.

    files: what is in it, by file name, and what each is for. settings: what the importer is to be told. exported: the
    ONNX file. layers: what stands in the range file, and would stand in it where the engine reads none; empty where
    the ONNX file itself brings the scales. unlisted: tensors of the file that the range file cannot tell of: the engine
    finds their ranges by itself, or calibrates the whole network again.
    floating: operations that stay in float, with reasons. simulated: the target whose rounding the plan simulates.
    """

    model_name: str
    target: str
    version: str
    runtime: str
    folder: Path
    files: Mapping[str, str]
    settings: tuple[Setting, ...]
    exported: ExportedModel
    layers: tuple[TargetLayer, ...]
    wide: tuple[str, ...]
    unlisted: tuple[str, ...]
    floating: Mapping[str, str]
    simulated: str
    unverified: str

    def setting(self, key: str) -> int | str:
        """The value of an option. Raises SiteNotFound."""
        for setting in self.settings:
            if setting.key == key:
                return setting.value
        raise SiteNotFound(f"no setting {key!r}. There are: {', '.join(s.key for s in self.settings)}.")

    def layer(self, name: Site | str) -> TargetLayer:
        """The layer that stores the tensor of an address. Raises SiteNotFound."""
        own = self.exported.name(name)
        return next(layer for layer in self.layers if layer.name == own)

    def report(self) -> Report:
        """What to do with the folder, every setting with its reason, and every layer by both of its names."""
        title = f"{self.model_name} for {self.target} {self.version}, {self.runtime}"
        facts = Facts(
            (
                Fact("style", self.exported.style),
                Fact("layers", len(self.layers) or len(self.exported.names)),
                Fact("listed for 16 bits", len(self.wide)),
            )
        )
        blocks: tuple[Block, ...] = (*self._callouts(), facts, self._files(), self._settings(), self._layers())
        return Report(title, (*blocks, Text(f"**Not verified.** {self.unverified}")), "target", self._data())

    def _callouts(self) -> list[Callout]:
        callouts = []
        if self.simulated != self.target:
            callouts.append(
                Callout(
                    "warning",
                    f"The simulation rounds as {self.simulated} does.",
                    f"Calibrate with target={self.target!r} to see what this engine computes.",
                )
            )
        if self.floating:
            callouts.append(
                Callout(
                    "warning",
                    f"Operations that stay in float: {len(self.floating)}.",
                    "The engine leaves them to the host processor, and may part the network there; a range file holds "
                    f"for a network in one part alone. The first: `{next(iter(self.floating))}`.",
                )
            )
        if self.unlisted:
            callouts.append(
                Callout(
                    "warning",
                    f"Tensors that a range file cannot tell of: {len(self.unlisted)}.",
                    "The simulation computes them on the way to another, or the engine's word for their operator is not"
                    f" known; the engine may calibrate by itself then. The first: `{self.unlisted[0]}`.",
                )
            )
        return callouts

    def _files(self) -> Table:
        columns = (Column("file", "file"), Column("purpose", "what it is for"))
        return Table(columns, tuple((Code(name), text) for name, text in self.files.items()), "Files", key="files")

    def _settings(self) -> Table:
        columns = (Column("key", "setting"), Column("value", "value"), Column("why", "why"))
        rows = tuple((Code(s.key), Code(str(s.value)), s.why) for s in self.settings)
        return Table(columns, rows, "Settings", key="settings")

    def _layers(self) -> Table:
        columns = (
            Column("tensor", "in the file"),
            Column("site", "stored tensor"),
            Column("format", "format"),
        )
        if not self.layers:
            names, formats = self.exported.names, self.exported.formats
            rows = tuple((Code(name), Code(site), formats[site]) for site, name in names.items())
            return Table(columns, rows, "Layers", key="layers")
        more = (
            Column("kind", "layer"),
            Column("min", "min", format=".6g", align="right"),
            Column("max", "max", format=".6g", align="right"),
            Column("weight", "weight"),
        )
        return Table((*columns, *more), tuple(map(_row, self.layers)), "Layers", key="layers")

    def _data(self) -> dict[str, object]:
        return {
            "target": self.target,
            "version": self.version,
            "runtime": self.runtime,
            "folder": str(self.folder),
            "files": dict(self.files),
            "settings": {setting.key: setting.value for setting in self.settings},
            "names": dict(self.exported.names),
            "wide": self.wide,
            "unlisted": self.unlisted,
        }


def _row(layer: TargetLayer) -> tuple[Code | str | float | None, ...]:
    low, high = ends(layer.output)
    weight = None if layer.weight is None else str(layer.weight)
    return Code(layer.name), Code(layer.site), str(layer.output), layer.kind or None, low, high, weight
