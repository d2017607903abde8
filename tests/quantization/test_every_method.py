"""No method raises on a network that minimum and maximum take."""

import pytest
import torch

from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.methods.method import METHODS
from qdiag.tracing.inputs import Inputs
from tests.models import ZOO


@pytest.mark.parametrize("method", [method.name for method in METHODS])
@pytest.mark.parametrize("name", list(ZOO))
def test_every_method_takes_every_construct(name: str, method: str) -> None:
    specimen = ZOO[name]
    model, data = specimen.model(), [Inputs(*specimen.inputs(seed)) for seed in (1, 2)]
    quantized = calibrate(model, data, method)
    assert set(quantized.calibration.ranges) == set(calibrate(model, data, "simple").calibration.ranges)
    with torch.no_grad():
        quantized(*specimen.inputs())
