"""What calibration did: what each technique gained, and every format with its reason."""

from dataclasses import dataclass

from qdiag.quantization.calibration import Applied
from qdiag.quantization.calibration_notes import calibration_notes
from qdiag.quantization.calibration_report_parts import (
    floating_section,
    format_table,
    gain_section,
    outcome_callout,
    technique_table,
    wide_table,
)
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.stored_formats import StoredFormat, WideLayer, stored_formats, wide_layers
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Report


@dataclass(frozen=True)
class CalibrationReport(Displayable):
    """Techniques with what each gained, formats by layer, and what stays in float and why.

    Attributes:
        model_name: The model's class.
        label: Of the formats, as "8-bit".
        applied: Each technique with the outputs' SQNR before and after it, and whether it was kept.
        formats: Of each stored tensor, in the order of the forward.
        floating: Operations that stay in float, each with the reason.
        wide: Layers with more bits than those with the least, where precision is mixed.
        notes: What is odd about the data or the weights, and makes formats a guess.
    """

    model_name: str
    label: str
    applied: tuple[Applied, ...]
    formats: tuple[StoredFormat, ...]
    floating: tuple[tuple[str, str], ...]
    wide: tuple[WideLayer, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def bits(self) -> dict[str, int]:
        """The wide layers as `bits=` takes them."""
        return {layer.site: layer.output_bits for layer in self.wide}

    def report(self) -> Report:
        """What calibration was worth, what is odd, what each technique gained, and every format."""
        blocks: list[Block] = [outcome_callout(self.applied)]
        blocks += [Callout("warning", headline, text) for headline, text in self.notes]
        if self.applied:
            blocks += [technique_table(self.applied), *map(gain_section, self.applied)]
        if self.wide:
            blocks.append(wide_table(self.wide))
        blocks.append(format_table(self.formats))
        if self.floating:
            blocks.append(floating_section(self.floating))
        return Report(f"Calibration of {self.model_name}, {self.label}", tuple(blocks), "calibration", self._data())

    def _data(self) -> dict[str, object]:
        return {
            "model": self.model_name,
            "plan": self.label,
            "applied": [
                {"name": a.name, "kept": a.kept, "before_db": a.before.output_db, "after_db": a.after.output_db}
                for a in self.applied
            ],
            "formats": {f.site: f.format for f in self.formats},
            "clipped_percent": {f.site: f.clipped_percent for f in self.formats if f.clipped_percent is not None},
            "wide": self.bits,
            "notes": [f"{headline}. {text}" for headline, text in self.notes],
            "floating": dict(self.floating),
        }


def calibration_report(quantized: QuantizedModel) -> CalibrationReport:
    """What calibration did to a model, by technique and by layer.

    Args:
        quantized: From `calibrate`, or with formats changed since.

    >>> import torch
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU()).eval()
    >>> report = calibration_report(calibrate(net, torch.rand(16, 3, 6, 6), "simple"))
    >>> report.label, [stored.site for stored in report.formats]
    ('8-bit', [':input', '0'])
    """
    plan, calibration = quantized.plan, quantized.calibration
    return CalibrationReport(
        model_name=plan.trace.model_name,
        label=plan.label,
        applied=calibration.history,
        formats=stored_formats(quantized),
        floating=tuple((str(site), reason) for site, reason in plan.floating.items()),
        wide=wide_layers(plan),
        notes=tuple(calibration_notes(quantized)),
    )
