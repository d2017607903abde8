"""Names in a file are the user's own, also where the exporter chose one of them for a tensor of its own."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from qdiag.export.export_onnx import export_onnx
from qdiag.quantization.calibrate import calibrate


class NamedAsExported(nn.Module):
    """Its parameter has the name that torch's exporter gives the result of `torch.cat`."""

    def __init__(self) -> None:
        super().__init__()
        self.cat = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.conv = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(torch.cat([x + self.cat, x], 1))
        return result


def test_a_parameter_that_has_an_exported_tensor_s_name_keeps_it(tmp_path: Path) -> None:
    images = torch.rand(4, 3, 6, 6)
    exported = export_onnx(calibrate(NamedAsExported().eval(), images, "simple"), tmp_path / "model.onnx", images)
    graph = onnx.load(exported.path).graph
    names = [*(value.name for value in graph.initializer), *(name for node in graph.node for name in node.output)]
    assert len(names) == len(set(names))
    assert "cat" in names
