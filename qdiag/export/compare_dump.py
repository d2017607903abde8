"""`compare_dump()`: does the device compute the tensors that the simulation shows?"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdiag.errors import InputError
from qdiag.export.agreement import SiteAgreement, distances
from qdiag.export.device_errors import DumpComparison
from qdiag.export.dumped_site import DEVICE, DumpedSite
from qdiag.export.dumps.dump import Array, DumpedTensor, DumpProblem, UnfitTensor
from qdiag.export.dumps.read_dump import read_dump
from qdiag.export.export_onnx import check_installed
from qdiag.export.integers import stored_integers
from qdiag.export.tensor_names import TensorNames, tensor_names
from qdiag.numerics.metrics.sqnr import sqnr_db
from qdiag.numerics.moments import MomentSums, ReferenceSums
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qscheme import QScheme
from qdiag.planning.layer import Layer
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.modules import QuantTestModule, quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.batches import first_inputs
from qdiag.tracing.borrowing import borrow

SIXTEEN = "16-bit"


def compare_dump(
    quantized: QuantizedModel | QuantTestModule,
    data: Any,
    folder: str | os.PathLike[str],
    *,
    onnx_file: str | os.PathLike[str] | None = None,
) -> DumpComparison:
    """Set the tensors that a device or an emulator wrote beside float, 16 bits and the simulation, layer by layer.

    A stored tensor that was not dumped, and a file that is no stored tensor, or not of its size or type, are problems
    of the result: it did not pass. The model is left as it was.

    Args:
        quantized: From `calibrate`, or one of the modules that hold such a model.
        data: What the device was given, as the model is called with it (see `trace`), not yet quantized; or a
            DataLoader or Dataset, whose first batch it was given.
        folder: TIDL's traces (see `qdiag.export.dumps.tidl_traces`), or .npy and .npz files named by address or by ONNX
            tensor; integers or floats. Where both are there of one tensor, integers are compared, and tell with the
            floats what the scale is.
        onnx_file: What the device runs, written by `export_onnx` or `export_target`: with it names of the file are
            known too, as `output`, and tensors of the file that the simulation does not store are listed, not taken for
            a problem.

    Raises:
        InputError: For data, a folder or a file that cannot be used.

    >>> import tempfile
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval(), torch.linspace(0, 0.9, 8 * 108)
    >>> images = images.reshape(8, 3, 6, 6)
    >>> quantized = calibrate(net, images, "simple")
    >>> with tempfile.TemporaryDirectory() as folder:  # as if a device had written the image, and nothing else
    ...     np.save(f"{folder}/:input.npy", (images[:1] * 256).round().byte().numpy())
    ...     found = compare_dump(quantized, images[:1], folder)
    >>> found.site(":input").agreement.equal, [(problem.kind, problem.name) for problem in found.problems]
    (108, [('missing', '0')])
    """
    if onnx_file is not None:
        check_installed("onnx")
    quantized = quantized_model(quantized)
    inputs = first_inputs(data, quantized.module).to_device_of(quantized.module)
    inputs.check_finite("the data")
    if not inputs.tensors():
        raise InputError("the data hold no tensor. Give what the device was given.", code="no-tensor")
    dump = read_dump(Path(folder))
    names = tensor_names(quantized, None if onnx_file is None else Path(onnx_file))
    meeting = _Meeting(quantized, names, dump.tensors)
    with borrow(quantized.module):
        lanes = [version.interpreter for version in meeting.versions.values()]
        lockstep = Lockstep(quantized.in_float(), lanes, meeting.meet)
        lockstep.run(inputs.in_layout(quantized.channels_last))
    meeting.close()
    return DumpComparison(
        model_name=quantized.plan.trace.model_name,
        images=inputs.batch_size,
        simulation=meeting.own,
        sites=tuple(meeting.sites),
        problems=(*dump.problems, *meeting.problems),
        beside=tuple(meeting.beside),
    )


class _Meeting:
    """Compares each stored tensor with the device's, as the forward comes to it."""

    def __init__(self, quantized: QuantizedModel, names: TensorNames, tensors: Sequence[DumpedTensor]):
        self.own = quantized.plan.label or "simulation"
        self.versions = {SIXTEEN: _sixteen_bits(quantized), self.own: quantized}
        self.formats = quantized.formats
        self.sites: list[DumpedSite] = []
        self.problems: list[DumpProblem] = []
        self.dumped: dict[str, list[DumpedTensor]] = {}
        self.beside: list[str] = []
        for tensor in tensors:
            if tensor.name in names.sites:
                self.dumped.setdefault(names.sites[tensor.name], []).append(tensor)
            elif tensor.name in names.inner:
                self.beside.append(tensor.file)
            else:
                text = f"{tensor.name!r} is no tensor that the simulation stores"
                self.problems.append(DumpProblem("unmatched", tensor.file, text))

    def meet(self, layer: Layer, reference: Tensor, twins: list[Tensor], _: list[Tensor]) -> None:
        qparams = self.formats.qparams.get(layer.site)
        if qparams is None or not reference.numel():
            return
        found = self.dumped.pop(str(layer.site), [])
        try:
            steps = _steps(found, qparams, tuple(reference.shape))
        except UnfitTensor as error:
            name = found[0].file if found else str(layer.site)
            self.problems.append(DumpProblem(error.kind, name, error.text))
            return
        by_lane = dict(zip(self.versions, twins, strict=True))
        self.sites.append(self._compared(layer, found[0].file, steps, reference, by_lane))

    def _compared(
        self, layer: Layer, file: str, steps: Array, reference: Tensor, by_lane: Mapping[str, Tensor]
    ) -> DumpedSite:
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, reference)
        device = torch.from_numpy(steps * qparams.tensor_scale).to(reference)
        if factor is not None:
            device = device / factor
        simulated = by_lane[self.own]
        expected = stored_integers(self.formats, layer, simulated).numpy(force=True)
        return DumpedSite(
            agreement=SiteAgreement.of(str(layer.site), str(qparams), distances(steps, expected)),
            file=file,
            sqnr_db={name: _sqnr(reference, version) for name, version in {**by_lane, DEVICE: device}.items()},
            to_simulation_db=_sqnr(simulated, device),
        )

    def close(self) -> None:
        """Whatever the forward did not come to is a problem too."""
        for site, tensors in self.dumped.items():
            text = f"the forward did not come to {site!r} on these images"
            self.problems += [DumpProblem("unmatched", tensor.file, text) for tensor in tensors]


def _sixteen_bits(quantized: QuantizedModel) -> QuantizedModel:
    """Every format of the plan with 16 bits, for the model's own weights: what calibration rounded stays out of it."""

    def wide(scheme: QScheme | None) -> QScheme | None:
        return None if scheme is None else dataclasses.replace(scheme, bits=16)

    layers = quantized.plan.layers
    plan = quantized.plan.change(
        {layer.site: wide(layer.output) for layer in layers}, {x.site: wide(x.weight) for x in layers}
    )
    known = quantized.calibration
    calibration = Calibration({**known.ranges, **known.seen}, shifts=known.shifts)
    return QuantizedModel(quantized.module, plan, calibration, channels_last=quantized.channels_last)


def _steps(found: list[DumpedTensor], qparams: QParams, shape: tuple[int, ...]) -> Array:
    """What the device stored, in steps of the simulation's format. Raises UnfitTensor."""
    if not found:
        raise UnfitTensor("missing", "was not dumped, or under a name that is not known here")
    kinds = {tensor.is_integer: tensor for tensor in found}
    if len(kinds) < len(found):
        raise UnfitTensor("twice", f"more than one tensor has this name: {', '.join(tensor.file for tensor in found)}")
    values = {is_integer: _read(tensor, qparams, shape) for is_integer, tensor in kinds.items()}
    if len(values) == 2:
        _check_scale(values[True], values[False], qparams)
    return values[True].astype(np.float64) if True in values else values[False] / qparams.tensor_scale


def _read(tensor: DumpedTensor, qparams: QParams, shape: tuple[int, ...]) -> Array:
    values = tensor.load(qparams.qtype)
    if _without_ones(values.shape) != _without_ones(shape):
        raise UnfitTensor("mis-sized", f"is {list(values.shape)}, and the simulation stores {list(shape)} here")
    if not tensor.is_integer:
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise UnfitTensor("wrong type", "holds NaN or infinity")
    return values.reshape(shape)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A device may hold [1, 10] as [1, 1, 1, 10]."""
    return tuple(length for length in shape if length != 1)


def _check_scale(integers: Array, floats: Array, qparams: QParams) -> None:
    """Raises UnfitTensor where a step is not worth as much on the device as in the simulation."""
    used = integers != 0
    if not used.any():
        return
    step = float(np.median(floats[used] / integers[used]))
    if not math.isclose(step, qparams.tensor_scale, rel_tol=1e-3):
        raise UnfitTensor(
            "another scale", f"a step is worth {step:.6g} on the device, and 2^{qparams.exponent} in the simulation"
        )


def _sqnr(reference: Tensor, version: Tensor) -> float:
    sums = MomentSums()
    sums.update(ReferenceSums(reference), version, None)
    moments = sums.moments()
    return sqnr_db(moments.ref2, moments.err2)
