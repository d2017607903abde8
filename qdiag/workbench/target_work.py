"""What a session does for the target: export, verification, the device's own tensors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qdiag.export.compare_dump import compare_dump
from qdiag.export.device_errors import DumpComparison
from qdiag.export.export_target import export_target
from qdiag.export.target_files import TargetExport
from qdiag.export.verification import Verification
from qdiag.export.verify import verify
from qdiag.progress import Progress, Steps
from qdiag.tracing.batches import Batches
from qdiag.workbench.target_folder import check_free
from qdiag.workbench.version import Version


@dataclass
class TargetWork:
    """exports, verifications: of each version the last one, by its name."""

    data: Batches
    exports: dict[str, TargetExport] = field(default_factory=dict)
    verifications: dict[str, Verification] = field(default_factory=dict)

    def export_steps(
        self, version: Version, folder: str | os.PathLike[str], options: Mapping[str, Any], *, replace: bool
    ) -> Steps[TargetExport]:
        """Write what the target's importer needs. replace: also where there is something else."""
        if not replace:
            check_free(folder, type(version.quantized.module).__name__)
        yield Progress("exporting", 0, 1)
        inputs = self.data.example
        written = self.exports[version.name] = export_target(version.quantized, folder, inputs, **options)
        return written

    def dump_steps(self, version: Version, folder: str | os.PathLike[str], data: Any) -> Steps[DumpComparison]:
        """Compare with the tensors in a folder. data: what the device was given; None for the first image."""
        yield Progress("comparing with the device", 0, 1)
        given = self.data.first.split(1)[0].inputs if data is None else data
        written = self.exports.get(version.name)
        onnx_file = None if written is None else written.exported.path
        return compare_dump(version.quantized, given, folder, onnx_file=onnx_file)

    def verification_steps(self, version: Version) -> Steps[Verification]:
        """Compare the version's integers with ONNX Runtime's."""
        found = self.verifications[version.name] = yield from verify.steps(version.quantized, self.data)
        return found
