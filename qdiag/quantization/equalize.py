"""`equalize()`: a calibrated model with the channels of some layers multiplied by powers of two."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qdiag.errors import OptionError
from qdiag.progress import OnProgress, Steps, long_work
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.equalization import Equalization
from qdiag.subject import Subject


@long_work
def equalize(
    quantized: QuantizedModel | QuantBaseModule,
    data: Any,
    layers: str | Sequence[str] = "*",
    *,
    on_progress: OnProgress = None,
) -> Steps[QuantizedModel]:
    """Let one scale serve all channels of the tensors that some layers write and read; `quantized` stays as it was.

    Cross-layer equalization (arXiv:1906.04721, 4.1), by powers of two, which float computes the same with. Unlike
    `calibrate` it keeps what it finds, better or not: compare.

    Args:
        quantized: A calibrated model, or one of the modules that hold such a model.
        data: Images to see the channels' ranges on, without labels; or a `Subject`, with the images that calibrate it.
        layers: A name, module path or pattern, or several; "*" for all.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        OptionError: For a name that no layer has, where no tensor of the layers can be equalized, and where one is
            equalized already.

    >>> import torch
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    >>> net[0].weight.data[0] *= 100  # one channel needs a scale that starves the others
    >>> images = torch.rand(16, 3, 6, 6)
    >>> equalized = equalize(calibrate(net, images, "simple"), images, "0")
    >>> equalized.calibration.shifts.keys()
    dict_keys([0])
    """
    quantized = quantized_model(quantized)
    images = Subject.for_ranges(quantized.module, data).data
    patterns = [layers] if isinstance(layers, str) else list(layers)
    chosen = {layer.site for pattern in patterns for layer in quantized.plan.matching(pattern)}
    technique = Equalization(chosen)
    groups, known = technique.groups(quantized), quantized.calibration
    stored = {site for group in groups for site in group.stored}
    if not stored:
        raise OptionError(
            "nothing to equalize: no tensor that these layers write or read lies between weights alone. Concats, "
            "products and activation functions such as SiLU do not let a channel's factor pass.",
            code="nothing-to-equalize",
        )
    if stored & known.shifts.keys():
        raise OptionError(
            "the channels of these layers are equalized already. Set out from another calibration.",
            code="already-equalized",
        )
    changed = yield from technique.steps(quantized, images)
    touched = {layer.site for group in groups for layer in (*group.writers, *group.readers)}
    kept = {site: end for site, end in changed.calibration.weight_clip_exponents.items() if site not in touched}
    return changed.change(calibration=replace(changed.calibration, weight_clip_exponents=kept))
