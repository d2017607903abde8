"""Every construct of the zoo as an ONNX file: integers that a real runtime computes alike, and floats with clips."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.export.export_onnx import export_onnx
from qdiag.export.verify import verify
from qdiag.tracing.inputs import Inputs
from tests.export.checks import check_clips, check_integers
from tests.models import ZOO, Specimen, calibrate

EXPORTED = {name: specimen for name, specimen in ZOO.items() if name != "branch on the data"}
every_specimen = pytest.mark.parametrize("specimen", EXPORTED.values(), ids=EXPORTED.keys())


@every_specimen
def test_every_stored_integer_is_the_runtimes(specimen: Specimen) -> None:
    inputs = Inputs(*specimen.inputs())
    verification = verify(calibrate(specimen.model(), inputs), inputs)
    assert tuple(site.site for site in verification.sites) == tuple(
        name.partition(" + ")[0] for name in specimen.layers
    )
    check_integers(verification)


@every_specimen
def test_clips_are_the_float_network_with_clamped_tensors(specimen: Specimen, tmp_path: Path) -> None:
    inputs = Inputs(*specimen.inputs())
    check_clips(calibrate(specimen.model(), inputs), inputs, tmp_path)


def test_a_forward_that_decides_by_its_data_is_refused(tmp_path: Path) -> None:
    specimen = ZOO["branch on the data"]
    inputs = Inputs(*specimen.inputs())
    with pytest.raises(ModelError, match="decides by the values of a tensor"):
        export_onnx(calibrate(specimen.model(), inputs), tmp_path / "model.onnx", inputs)
    assert not list(tmp_path.iterdir())


def test_a_weight_computed_from_the_input_is_refused(tmp_path: Path) -> None:
    class Hyper(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, x.mean((0, 2, 3)).reshape(1, 3, 1, 1))

    images = torch.rand(2, 3, 6, 6)
    with pytest.raises(ModelError, match=r"weight of ':conv2d' is computed from the network's inputs"):
        export_onnx(calibrate(Hyper(), images), tmp_path / "model.onnx", images)
