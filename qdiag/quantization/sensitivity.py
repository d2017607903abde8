"""`sensitivity()`: how far each layer alone takes the network's outputs from float."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from qdiag.errors import OptionError
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, long_work
from qdiag.quantization.alone_errors import alone_errors_steps
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.fidelity import IMAGES
from qdiag.quantization.probed_errors import probed_errors_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.sensitivity_result import LayerSensitivity, Sensitivity, SensitivityMethod
from qdiag.subject import Subject
from qdiag.tracing.batches import batches
from qdiag.tracing.site import Site


@long_work
def sensitivity(
    model: nn.Module | Subject | QuantizedModel,
    data: Any = None,
    method: SensitivityMethod = "exact",
    bits: Bits = 8,
    *,
    images: int = IMAGES,
    target: str = "tidl",
    on_progress: OnProgress = None,
) -> Steps[Sensitivity]:
    """Find the layers that cost the outputs most: each alone in fixed point, all others in float.

    Errors of single layers nearly add up while they are small, so that a layer's share is what is gained where it gets
    more bits, or is mended.

    Args:
        model: Left as it was; a `Subject`, which holds the data as well; or a calibrated model, which is judged in its
            own formats and with its own weights.
        data: Images; labels are not used.
        method: "exact" runs the network once for each layer from there on, half a forward on average. "fast" sends four
            random probes back through the float network, eight forwards in all, and gives an estimate.
        bits: As for `calibrate`; a calibrated model has its own.
        images: On the first so many.
        target: As for `calibrate`; a calibrated model has its own.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        InputError: Before any long work, for data that cannot be used.
        ModelError: For a model that cannot be run or simulated as it is, and of "fast", where no gradient goes back
            through it.
        OptionError: Before any long work, for options that are not on offer.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    >>> found = sensitivity(net, torch.rand(16, 3, 6, 6))
    >>> sorted(str(layer.site) for layer in found.worst_first)
    ['0', '2', ':input']
    """
    if method not in ("exact", "fast"):
        raise OptionError(f"method={method!r}: it is 'exact' or 'fast'.", code="option-value")
    if images < 1:
        raise OptionError(f"images={images}: at least one.", code="option-value")
    if isinstance(model, QuantizedModel):
        quantized, read = model, Subject.of(model.module, data).data
    else:
        subject = Subject.of(model, data)
        (quantized,) = yield from calibration_steps(subject.calibration, "simple", [(bits, None)], target=target)
        read = subject.data
    return (yield from sensitivity_steps(quantized, read, method, images))


def sensitivity_steps(
    quantized: QuantizedModel, data: Any, method: SensitivityMethod, images: int = IMAGES
) -> Steps[Sensitivity]:
    """`sensitivity` of a calibrated model."""
    noises: Mapping[Site, float | None]
    read = batches(data, quantized.module).upto(images)
    if method == "exact":
        noises = yield from alone_errors_steps(quantized, read, images)
    else:
        noises = yield from probed_errors_steps(quantized, read, images)
    total = sum(noise for noise in noises.values() if noise is not None)
    layers = tuple(
        LayerSensitivity(
            site=layer.site,
            title=layer.title,
            format=str(quantized.format(layer.site)),
            noise=noises[layer.site],
            share=_share(noises[layer.site], total),
        )
        for layer in quantized.plan.layers
        if layer.site in noises
    )
    return Sensitivity(quantized.plan.trace.model_name, quantized.plan.label, method, read.images_read, layers)


def _share(noise: float | None, total: float) -> float | None:
    if noise is None:
        return None
    return noise / total if total else 0.0
