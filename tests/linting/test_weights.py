"""The figures of the rules on weights, against ones worked by hand."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.linting.lint import lint_model

IMAGE = torch.zeros(1, 4, 8, 8)


def depthwise(scales: list[float]) -> nn.Module:
    """Channels whose merged weights reach `scales`: eps is 0, variance 1, and gamma the scale."""
    conv = nn.Conv2d(4, len(scales), 3, groups=4, bias=False)
    nn.init.ones_(conv.weight)
    norm = nn.BatchNorm2d(len(scales), eps=0.0)
    norm.weight.data = torch.tensor(scales)
    return nn.Sequential(conv, norm)


def test_bits_left_to_a_channel() -> None:
    # The largest is 1, so the scale reaches 1. A channel of 2^-5 keeps 8 - 5 = 3 bits, one of 2^-7 keeps 1.
    (finding,) = lint_model(depthwise([1.0, 2**-5, 2**-5, 2**-7]), IMAGE, select="QD305").findings
    assert finding.severity == "error"
    assert finding.why == (
        "3 of 4 channels of this depthwise conv2d are more than 16 times smaller than the largest: "
        "channel 0 reaches 1, channel 3 0.00781 (128 times less). "
        "In 8 bits the median channel keeps 3.0 bits, the smallest 1.0."
    )


def test_a_quarter_of_small_channels_is_a_warning_and_sixteen_times_is_tolerated() -> None:
    (finding,) = lint_model(depthwise([1.0, 1.0, 1.0, 2**-5]), IMAGE, select="QD305").findings
    assert finding.severity == "warning"
    assert lint_model(depthwise([1.0, 1.0, 1.0, 2**-4]), IMAGE, select="QD305").findings == ()


def test_channels_that_are_zero_in_16_bits_are_dead_and_not_uneven() -> None:
    report = lint_model(depthwise([1.0, 1.0, 1.0, 2**-17]), IMAGE, select=["QD305", "QD307"])
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("QD307", "note")
    assert finding.why == "1 of 4 channels have merged weights that are 0 even in 16 bits."


def test_channels_of_a_grouped_transposed_convolution_are_its_outputs() -> None:
    conv = nn.ConvTranspose2d(4, 4, 2, groups=2, bias=False)  # weight [in 4, out of group 2, 2, 2]
    nn.init.ones_(conv.weight)
    conv.weight.data[:2, 1] = 2**-5  # inputs 0 and 1 form group 0: its second output is channel 1
    (finding,) = lint_model(nn.Sequential(conv), IMAGE, select="QD305").findings
    assert "1 of 4 channels" in finding.why
    assert "channel 1 0.0312 (32 times less)" in finding.why


def test_a_depthwise_weight_far_larger_than_all_others_is_an_outlier_too() -> None:
    conv = nn.Conv2d(256, 256, 3, groups=256)
    nn.init.constant_(conv.weight, 0.1)
    conv.weight.data[3, 0, 1, 1] = 8.0
    assert [one.site for one in lint_model(conv, torch.zeros(1, 256, 8, 8), select="QD306").findings] == [":conv2d"]


def test_layers_are_listed_with_their_own_figures_the_worst_first() -> None:
    net = nn.Sequential(depthwise([1.0, 1.0, 2**-5, 2**-5]), depthwise([1.0, 2**-5, 2**-6, 2**-7]))
    report = lint_model(net, IMAGE, select="QD305")
    assert [(finding.severity, finding.site) for finding in report.findings] == [("error", "1.0"), ("warning", "0.0")]


@pytest.mark.parametrize(("outliers", "found"), [(1, True), (20, False)])
def test_outliers_are_at_most_one_weight_in_a_thousand(outliers: int, found: bool) -> None:
    linear = nn.Linear(100, 100)
    nn.init.constant_(linear.weight, 0.1)
    linear.weight.data.view(-1)[:outliers] = 3.2
    report = lint_model(linear, torch.zeros(1, 100), select="QD306")
    assert bool(report.findings) == found
    if found:
        assert "largest weight is 3.2, while 99.9 % are under 0.1, 32 times less" in report.findings[0].why


def test_nan_is_counted_and_hides_no_other_rule() -> None:
    net = depthwise([1.0, 1.0, 1.0, torch.nan])
    report = lint_model(net, IMAGE)
    (finding,) = report.by_rule("QD301")
    assert (finding.site, finding.why) == ("1.weight", "Of 4 values, 1 are NaN and 0 infinite.")


def test_infinite_sum_of_finite_values_is_no_infinity() -> None:
    linear = nn.Linear(2, 2)
    nn.init.constant_(linear.weight, 3e38)
    assert lint_model(linear, torch.zeros(1, 2), select="QD301").findings == ()


def test_factor_of_a_channel_with_no_variance() -> None:
    norm = nn.BatchNorm2d(4, eps=1e-4)
    norm.running_var = torch.tensor([1.0, 1.0, 1.0, 0.0])  # 1 / sqrt(1e-4) = 100, 100 times the median
    (finding,) = lint_model(nn.Sequential(nn.Conv2d(4, 4, 1), norm), IMAGE, select="QD303").findings
    assert "channel 3 is multiplied by 100 (γ 1, running variance 0), the median channel by 1" in finding.why
    assert finding.fix.startswith("model.train()")


class Tied(nn.Module):
    """One convolution, run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1, bias=False)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


def test_weights_that_run_twice_are_reported_once() -> None:
    (finding,) = lint_model(Tied(), IMAGE, select="QD307").findings
    assert finding.sites == ("conv",)


def test_unused_branch_is_a_note_and_a_forgotten_parameter_a_warning() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.aux = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    report = lint_model(Net(), IMAGE, select="QD106")
    assert [(f.severity, len(f.sites)) for f in report.findings] == [("warning", 1), ("note", 4)]
    assert "`aux` does not run" in report.findings[1].why
