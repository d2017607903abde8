"""Every architecture of torchvision, and a sample of timm's: traced, linted and compared, and nothing left unsaid.

Weights are random, and BatchNorm statistics those of random images, so that activations neither vanish nor explode.
Deep random networks amplify the smallest difference (ResNet-152 to 0.2 of its output), so 16 bit is held to float layer
by layer, from exact inputs.
"""

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.linting.lint import lint_model
from qdiag.planning.grouping import moves_values
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.tracing.status import Status, statuses
from qdiag.tracing.tracer import trace

ADDED_IN_16_BITS = 1e-2  # most are under 5e-4; a BatchNorm after pooling that subtracts nearly all of it loses more
SMALLEST_STEPS = ("2^-31", "2^-32")  # a range is never below 2^-16
CLASSIFIERS = torchvision.models.list_models(torchvision.models)
SEGMENTERS = torchvision.models.list_models(torchvision.models.segmentation)
DETECTORS = torchvision.models.list_models(torchvision.models.detection)
TIMM = [
    *("tf_efficientnet_lite0", "mobilenetv3_large_100", "mnasnet_100", "fbnetc_100", "hardcorenas_a", "ghostnet_100"),
    *("rexnet_100", "repvgg_a0", "resnet18d", "resnest14d", "cspresnet50", "dla34", "hrnet_w18_small", "regnetx_002"),
    *("regnety_002", "nf_resnet50", "resnetv2_50", "dpn68", "xception41", "selecsls42b", "vovnet39a", "mobileone_s0"),
    *("edgenext_xx_small", "levit_128s", "inception_next_tiny"),
]

FAST = {"resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_1", "lraspp_mobilenet_v3_large"}
WIDE = {"vit_b_16": 224, "vit_b_32": 224, "vit_l_16": 224, "vit_l_32": 224, "maxvit_t": 224, "inception_v3": 299}
TOO_LARGE = {"vit_h_14", "regnet_y_128gf", "vit_l_16", "vit_l_32"}  # 300 million parameters and more: traced and linted


SUITE = FAST | {
    *("convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t"),
    *("mnasnet0_5", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet50", "resnext50_32x4d", "swin_t"),
    *("swin_v2_t", "vgg11_bn", "vit_b_32", "deeplabv3_mobilenet_v3_large", "fcn_resnet50", "fcos_resnet50_fpn"),
    *("fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large"),
}
"""One of each family; the larger ones are for `make zoo`."""


def cases(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=marks(name), id=name) for name in names]


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [] if name in FAST else [pytest.mark.sweep] if name in SUITE else [pytest.mark.sweep, pytest.mark.zoo]


def settle(model: nn.Module, images: Any) -> nn.Module:
    """BatchNorm statistics from a few images."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    if norms:
        model.train()
        with torch.no_grad():
            model(images)
    return model.eval()


def check(model: nn.Module, batches: list[Any], limit: float) -> None:
    traced = trace(model, batches[0])
    plan = plan_quantization(traced, 8)
    status = statuses(traced)
    for call in traced.calls:
        if call.site not in plan.by_site and call.site not in plan.floating and not moves_values(call):
            assert all(status[v.number] is not Status.FEATURE or not v.is_floating for v in call.outputs), call.site
    lint_model(model, batches)
    found = compare(model, batches, added_images=1)
    assert {site for layer in found.layers for site in layer.sites} == set(plan.by_site)
    for layer in found.layers:
        for lane in ("16-bit", "8-bit"):
            error = layer.lanes[lane].accumulated["relative_error"]
            assert error is None or math.isfinite(error), layer.site
        fine = layer.lanes["16-bit"]
        added = fine.added["relative_error"]
        at_floor = fine.format.endswith(SMALLEST_STEPS)  # as after a layer scale of 1e-6
        assert added is None or added < ADDED_IN_16_BITS or at_floor, layer.site
    assert found.outputs["16-bit"].relative_error < limit


@pytest.mark.parametrize("name", cases(CLASSIFIERS))
def test_classifiers(name: str) -> None:
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    size = WIDE.get(name, 224 if name in TOO_LARGE else 64)
    images = torch.randn(4, 3, size, size)
    if name in TOO_LARGE:
        lint_model(model.eval(), images[:1])
        return
    check(settle(model, images), list(images[:2].split(1)), limit=0.5)


@pytest.mark.parametrize("name", cases(SEGMENTERS))
def test_segmenters(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    images = torch.randn(2, 3, 64, 64)
    check(settle(model, images), list(images.split(1)), limit=0.5)


@pytest.mark.parametrize("name", cases(DETECTORS))
def test_detectors(name: str) -> None:
    options = {"size": 300} if name.startswith("ssd") else {"min_size": 96, "max_size": 128}
    if name.startswith("ssd"):
        options = {}
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **options).eval()
    images: list[Tensor] = [torch.rand(3, 96, 120)]
    check(model, [[image] for image in images], limit=math.inf)  # boxes that are chosen from noise


@pytest.mark.sweep
@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False)
    size = 224 if name == "levit_128s" else 96
    images = torch.randn(4, 3, size, size)
    check(settle(model, images), list(images[:2].split(1)), limit=0.5)
