"""Networks whose forward in train mode is another than in eval mode, or that normalize their weights."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.errors import QdiagWarning
from qdiag.numerics.fake_quantize import fake_quantize
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.site import Site

IMAGES = torch.randn(4, 3, 10, 10, generator=torch.Generator().manual_seed(4))


class Standardized(nn.Conv2d):
    """Weights of mean 0 and variance 1 for each output channel."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class ByBatch(nn.Module):
    """Normalizes by the batch in eval mode too, though it has statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, training=True)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("norm", [nn.Identity(), nn.BatchNorm2d(8, track_running_stats=False), ByBatch()])
def test_what_normalizes_by_itself_in_inference_does_so_in_training(frozen: bool, norm: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Standardized(3, 8, 3), norm, nn.BatchNorm2d(8), nn.ReLU(), Standardized(8, 4, 3))
    module = QuantTrainModule.from_calibrated(calibrate(model.eval(), IMAGES, "simple")).freeze_norms(frozen).train()
    result = module(IMAGES)
    result.square().mean().backward()
    for convolution in (model[0], model[4]):
        assert isinstance(convolution, Standardized)
        assert convolution.weight.grad is not None
        assert convolution.weight.grad.abs().sum() > 0
    if frozen:
        difference = module.eval()(IMAGES) - result.detach()  # training rounds no bias
        assert difference.norm() < 0.1 * result.detach().norm()


class Detector(nn.Module):
    """A dict of losses in train mode, boxes in eval mode; both modes resize and add, training on targets too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def prepare(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None) -> list[Tensor]:
        prepared = []
        for number, image in enumerate(images):
            prepared.append((image - 0.5) / 0.25)
            if targets is not None:
                targets[number] = {**targets[number], "boxes": targets[number]["boxes"] / image.shape[-1]}
        return prepared

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        targets = None if targets is None else list(targets)
        features = F.relu(self.body(torch.stack(self.prepare(images, targets))))
        boxes = self.head(features + 1.0).mean((2, 3)).sigmoid()
        if not self.training:
            return [{"boxes": one} for one in boxes]
        assert targets is not None, "targets are needed in train mode"
        wanted = torch.cat([target["boxes"] for target in targets])
        return {"box": F.l1_loss(boxes, wanted), "size": boxes.square().mean() * 0.1}


def shots(count: int = 2) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    torch.manual_seed(2)
    targets = [{"boxes": torch.tensor([[1.0, 2.0, 6.0, 7.0]]), "labels": torch.tensor([1])} for _ in range(count)]
    return [torch.rand(3, 8, 8) for _ in range(count)], targets


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    return Detector().eval()


def trained_on(detector: Detector) -> tuple[QuantTrainModule, QuantizedModel]:
    quantized = calibrate(detector, [(shots()[0],)], "simple")
    return QuantTrainModule.from_calibrated(quantized).train(), quantized


def test_a_detector_trains_in_the_formats_of_its_inference(detector: Detector) -> None:
    """Divisions on boxes stand between those on images: each keeps its own format, and boxes have none."""
    images, targets = shots()
    module, quantized = trained_on(detector)
    given: list[Tensor] = []
    handle = detector.head.register_forward_pre_hook(lambda _, args: given.append(args[0].detach()))
    losses = module(images, targets)
    quantized(images)
    handle.remove()
    torch.testing.assert_close(given[0], given[1])  # what inference computes
    assert set(losses) == {"box", "size"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())
    assert targets[0]["boxes"].tolist() == [[1.0, 2.0, 6.0, 7.0]]


@pytest.mark.parametrize("by_keyword", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_other_numbers_of_images_are_stored_as_those_that_were_traced(
    detector: Detector, count: int, by_keyword: bool
) -> None:
    images, targets = shots(count)
    module, quantized = trained_on(detector)
    coarse = quantized.format(":input")
    assert coarse is not None
    given: list[Tensor] = []
    handle = detector.register_forward_pre_hook(
        lambda _, args, kwargs: given.extend(kwargs["images"] if by_keyword else args[0]), with_kwargs=True
    )
    losses = module(images=images, targets=targets) if by_keyword else module(images, targets)
    handle.remove()
    assert all(torch.equal(one, fake_quantize(image, coarse)) for one, image in zip(given, images, strict=True))
    assert losses["box"].isfinite()


class Dispatching(nn.Module):
    """The same computation on other lines in each mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.training:
            z = F.relu(y)
            return self.second(z) + z
        z = F.relu(y)
        return self.second(z) + z


def test_code_of_trainings_own_is_told_and_a_layer_in_it_goes_on_as_planned() -> None:
    torch.manual_seed(0)
    quantized = calibrate(Dispatching().eval(), IMAGES, "simple")
    module = QuantTrainModule.from_calibrated(quantized).train()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = module(IMAGES)
    assert [one.category for one in told] == [QdiagWarning]
    assert "1 operation(s) stand on other lines in train mode" in str(told[0].message)
    step = quantized.formats.qparams[Site("", "add")].tensor_scale
    assert (result - quantized(IMAGES)).abs().max() <= 2 * step  # the last sum's rounding, and the biases'
