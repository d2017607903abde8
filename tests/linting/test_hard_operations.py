"""QD107, QD40x and QD501 at their borders."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.blocks import ResizeWith
from qdiag.linting.lint import lint_model

IMAGE = torch.zeros(1, 4, 8, 8)
Something = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """Something between two convolutions."""

    def __init__(self, something: Something) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.something = something

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.something(self.first(x)))


class Normalize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x)


def found(something: Something, rule: str) -> list[tuple[str, str]]:
    report = lint_model(Between(something), IMAGE, select=rule)
    return [(finding.site, finding.severity) for finding in report.findings]


def test_swish_written_out_is_a_hard_activation_and_no_gate() -> None:
    def swish(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    assert found(swish, "QD401") == [(":mul", "warning")]
    assert found(swish, "QD402") == []


def test_gate_that_no_feature_moves_is_a_constant_factor() -> None:
    strength = nn.Parameter(torch.zeros(1))
    assert found(lambda x: x * torch.sigmoid(strength), "QD402") == []


def test_normalized_embedding_is_post_processing() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), Normalize())
    assert lint_model(net, IMAGE, select="QD404").findings == ()


def test_activation_behind_the_last_layer_is_fine() -> None:
    assert lint_model(nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU()), IMAGE, select="QD401").findings == ()


@pytest.mark.parametrize(
    ("something", "severity"),
    [
        (lambda x: x.exp(), "warning"),
        (lambda x: torch.from_numpy(x.numpy() * 2), "warning"),
        (lambda x: x + torch.linspace(0, 1, 8), "note"),
        (lambda x: x + torch.zeros_like(x), "note"),
        (lambda x: x + 1, None),
    ],
    ids=["exp", "numpy", "made in forward", "shape only", "number"],
)
def test_what_stays_in_float(something: Something, severity: str | None) -> None:
    assert [s for _, s in found(something, "QD107")] == ([severity] if severity else [])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_scripted_module_cannot_be_seen() -> None:
    assert found(torch.jit.script(nn.ReLU()), "QD107") == [("something", "error"), ("last", "warning")]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"scale_factor": 2, "mode": "bilinear", "align_corners": True}, "align_corners=True"),
        ({"scale_factor": 2, "mode": "bicubic"}, "mode='bicubic'"),
        ({"scale_factor": 2.0, "recompute_scale_factor": True}, "recompute_scale_factor=True"),
        ({"scale_factor": 0.5, "mode": "bilinear", "antialias": True}, "antialias=True"),
        ({"scale_factor": 3}, "a scale of 3 x 3, which is no power of two"),
        ({"scale_factor": (2, 4)}, "different scales for height and width (2 x 4)"),
        ({"size": (12, 12)}, "a scale of 1.5 x 1.5, which is no power of two"),
    ],
)
def test_faults_of_a_resize(options: dict[str, Any], fault: str) -> None:
    report = lint_model(Between(lambda x: F.interpolate(x, **options)), IMAGE, select="QD501")
    assert [(f.severity, f.why) for f in report.findings] == [("warning", f"This `interpolate` has {fault}.")]


def test_functional_size_is_a_note_and_a_module_is_clean() -> None:
    assert found(lambda x: F.interpolate(x, size=(16, 16)), "QD501") == [(":interpolate", "note")]
    assert found(nn.Upsample(size=(16, 16)), "QD501") == []
    assert found(ResizeWith(scale_factor=2, mode="bilinear"), "QD501") == []
    assert found(ResizeWith(scale_factor=2), "QD103") == []


def test_attention_is_found_inside_torchs_own_module_and_not_called_functional() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    report = lint_model(Net(), torch.zeros(1, 3, 8), select=["QD403", "QD103"])
    assert [finding.code for finding in report.findings] == ["QD403"]


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.Conv2d(3, 3, 3, stride=(1, 2)), "stride 1 x 2"),
        (nn.Conv2d(3, 3, 5, stride=4), "that stride for 11 x 11 alone"),
        (nn.Conv2d(3, 3, 9, stride=2, padding=4), "up to 7 x 7"),
        (nn.Conv2d(3, 3, (1, 5), groups=3), "depthwise with a kernel of 1 x 5"),
        (nn.Conv2d(3, 3, 5, groups=3), ""),
        (nn.Conv2d(3, 3, 11, stride=4, padding=5), ""),
        (nn.Conv2d(3, 3, 4, stride=4), ""),
        (nn.ConvTranspose2d(3, 3, 3, stride=2), "2 x 2 and 4 x 4 with 2"),
        (nn.ConvTranspose2d(3, 3, 2, stride=2), ""),
        (nn.MaxPool2d(3, 1, dilation=2), "dilated"),
        (nn.MaxPool2d(3, 2), ""),
    ],
)
def test_convolutions_and_pools_that_tidl_has_not_say_which_number_it_is(layer: nn.Module, says: str) -> None:
    findings = lint_model(nn.Sequential(nn.Conv2d(3, 3, 1), layer), torch.zeros(1, 3, 16, 16), select="QD502").findings
    assert [says in finding.why for finding in findings] == ([True] if says else [])


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (lambda x: torch.cat([x, x]), "never images"),
        (lambda x: torch.cat([x, x], -1), ""),
        (lambda x: x.softmax(1), "along width and height"),
        (lambda x: x.softmax(-1), ""),
        (lambda x: x - x.relu(), "constants alone"),
        (lambda x: x - 2.0, ""),
    ],
)
def test_axes_that_tidl_has_not_are_named(operation: Callable[[Tensor], Tensor], says: str) -> None:
    findings = lint_model(Between(operation), IMAGE, select="QD503").findings
    assert [says in finding.why for finding in findings] == ([True] if says else [])
