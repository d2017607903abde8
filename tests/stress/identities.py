"""Models and images with the same numbers in another order: their digests tell them apart."""

import copy

import torch
from torch import nn

from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.identity import data_digest, model_digest
from qdiag.tracing.batches import batches


@torch.no_grad()
def check(seed: int) -> str:
    """Raises AssertionError where a model or images in BGR are taken for those in RGB."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3)).eval()
    images = (torch.rand(8, 3, 12, 12) * 255).round() / 255
    turned = copy.deepcopy(model)
    weight, in_bgr = model.get_parameter("0.weight"), turned.get_parameter("0.weight")
    in_bgr.copy_(weight[:, [2, 1, 0]])
    assert model_digest(model) == model_digest(copy.deepcopy(model)), f"model {seed}: its copy is another"
    assert model_digest(model) != model_digest(turned), f"model {seed}: in BGR the same"
    same, other = (data_digest(batches([given], model)) for given in (images.clone(), images.flip(1)))
    assert same == data_digest(batches([images], model)), f"images {seed}: their copy is another"
    assert same != other, f"images {seed}: in BGR the same"
    quantized = calibrate(model, images, "simple")
    before = quantized(images)
    weight.data.copy_(in_bgr)
    assert not torch.equal(quantized(images), before), f"model {seed}: weights written past autograd are not seen"
    return "told apart"
