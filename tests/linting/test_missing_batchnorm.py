"""QD101 at the places where a convolution may do without a BatchNorm, and where it may not."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from qdiag.linting.lint import lint_model

IMAGE = torch.zeros(1, 3, 16, 16)


def missing(model: nn.Module, inputs: object = IMAGE) -> dict[str, str]:
    """Severity by site."""
    report = lint_model(model, inputs, select="QD101")
    return {one.site: one.severity for finding in report.findings for one in finding.each()}


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.boxes = nn.Conv2d(8, 4, 1)
        self.classes = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.relu(self.bn(self.stem(x)))
        return self.boxes(x), self.classes(x)


def test_two_heads_are_both_prediction_convs() -> None:
    assert missing(TwoHeads()) == {"classes.0": "warning"}


def test_conv_before_a_linear_classifier_is_no_prediction_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    assert missing(net) == {"0": "warning"}


def test_depthwise_conv_is_an_error() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 2, 1))
    assert missing(net) == {"0": "error"}


def test_depthwise_conv_is_no_prediction_layer_even_at_the_end() -> None:
    assert missing(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3))) == {"0": "error"}


def test_transposed_and_1d_and_3d_convs_count() -> None:
    for size, conv, norm in (
        ((1, 4, 8), nn.Conv1d, nn.BatchNorm1d),
        ((1, 4, 8, 8), nn.ConvTranspose2d, nn.BatchNorm2d),
        ((1, 4, 8, 8, 8), nn.Conv3d, nn.BatchNorm3d),
    ):
        without = nn.Sequential(conv(4, 4, 3), nn.ReLU(), conv(4, 2, 1))
        within = nn.Sequential(conv(4, 4, 3), norm(4), nn.ReLU(), conv(4, 2, 1))
        assert missing(without, torch.zeros(size)) == {"0": "warning"}
        assert missing(within, torch.zeros(size)) == {}


def test_frozen_batchnorm_counts_as_batchnorm() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), FrozenBatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    report = lint_model(net, IMAGE, select=["QD101", "QD103"])
    assert report.findings == ()


class Shared(nn.Module):
    """The convolution's result is normalized, and also used as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.head(self.bn(y) + y)


def test_batchnorm_that_does_not_read_alone_is_named() -> None:
    (finding,) = lint_model(Shared(), IMAGE, select="QD101").findings
    assert "but not alone" in finding.why
    (unmerged,) = lint_model(Shared(), IMAGE, select="QD104").findings
    assert (
        unmerged.why
        == "This BatchNorm of 3 channels shares the result of `conv2d` with `add`, and stays a layer of its own."
    )


def test_groupnorm_is_named_as_no_substitute() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 2, 1))
    (finding,) = lint_model(net, IMAGE, select="QD101").findings
    assert "`group_norm`, which takes its statistics from each input" in finding.why


class Detector(nn.Module):
    """The first head's boxes say where the second looks."""

    def __init__(self) -> None:
        super().__init__()
        self.rpn = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(3 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        from torchvision.ops import roi_align

        boxes = self.rpn(x).flatten(2).mean(2).abs()
        rois = torch.cat([torch.zeros(1, 1), boxes], dim=1)
        return self.fc(roi_align(x, rois, output_size=2).flatten(1))


def test_head_that_makes_boxes_for_another_is_a_prediction_layer() -> None:
    assert missing(Detector()) == {}


def test_fixed_filters_are_exempt() -> None:
    class Blur(nn.Module):
        kernel: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.full((3, 1, 3, 3), 1 / 9))
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.conv2d(x, self.kernel, groups=3))

    assert missing(Blur()) == {}


def bare(count: int, *, bias: bool = True) -> nn.Module:
    layers = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=bias), nn.ReLU()) for _ in range(count)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("model", "severity"),
    [
        (torch.fx.symbolic_trace(bare(6)), "note"),  # as from a file
        (nn.Sequential(nn.Identity(), bare(6)), "note"),  # fused
        (bare(6), "warning"),
    ],
    ids=["graph", "fused", "module"],
)
def test_a_network_without_any_batchnorm_is_told_so_once(model: nn.Module, severity: str) -> None:
    (finding,) = lint_model(model, IMAGE, select="QD101").findings
    assert (finding.severity, finding.more) == (severity, ())
    assert "None of 6 convolutions" in finding.why
    compile(finding.fix, "fix", "exec")


def test_convolutions_without_biases_are_not_merged_ones() -> None:
    assert set(missing(bare(6, bias=False)).values()) == {"error"}


def test_a_few_convolutions_are_told_one_by_one() -> None:
    assert missing(bare(2)) == {"0.0": "error", "1.0": "error"}
