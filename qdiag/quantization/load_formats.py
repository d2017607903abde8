"""`load_formats()`: a network in the formats that somebody else's file gives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qdiag.errors import ModelError
from qdiag.numerics.given_format import GIVEN, GivenFormat
from qdiag.numerics.granularity import PerChannel, PerTensor
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.cells import Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Fact, Facts, Report
from qdiag.report.table import Column, Table
from qdiag.subject import Subject
from qdiag.tracing.site import Site

COLUMNS = {"site": "site", "what": "what", "format": "format", "why": "in float"}


@dataclass(frozen=True)
class GivenRow:
    """One format of the file.

    Attributes:
        site: Address of the tensor, or of the layer that multiplies by the weight.
        what: "tensor" or "weight".
        format: As the file gives it.
        obstacle: Why the version computes there in float, or "".
    """

    site: str
    what: str
    format: GivenFormat
    obstacle: str


@dataclass(frozen=True, repr=False)
class GivenVersion(Displayable):
    """A quantized file's own formats, and what can be computed in them.

    Attributes:
        quantized: The version in these formats, rounded as ONNX rounds: `compare({"given": quantized}, images)` shows
            it beside the float network. Where a format has an obstacle, it is in float.
        rows: Every format of the file.
    """

    quantized: QuantizedModel
    rows: tuple[GivenRow, ...]

    @property
    def is_whole(self) -> bool:
        """True where every format of the file is in the version."""
        return not any(row.obstacle for row in self.rows)

    def report(self) -> Report:
        """Every format, and which of them stay in float here."""
        left = [row for row in self.rows if row.obstacle]
        facts = Facts((Fact("formats in the file", len(self.rows)), Fact("in float here", len(left))))
        warning = Callout(
            "warning",
            f"Formats that cannot be represented yet: {len(left)}.",
            "qdiag computes with scales that are powers of two, and zero at 0. These tensors and weights stay in float "
            "in this version, which is therefore better than the file.",
        )
        columns = (
            Column("site", "site"),
            Column("what", "what"),
            Column("format", "format"),
            Column("why", "in float"),
        )
        rows = tuple((Code(row.site), row.what, str(row.format), row.obstacle or None) for row in self.rows)
        title = f"Formats given to {self.quantized.plan.trace.model_name}"
        table = Table(tuple(columns), rows, "Formats", key="formats")
        blocks: tuple[Block, ...] = (facts, *([warning] if left else []), table)
        return Report(title, blocks, "given", {"formats": len(self.rows), "in_float": len(left)})


def load_formats(model: nn.Module | Subject, data: Any = None) -> GivenVersion:
    """The formats of a quantized file that `load_model` read, as a version to compare.

    Args:
        model: From `load_model("quantized.onnx")`; or a `Subject` of it, which holds the data as well.
        data: As for `compare`; one batch of it runs.

    Raises:
        ModelError: For a model without formats of a file.

    >>> import tempfile
    >>> from qdiag import calibrate, export_onnx, load_model
    >>> images = torch.rand(4, 3, 8, 8)
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> quantized = calibrate(net, images, "simple", target="onnxruntime")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = load_model(export_onnx(quantized, f"{folder}/net.onnx").path)
    >>> given = load_formats(loaded, images)
    >>> given.is_whole, torch.equal(given.quantized(images), quantized(images))
    (True, True)
    """
    subject = Subject.of(model, data)
    given = getattr(subject.model, "meta", {}).get(GIVEN)
    if not given:
        raise ModelError(
            "the model holds no formats of a file. Load one with QuantizeLinear and DequantizeLinear: "
            "load_model('quantized.onnx').",
            code="no-formats",
        )
    plan = plan_quantization(subject.trace, 8, target="onnxruntime").in_float()
    by_name = {str(site): layer for site, layer in plan.by_site.items()}
    inputs = zip(given["inputs"].values(), (layer for layer in plan.layers if layer.is_input), strict=False)
    first = [_tensor(str(layer.site), kind, by_name) for kind, layer in inputs if kind is not None]
    tensors = first + [_tensor(name, kind, by_name) for name, kind in given["tensors"].items()]
    weights = [_weight(name, kind, by_name) for name, kind in given["weights"].items()]
    outputs = {
        layer.site: kind for row, layer in tensors if layer and not row.obstacle and (kind := row.format.qparams)
    }
    inner = {layer.site: kind for row, layer in weights if layer and not row.obstacle and (kind := row.format.qparams)}
    calibration = Calibration(
        {site: _range(kind) for site, kind in outputs.items()},
        weight_clip_exponents={
            site: torch.as_tensor(kind.clip_exponent, dtype=torch.float32) for site, kind in inner.items()
        },
    )
    formats = [{site: _scheme(kind) for site, kind in found.items()} for found in (outputs, inner)]
    found = QuantizedModel(subject.model, plan.change(*formats), calibration)
    return GivenVersion(found, tuple(row for row, _ in (*tensors, *weights)))


def _tensor(name: str, kind: GivenFormat, layers: Mapping[str, Layer]) -> tuple[GivenRow, Layer | None]:
    """A format, and the layer that stores its tensor, whose last operation computes it."""
    layer = layers.get(name)
    stores = layer is not None and str(layer.sites[-1]) == name
    return GivenRow(name, "tensor", kind, kind.obstacle or ("" if stores else "nothing is stored there")), layer


def _weight(name: str, kind: GivenFormat, layers: Mapping[str, Layer]) -> tuple[GivenRow, Layer | None]:
    layer = layers.get(name)
    multiplies = layer is not None and layer.is_weighted
    return GivenRow(name, "weight", kind, kind.obstacle or ("" if multiplies else "no layer multiplies by it")), layer


def _usable(rows: list[tuple[GivenRow, Layer | None]]) -> dict[Site, QParams]:
    kinds = [(layer, row.format.qparams) for row, layer in rows if not row.obstacle]
    return {layer.site: kind for layer, kind in kinds if layer is not None and kind is not None}


def _scheme(kind: QParams) -> QScheme:
    place = PerTensor() if kind.axis is None else PerChannel(kind.axis)
    return QScheme(kind.qtype.bits, place, kind.qtype.signed, kind.rounding)


def _range(kind: QParams) -> Range:
    return Range(-kind.clip if kind.qtype.signed else 0.0, kind.clip)
