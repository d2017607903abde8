"""`verify()`: does a real integer runtime compute the tensors that the simulation shows?"""

import dataclasses
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from torch import Tensor

from qdiag.errors import OptionError
from qdiag.export.agreement import SiteAgreement, distances
from qdiag.export.dumps.dump import Array
from qdiag.export.export_onnx import export_onnx
from qdiag.export.installed import check_installed
from qdiag.export.integer_runtime import IntegerRuntime
from qdiag.export.integers import stored_integers
from qdiag.export.layers_alone import LayersAlone
from qdiag.export.runtime_session import Python
from qdiag.export.verification import Verification
from qdiag.numerics.rounding import Rounding
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.progress import OnProgress, Progress, Steps, long_work
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import Inputs, named_leaves

IMAGES = 16
Leaves = list[tuple[str, Tensor]]


@long_work
def verify(
    quantized: QuantizedModel | QuantBaseModule,
    data: Any,
    *,
    images: int = IMAGES,
    runtime: Python | None = None,
    on_progress: OnProgress = None,
) -> Steps[Verification]:
    """Export to ONNX, run it in ONNX Runtime's integer kernels, and compare every stored tensor's integers.

    Where some differ, each layer is judged alone: computed from the runtime's own integers before it, against what the
    runtime made of them. Sums of integers have to be the same; what is rounded as floats, as a softmax or a norm, may
    fall to the other side of a rounding, as each side has its own order. What comes behind is computed from other
    integers then, and is no difference of its own.

    Both sides round half to even, as ONNX does: where the plan rounds half up, the simulation is run with the other
    rounding for this check, and the result says so. The model is left as it was.

    Args:
        quantized: From `calibrate`, or one of the modules that hold such a model.
        data: As for `calibrate`, or a `Subject`, in images of one size.
        images: So many of the data run, one at a time.
        runtime: The path of a Python whose ONNX Runtime is to run the file, such as the one that a target's tools ship;
            by default the one that is installed here. That Python needs numpy and onnxruntime alone.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        OptionError: Where onnx or onnxruntime is not installed, here or there, and for a number of images below one.
        InputError: For data that cannot be used.
        ModelError: For a model that no file can hold, or that ONNX Runtime cannot run.

    >>> import torch
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval(), torch.rand(16, 3, 6, 6)
    >>> verification = verify(calibrate(net, images, "simple"), images, images=4)
    >>> verification.values, verification.equal
    (1008, 1008)
    """
    check_installed("onnx", "onnxscript", *(["onnxruntime"] if runtime is None else []))
    if images < 1:
        raise OptionError(f"images={images}: at least one is needed.", code="at-least-one")
    quantized = quantized_model(quantized)
    simulated = QuantizedModel(quantized.module, _half_to_even(quantized.plan), quantized.calibration)
    first = next(_images(data, quantized, 1))
    tally, ran = yield from _tally_steps(simulated, data, first, images, runtime)
    return Verification(
        model_name=quantized.plan.trace.model_name,
        images=tally.images,
        target=quantized.plan.target.name,
        is_rounding_exchanged=simulated.plan != quantized.plan,
        sites=tuple(SiteAgreement.of(site, str(simulated.format(site)), tally.distances[site]) for site in tally.names),
        output_values=tally.output_values,
        output_equal=tally.output_equal,
        alone=tally.alone.differing(),
        alone_output_differing=tally.alone_output_differing,
        watching_changes=tally.watching_changes,
        kernels=ran.kernels,
        runtime=ran.version,
    )


def _tally_steps(
    simulated: QuantizedModel, data: Any, first: Inputs, images: int, python: Python | None
) -> Steps[tuple["_Tally", "_Ran"]]:
    """Run both sides, one image at a time; what was counted, and what ran it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "model.onnx"
        exported = export_onnx(simulated, path, first, dynamic_batch=False)
        runtime = stack.enter_context(closing(IntegerRuntime(path, python=python)))
        watching = stack.enter_context(closing(IntegerRuntime(path, exported.names.values(), python)))
        integers = _Integers(simulated.formats)
        tally = _Tally(exported.names, LayersAlone(simulated, exported.names))
        simulation = InterpreterRun(simulated.watched(Watchers(stored=integers.keep)))

        def compare_all() -> Steps[None]:
            for progress, inputs in Progress.over(_images(data, simulated, images), "verifying"):
                result = simulation.forward(inputs)
                tensors = [tensor for _, tensor in inputs.tensors()]
                watched = watching.run(tensors)
                is_equal = tally.sites(integers.by_site, watched)
                tally.outputs(named_leaves(result), runtime.run(tensors), watched)
                if not is_equal:
                    tally.layers_alone(inputs, watched)
                yield progress

        yield from borrow_stepwise(simulated.module, compare_all())
    return tally, _Ran(dict(runtime.kernels.most_common()), runtime.version)


@dataclasses.dataclass(frozen=True)
class _Ran:
    """A runtime: its kernels by how often each is in the optimized network, and its version."""

    kernels: dict[str, int]
    version: str


def _half_to_even(plan: QuantPlan) -> QuantPlan:
    rounded = {
        layer.site: dataclasses.replace(layer.output, rounding=Rounding.HALF_EVEN)
        for layer in plan.layers
        if layer.output is not None
    }
    return plan.change(output=rounded)


def _images(data: Any, quantized: QuantizedModel, count: int) -> Iterator[Inputs]:
    """One at a time; whole batches where it is not plain which axis counts the images."""
    parts = (part.inputs for batch in Subject.of(quantized.module, data).data for part in batch.split(1))
    return itertools.islice(parts, count)


class _Integers:
    """The integers of every stored tensor in the last forward, as the target holds them."""

    def __init__(self, formats: Formats):
        self.formats = formats
        self.by_site: dict[str, Tensor] = {}

    def keep(self, layer: Layer, stored: Tensor) -> None:
        """Watches stored tensors."""
        if layer.site in self.formats.qparams:
            self.by_site[str(layer.site)] = stored_integers(self.formats, layer, stored)


class _Tally:
    """Counts, over all images, how far the integers of two sides lie apart."""

    def __init__(self, names: Mapping[str, str], alone: LayersAlone):
        self.names, self.alone = names, alone
        self.images = self.output_values = self.output_equal = self.alone_output_differing = self.watching_changes = 0
        self.distances: dict[str, Counter[int]] = {site: Counter() for site in names}

    def sites(self, expected: dict[str, Tensor], found: dict[str, Array]) -> bool:
        """True where all integers of an image are the same."""
        self.images += 1
        apart = {site: distances(found[name], expected[site].numpy(force=True)) for site, name in self.names.items()}
        for site, counts in apart.items():
            self.distances[site].update(counts)
        return all(counts.keys() <= {0} for counts in apart.values())

    def outputs(self, expected: Leaves, found: dict[str, Array], watched: dict[str, Array]) -> None:
        for (_, tensor), (name, value) in zip(expected, found.items(), strict=True):
            self.output_values += value.size
            self.output_equal += value.size - _differing(value, tensor)
            self.watching_changes += int((value != watched[name]).sum())

    def layers_alone(self, inputs: Inputs, watched: dict[str, Array]) -> None:
        """Every layer, and the results, from the runtime's own integers."""
        leaves = named_leaves(self.alone.run(inputs, watched))
        outputs = itertools.islice(watched.values(), len(leaves))
        self.alone_output_differing += sum(map(_differing, outputs, (tensor for _, tensor in leaves)))


def _differing(found: Array, expected: Tensor) -> int:
    return int((found != expected.numpy(force=True)).sum())
