"""One generated network through the library, held against integers and against itself as it was."""

import random
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.export.verify import verify
from qdiag.linting.lint import lint_model
from qdiag.planning import widths as planning
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.layer import Layer
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves
from tests.stress.integers import Widths, stored_tensors
from tests.stress.networks import Network, generated, images_for

PER_CHANNEL: tuple[PerChannelOption, ...] = (None, None, "depthwise", "all")


def check(seed: int, *, runtime: bool = False) -> str:
    """Raises AssertionError, with the seed, where a number is another than integer arithmetic gives.

    runtime: meet ONNX Runtime, too.
    """
    network, program = generated(seed)
    draws = random.Random(seed + 1)
    widths = Widths(draws.choice((8, 8, 8, 6, 4)), 8, draws.choice(PER_CHANNEL))
    calibration, images = images_for(program, seed), images_for(program, seed + 1, scale=draws.choice((0.5, 1.0, 3.0)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    given = [image.clone() for image in (*calibration, *images)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = _calibrated(network, calibration, widths)
        _meet(quantized, network, (calibration, images), widths, seed)
        _trains(quantized, images, seed)
        lint_model(network, Inputs(*calibration))
        found = compare(network, [Inputs(*images)], calibration_data=[Inputs(*calibration)])
        assert len(found.layers) == len(quantized.plan.layers), f"network {seed}: layers"
        if runtime:
            agreed = verify(_calibrated(network, calibration, Widths()), [Inputs(*images)], images=1)
            assert agreed.exit_code == 0, f"network {seed}: {agreed.off_by_more} integers differ in the runtime"
    assert not network.training, f"network {seed}: its mode was changed"
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()), f"network {seed}"
    assert all(torch.equal(a, b) for a, b in zip(given, (*calibration, *images), strict=True)), (
        f"network {seed}: images"
    )
    return "equal"


def _calibrated(network: Network, calibration: tuple[Tensor, ...], widths: Widths) -> QuantizedModel:
    bits: Any = planning.Widths(widths.weights, widths.tensors)
    return calibrate(network, [Inputs(*calibration)], "simple", bits, widths.per_channel)


def _meet(
    quantized: QuantizedModel, network: Network, given: tuple[tuple[Tensor, ...], ...], widths: Widths, seed: int
) -> None:
    """Every stored tensor, and what the network returns."""
    calibration, images = given
    kept: dict[str, Tensor] = {}

    def keep(layer: Layer, tensor: Tensor) -> None:
        kept[str(layer.site)] = tensor.clone()

    with borrow(network):
        InterpreterRun(quantized.watched(Watchers(stored=keep))).forward(Inputs(*(image.clone() for image in images)))
    order = [str(layer.site) for layer in quantized.plan.layers]  # a ReLU that ends a layer may run after others
    stored = [(name, kept[name]) for name in order]
    expected = stored_tensors(network, calibration, images, widths)
    assert len(stored) == len(expected.stored), f"network {seed}: {[name for name, _ in stored]} are stored"
    for (name, tensor), fixed in zip(stored, expected.stored, strict=True):
        assert torch.equal(tensor.double(), fixed.values), f"network {seed}: {name} is not what integers give"
    results = [leaf for _, leaf in named_leaves(quantized(*(image.clone() for image in images)))]
    for number, (result, fixed) in enumerate(zip(results, expected.outputs, strict=True)):
        assert torch.equal(result.double(), fixed.values), f"network {seed}: output {number} is not what integers give"


def _trains(quantized: QuantizedModel, images: tuple[Tensor, ...], seed: int) -> None:
    """The same numbers in eval mode as the model trained from; a step's gradients are finite, and reach weights."""
    if not _has_gradients(quantized.module, images):
        return
    module = QuantTrainModule.from_calibrated(quantized)
    ours, theirs = (
        [leaf for _, leaf in named_leaves(run(*(image.clone() for image in images)))]
        for run in (module.eval(), quantized)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), f"network {seed}: as a module to train"
    state = {name: tensor.clone() for name, tensor in quantized.module.state_dict().items()}
    module.train()
    _loss(module, images).backward()
    gradients = [one.grad for one in quantized.module.parameters() if one.grad is not None]
    assert gradients, f"network {seed}: no weight has a gradient"
    assert all(bool(gradient.isfinite().all()) for gradient in gradients), f"network {seed}: a gradient is not finite"
    module.eval()
    quantized.module.zero_grad()
    quantized.module.load_state_dict(state)


def _has_gradients(network: nn.Module, images: tuple[Tensor, ...]) -> bool:
    """False where the network cannot be trained in float either: what it overwrites, its gradients need."""
    try:
        torch.autograd.grad(_loss(network, images), list(network.parameters()), allow_unused=True)
    except RuntimeError:
        return False
    return True


def _loss(network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
    results = [leaf for _, leaf in named_leaves(network(*(image.clone() for image in images)))]
    return torch.stack([result.square().mean() for result in results]).sum()
