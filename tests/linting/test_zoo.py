"""What torchvision's own models have, as far as their papers and code tell: no more, and in few findings."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from qdiag.linting.lint import lint_model

pytestmark = pytest.mark.sweep

# Codes of errors and warnings, random weights, no optimizer.
EXPECTED = {
    "resnet18": {"QD102", "QD103"},  # one ReLU for two uses, out += identity
    "mobilenet_v2": {"QD103"},
    "mobilenet_v3_small": {"QD101", "QD103", "QD401", "QD402"},  # squeeze-excite without BatchNorm, hardswish
    "shufflenet_v2_x0_5": {"QD103"},
    "densenet121": {"QD101", "QD103", "QD104"},  # BatchNorm before the convolution
    "googlenet": {"QD103"},
    "squeezenet1_1": {"QD101", "QD103"},  # no BatchNorm at all
    "efficientnet_b0": {"QD101", "QD103", "QD401", "QD402"},
    "regnet_x_400mf": {"QD103"},
    "convnext_tiny": {"QD101", "QD103", "QD401", "QD404"},
    "vit_b_16": {"QD101", "QD103", "QD307", "QD401", "QD403", "QD404"},  # its head starts at zero
    "swin_t": {"QD101", "QD103", "QD401", "QD403", "QD404"},
}
# A line for each: few enough to read.
MOST_FINDINGS = 18


@pytest.mark.parametrize("name", EXPECTED)
def test_classifier(name: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    size = 224 if name == "vit_b_16" else 64
    report = lint_model(get_model(name, weights=None, **options), torch.rand(1, 3, size, size))
    assert {finding.code for finding in report.findings if finding.severity != "note"} == EXPECTED[name]
    assert len(report.findings) <= MOST_FINDINGS


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn"])
def test_detector(name: str) -> None:
    model = detector(name)
    report = lint_model(model, ([torch.rand(3, 96, 96)],))
    missing = {site for finding in report.by_rule("QD101") for site in finding.sites}
    heads = ("cls_logits", "bbox_pred", "bbox_reg")
    assert missing
    assert not any(site.partition("#")[0].endswith(heads) for site in missing)
    assert len([f for f in report.by_rule("QD102") if f.severity == "note"]) == 1  # the head over the pyramid's levels
    assert len(report.findings) <= 2 * MOST_FINDINGS


def detector(name: str) -> nn.Module:
    model = get_model(name, weights=None, weights_backbone=None, num_classes=3)
    model.transform.min_size, model.transform.max_size = (96,), 128
    return model


def test_lite_network_of_timm_has_only_its_sums() -> None:
    timm = pytest.importorskip("timm")
    report = lint_model(timm.create_model("tf_efficientnet_lite0"), torch.rand(1, 3, 64, 64))
    assert {finding.code for finding in report.findings if finding.severity != "note"} == {"QD103"}
