"""Networks with one planted fault each: the diagnosis names the site and the cause."""

import json

import pytest
import torch
from torch import Tensor, nn

from qdiag.demo.load import load_demo
from qdiag.errors import QdiagError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.pipeline import diagnose


class Block(nn.Module):
    def __init__(self, inputs: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 16, 3, padding=1, groups=groups)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


class Small(nn.Module):
    """Three convolutions and a classifier of every pixel; the one in the middle is depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(3)
        self.middle = Block(16, groups=16)
        self.last = Block(16)
        self.head = nn.Conv2d(16, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.middle(self.stem(x))))


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(32, 3, 12, 12, generator=generator).split(16))


def stretch(net: Small, channel: int, factor: float) -> None:
    """Scale one channel up in `middle` and down in `last`: nothing changes in float, since a ReLU stands between."""
    with torch.no_grad():
        for tensor in (net.middle.norm.weight, net.middle.norm.bias):
            tensor[channel] *= factor
        net.last.conv.weight[:, channel] /= factor


def first(diagnosis: Diagnosis) -> tuple[str, str]:
    culprit = diagnosis.culprits[0]
    return str(culprit.layer.site), culprit.evidence[0].cause


def test_a_stretched_depthwise_channel_is_named_with_its_cause(net: Small, images: list[Tensor]) -> None:
    stretch(net, 5, 2.0**7)
    diagnosis = diagnose(net, images)
    assert first(diagnosis)[0] == "middle.conv"
    texts = {evidence.cause: evidence.text for evidence in diagnosis.culprits[0].evidence}
    assert "channel 5's weights" in texts["weight-channel-spread"]
    assert "channel 5 is" in texts["activation-channel-spread"]  # the stretched weights stretch its values too


def test_an_outlier_in_the_activations_is_named_with_its_cause(net: Small, images: list[Tensor]) -> None:
    with torch.no_grad():  # a constant in one channel, far above all else, that the next layer does not look at
        net.middle.norm.bias[3] = 300.0
        net.middle.norm.weight[3] = 0.0
        net.last.conv.weight[:, 3] = 0.0
    diagnosis = diagnose(net, images)
    assert first(diagnosis) == ("middle.conv", "constant-channel")


def test_calibration_on_dark_images_shows_as_clipping(net: Small, images: list[Tensor]) -> None:
    diagnosis = diagnose(net, images, calibration_data=[batch / 8 for batch in images])
    causes = {e.cause for culprit in diagnosis.culprits for e in culprit.evidence}
    assert diagnosis.verdict.kind == "not-quantization"  # 16 bit clips as well: the ranges are wrong, not the bits
    assert "clipping" in causes


def test_where_16_bit_fails_it_is_not_quantization_and_the_first_site_is_named(
    net: Small, images: list[Tensor]
) -> None:
    stretch(net, 5, 2.0**22)
    verdict = diagnose(net, images).verdict
    assert verdict.kind == "not-quantization"
    assert str(verdict.first_departure) == "middle.conv"


def test_a_healthy_network_is_called_healthy() -> None:
    demo = load_demo("healthy")
    diagnosis = diagnose(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader)
    assert diagnosis.verdict.kind == "healthy"
    assert diagnosis.trials == ()


def test_the_demo_is_convicted_of_what_was_planted_in_it() -> None:
    demo = load_demo("wild")
    diagnosis = diagnose(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader)
    assert diagnosis.verdict.kind == "quantization"
    assert first(diagnosis) == ("block3.depthwise", "weight-channel-spread")
    assert diagnosis.culprits[0].share > 0.9
    drops = {trial.title: trial.output.drop_points or 0.0 for trial in diagnosis.trials}
    assert drops["depthwise weights per-channel"] < 1.0 < 5.0 < drops["weights only"]


def test_every_face_holds_the_verdict_and_the_culprit(net: Small, images: list[Tensor]) -> None:
    stretch(net, 5, 2.0**7)
    diagnosis = diagnose(net, images)
    data = json.loads(diagnosis.to_json())
    assert diagnosis.verdict.headline in json.dumps(data)
    for face in (repr(diagnosis), diagnosis.to_html()):
        assert "middle.conv" in face
    assert "middle.conv" in set(diagnosis.to_pandas("culprits")["site"])


def test_the_model_comes_back_as_it_was_also_when_the_run_is_stopped(net: Small, images: list[Tensor]) -> None:
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    steps = diagnose.steps(net, images)
    next(steps)
    steps.close()
    assert all(module.training for module in net.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_model_with_nan_is_refused_before_any_work(net: Small, images: list[Tensor]) -> None:
    with torch.no_grad():
        net.head.weight[0, 0] = float("nan")
    with pytest.raises(QdiagError, match=r"head\.weight holds NaN"):
        diagnose(net, images)
