"""What `export_target` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdiag.errors import SiteNotFound
from qdiag.export.engines.engine import Setting
from qdiag.export.exported_model import ExportedModel
from qdiag.export.range_file import TargetLayer
from qdiag.export.target_files_parts import (
    file_table,
    layer_table,
    name_table,
    setting_table,
    target_callouts,
    target_facts,
)
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Text
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class TargetExport(Displayable):
    """A folder that an engine's importer works on.

    Attributes:
        model_name: The model's class.
        target: The engine.
        version: Of the engine.
        runtime: What calls the engine's importer.
        folder: Where the files are.
        files: What is in the folder, by file name, and what each is for.
        settings: What the importer is to be told.
        exported: The ONNX file.
        layers: What stands in the range file, or would stand in it where the engine reads none; empty where the ONNX
            file itself brings the scales.
        wide: Layers of 16 bits in a network of 8, by their names in the file.
        unlisted: Tensors of the file that the range file cannot tell of: the engine finds their ranges by itself, or
            calibrates the whole network again.
        floating: Operations that stay in float, with reasons.
        simulated: The target whose rounding the plan simulates.
        unverified: What only the engine's own tools can show.
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
        """The value of an option.

        Args:
            key: As the importer calls it.

        Raises:
            SiteNotFound: For an option that is not set.
        """
        for setting in self.settings:
            if setting.key == key:
                return setting.value
        raise SiteNotFound(
            f"no setting {key!r}. There are: {', '.join(s.key for s in self.settings)}.", code="no-setting"
        )

    def layer(self, name: Site | str) -> TargetLayer:
        """The layer that stores the tensor of an address.

        Args:
            name: An address.

        Raises:
            SiteNotFound: For one at which nothing is stored.
        """
        own = self.exported.name(name)
        return next(layer for layer in self.layers if layer.name == own)

    def report(self) -> Report:
        """What to do with the folder, every setting with its reason, and every layer by both of its names."""
        title = f"{self.model_name} for {self.target} {self.version}, {self.runtime}"
        blocks: tuple[Block, ...] = (
            *target_callouts(self.target, self.simulated, tuple(self.floating), self.unlisted),
            target_facts(self.exported.style, len(self.layers) or len(self.exported.names), len(self.wide)),
            file_table(self.files),
            setting_table(self.settings),
            layer_table(self.layers) if self.layers else name_table(self.exported.names, self.exported.formats),
            Text(f"**Not verified.** {self.unverified}"),
        )
        return Report(title, blocks, "target", self._data())

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
