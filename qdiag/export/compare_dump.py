"""`compare_dump()`: does the device compute the tensors that the simulation shows?"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import InputError
from qdiag.export.agreement import SiteAgreement, distances
from qdiag.export.device_errors import DumpComparison
from qdiag.export.device_numerics import DeviceNumerics
from qdiag.export.device_tensors import DeviceTensors
from qdiag.export.dumped_site import DEVICE, DumpedSite
from qdiag.export.dumps.dump import Array
from qdiag.export.dumps.read_dump import read_dump
from qdiag.export.installed import check_installed
from qdiag.export.integers import stored_integers
from qdiag.export.judge_layers import LayerJudge
from qdiag.export.output_shares import output_shares
from qdiag.export.tensor_names import tensor_names
from qdiag.numerics.metrics.sqnr import sqnr_db
from qdiag.numerics.moments import MomentSums, ReferenceSums
from qdiag.numerics.qscheme import QScheme
from qdiag.planning.layer import Layer
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.formats import Formats
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import first_batch
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves

SIXTEEN = "16-bit"


def compare_dump(
    quantized: QuantizedModel | QuantBaseModule,
    data: Any,
    folder: str | os.PathLike[str],
    *,
    onnx_file: str | os.PathLike[str] | None = None,
) -> DumpComparison:
    """Set the tensors that a device or an emulator wrote beside float, 16 bits and the simulation, layer by layer.

    Each layer is judged alone: computed from the device's own tensors before it, against what the device made of them.
    What a wrong layer looks like is told in words, with its part of the output's error; see `LayerAlone`.

    A stored tensor that was not dumped, and a file that is no stored tensor, or not of its size or type, are problems
    of the result: it did not pass. The model is left as it was.

    Args:
        quantized: From `calibrate`, or one of the modules that hold such a model.
        data: What the device was given, as the model is called with it (see `trace`), not yet quantized; or a
            DataLoader, Dataset or `Subject`, whose first batch it was given.
        folder: TIDL's traces (see `qdiag.export.dumps.tidl_traces`), or .npy and .npz files named by address or by ONNX
            tensor; integers or floats. Where both are there of one tensor, integers are compared, and tell with the
            floats what the scale is.
        onnx_file: What the device runs, written by `export_onnx` or `export_target`: with it names of the file are
            known too, as `output`, and tensors of the file that the simulation does not store are listed, not taken for
            a problem.

    Raises:
        InputError: For data, a folder or a file that cannot be used.

    >>> import tempfile
    >>> import numpy as np
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
    inputs = first_batch(quantized.module, data).to_device_of(quantized.module)
    inputs.check_finite("the data")
    if not inputs.tensors():
        raise InputError("the data hold no tensor. Give what the device was given.", code="no-tensor")
    dump = read_dump(Path(folder))
    names = tensor_names(quantized, None if onnx_file is None else Path(onnx_file))
    meeting = _Meeting(quantized, DeviceTensors(dump.tensors, names, quantized.formats.qparams))
    with borrow(quantized.module):
        meeting.run(inputs.in_layout(quantized.channels_last))
    meeting.tensors.close()
    return DumpComparison(
        model_name=quantized.plan.trace.model_name,
        images=inputs.batch_size,
        simulation=meeting.own,
        sites=tuple(meeting.sites),
        problems=(*dump.problems, *meeting.tensors.problems),
        beside=tuple(meeting.tensors.beside),
        rounding=meeting.judge.rounding,
        simulated_rounding=meeting.judge.own_rounding,
    )


class _Meeting:
    """Compares each stored tensor with the device's, as the forward comes to it."""

    def __init__(self, quantized: QuantizedModel, tensors: DeviceTensors):
        self.own = quantized.plan.label or "simulation"
        self.versions = {SIXTEEN: _sixteen_bits(quantized), self.own: quantized}
        self.quantized, self.formats, self.tensors = quantized, quantized.formats, tensors
        self.judge = LayerJudge(quantized.plan, self.formats, tensors)
        self.sites: list[DumpedSite] = []

    def run(self, inputs: Inputs) -> None:
        """Every layer beside the device's, and by itself from the device's inputs."""
        lanes = [*self.versions.values(), self.quantized.change(numerics=self._from_the_device)]
        lockstep = Lockstep(self.quantized.in_float(), [lane.interpreter for lane in lanes], self.meet)
        result = lockstep.run(inputs)
        leaves = [tensor for _, tensor in named_leaves(result) if tensor.is_floating_point()]
        own, device = list(self.versions).index(self.own), len(self.versions)
        outputs = [(lockstep.twin(tensor, own), lockstep.twin(tensor, device)) for tensor in leaves]
        shares = output_shares(self.quantized, inputs, self.judge.differences, outputs)
        judged = {str(site): alone.with_output(shares.get(site)) for site, alone in self.judge.judged().items()}
        self.sites = [dataclasses.replace(site, alone=judged[site.agreement.site]) for site in self.sites]

    def _from_the_device(self, formats: Formats) -> DeviceNumerics:
        return DeviceNumerics(self.quantized.numerics(formats), formats, self.tensors.steps, self.judge)

    def meet(self, layer: Layer, reference: Tensor, twins: list[Tensor], _: list[Tensor]) -> None:
        if layer.site not in self.formats.qparams or not reference.numel():
            return
        steps = self.tensors.steps(layer, tuple(reference.shape))
        if steps is None:
            return
        by_lane = dict(zip(self.versions, twins[:-1], strict=True))
        self.sites.append(self._compared(layer, steps, reference, by_lane))
        self.tensors.forget(layer.site)

    def _compared(self, layer: Layer, steps: Array, reference: Tensor, by_lane: Mapping[str, Tensor]) -> DumpedSite:
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, reference)
        device = torch.from_numpy(steps * qparams.tensor_scale).to(reference)
        if factor is not None:
            device = device / factor
        simulated = by_lane[self.own]
        expected = stored_integers(self.formats, layer, simulated).numpy(force=True)
        return DumpedSite(
            agreement=SiteAgreement.of(str(layer.site), str(qparams), distances(steps, expected)),
            file=self.tensors.files[layer.site],
            sqnr_db={name: _sqnr(reference, version) for name, version in {**by_lane, DEVICE: device}.items()},
            to_simulation_db=_sqnr(simulated, device),
        )


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


def _sqnr(reference: Tensor, version: Tensor) -> float:
    sums = MomentSums()
    sums.update(ReferenceSums(reference), version, None)
    moments = sums.moments()
    return sqnr_db(moments.ref2, moments.err2)
