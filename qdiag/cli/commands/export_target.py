"""`qdiag export-target`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.commands.export import StyleName
from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import PANEL, OutputOptions, check_folder, tell
from qdiag.cli.quantized import quantized
from qdiag.export.engines.engine import Calibration
from qdiag.export.export_target import export_target as export_for_target
from qdiag.export.target_request import requested


@dataclass(frozen=True)
class DeliveryOptions:
    """What is delivered to the target, and where."""

    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", rich_help_panel=PANEL, help="Where the files go.")
    ]
    engine_version: Annotated[
        str | None, typer.Option(rich_help_panel=PANEL, help="Of the target's tools, as 8.6. TIDL: 9.2 if not given.")
    ] = None
    runtime: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PANEL, help="What calls the importer. TIDL: onnxruntime (usual), tflite, tvm, import-tool."
        ),
    ] = None
    style: Annotated[
        StyleName,
        typer.Option(rich_help_panel=PANEL, help="clips: ranges for the importer. qdq: a network of integers."),
    ] = StyleName.CLIPS
    target_calibrates: Annotated[
        bool,
        typer.Option(
            "--target-calibrates", rich_help_panel=PANEL, help="Leave ranges to the target's own calibration."
        ),
    ] = False

    @property
    def calibrated_by(self) -> Calibration:
        """Who calibrates, as the library spells it."""
        return "target" if self.target_calibrates else "qdiag"

    def check(self, formats: FormatOptions, fit: QuantizedOptions) -> None:
        """Raises OptionError for what the target does not take: now, and not after a calibration."""
        requested(
            formats.target,
            self.engine_version,
            self.runtime,
            self.style.value,
            self.calibrated_by,
            bits=fit.bits,
            is_per_channel=formats.per_channel is not None,
        )


def export_target(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    asked: DeliveryOptions,
    shown: OutputOptions,
) -> None:
    """Write what the target's importer needs: network, settings, ranges, and a page that explains each line.

    The target is the one of --target.

    Exit code: 0 where the folder was written, 2 where it could not be.

    qdiag export-target my_model.py:build --images photos/ --load calibrated.pt --output for_tidl
    """
    check_folder(asked.output)
    asked.check(formats, fit)
    subject = gather(model, data, formats.calibration).subject
    found = export_for_target(
        quantized(subject, formats, fit),
        asked.output,
        subject.example,
        target=formats.target,
        version=asked.engine_version,
        runtime=asked.runtime,
        style=asked.style.value,
        calibration=asked.calibrated_by,
    )
    tell(f"Written: {found.folder.resolve()}")
    shown.show(found)
