"""What `export_onnx` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdiag.errors import SiteNotFound
from qdiag.report.cells import Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Fact, Facts, Report
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class ExportedModel(Displayable):
    """An ONNX file, and where in it each stored tensor is found.

    Attributes:
        path: The file.
        style: "qdq" or "clips".
        opset: Of the file.
        inputs: Names in the file.
        outputs: Names in the file.
        names: Address of a stored tensor -> the ONNX tensor that holds it: the integers in style "qdq", the clipped
            floats in style "clips". The file's metadata holds the same under "qdiag.names", as JSON.
        formats: By address, in words.
        dynamic_batch: True where it takes any number of images.
    """

    path: Path
    style: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: Mapping[str, str]
    formats: Mapping[str, str]
    dynamic_batch: bool

    def name(self, site: Site | str) -> str:
        """The ONNX tensor of the tensor stored at an address.

        Args:
            site: An address.

        Raises:
            SiteNotFound: For one at which nothing is stored.
        """
        found = self.names.get(str(site))
        if found is None:
            raise SiteNotFound(
                f"no tensor {str(site)!r} in {self.path.name}. There are: {', '.join(self.names)}.", code="no-site"
            )
        return found

    def report(self) -> Report:
        """The file, and the table of its stored tensors."""
        facts = Facts(
            (
                Fact("style", self.style),
                Fact("opset", self.opset),
                Fact("batch", "dynamic" if self.dynamic_batch else "fixed"),
                Fact("stored tensors", len(self.names)),
            )
        )
        columns = (Column("site", "stored tensor"), Column("tensor", "in the file"), Column("format", "format"))
        rows = tuple((Code(site), Code(name), self.formats[site]) for site, name in self.names.items())
        data = {
            "path": str(self.path),
            "style": self.style,
            "opset": self.opset,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "names": dict(self.names),
            "formats": dict(self.formats),
            "dynamic_batch": self.dynamic_batch,
        }
        table = Table(columns, rows, "Stored tensors", key="names")
        return Report(f"ONNX file {self.path.name}", (facts, table), "export", data)
