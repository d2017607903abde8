"""Quantization-aware training in the shape that users of TI's tools know: wrap, train as before, go to eval mode."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.quantization.base_module import QuantBaseModule, without_ranges
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.checks import check_gradients_possible
from qdiag.quantization.interpreter import Interpreter, Rewrite
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.operation import Operation
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.running_ranges import RunningRanges
from qdiag.quantization.thresholds import Thresholds
from qdiag.quantization.training_addresses import TrainingAddresses
from qdiag.quantization.training_numerics import TrainingNumerics
from qdiag.quantization.write_back import write_back
from qdiag.tracing.borrowing import eagerly
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.trace import Trace

SETTLED = 1000
"""Batches that ranges from elsewhere count for: they move no faster than after so many."""


class QuantTrainModule(QuantBaseModule):
    """A model that computes in fixed point while it is trained, in the user's own loop.

        model = QuantTrainModule(model, data)             # the one line that changes
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
        for images, labels in loader:
            loss = criterion(model.train()(images), labels)
            ...
        model.freeze_norms(); model.freeze_ranges()              # for the last epochs
        model.eval()(images)                                     # just what the target computes

    In train mode weights and stored tensors are rounded to their formats and gradients pass straight through (STE,
    arXiv:1308.3432); Conv and BatchNorm are merged on the fly, in one convolution; ranges follow what is seen (PACT2).
    In eval mode it is the simulation that `calibrate` gives, and `quantized` is that model, for `compare`,
    `export_onnx` and `verify`.

    Its `module` is the user's own model, with its own `state_dict` keys; weights load into it before or after wrapping.
    The state_dict is that of QuantTestModule and QuantCalibrateModule: each loads what the others saved.

    Start from pretrained float weights and a small learning rate; better, from what calibration found:
    `QuantTrainModule.from_calibrated(calibrate(model, images))`.

    Args:
        model: In float.
        data: What the model is called with, or a batch of it; or a DataLoader, Dataset or `Subject`, whose first batch
            counts.
        bits: As for `calibrate`.
        per_channel: As for `calibrate`.
        target: As for `calibrate`.

    Raises:
        InputError: For an input that cannot be used.
        ModelError: For a model that cannot be traced or planned.
        OptionError: For options that are not on offer.

    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.rand(16, 3, 6, 6)
    >>> model = QuantTrainModule(net, images)
    >>> model.train()(images).mean().backward()
    >>> net[0].weight.grad.shape, str(model.eval().quantized.format(":input"))
    (torch.Size([4, 3, 1, 1]), 'uint8 · 2^-8')
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        bits: Bits = 8,
        per_channel: PerChannelOption = None,
        *,
        target: str = "tidl",
    ):
        super().__init__(without_ranges(model, data, bits, per_channel, target))
        self._begin()

    @classmethod
    def from_calibrated(cls, quantized: QuantizedModel, *, learn_thresholds: bool = False) -> "QuantTrainModule":
        """Set out from a calibrated model: its formats, its ranges, its channel shifts and its weights.

        Ranges and norms are frozen: calibration chose weights and biases for the running statistics, and normalizing
        by the batch undoes that. `freeze_norms(False)`, `freeze_ranges(False)` let them follow again.
        The weights that calibration found are written into the user's own parameters, which training changes anyway.

        Args:
            quantized: From `calibrate`.
            learn_thresholds: Where formats end is learned too, as powers of two (TQT, arXiv:1903.08066), until
                `freeze_ranges()`. `thresholds` holds these parameters: give them to the optimizer as a group with a
                rate of their own, about 0.01 with Adam.
        """
        self = cls.__new__(cls)
        QuantBaseModule.__init__(self, quantized)
        self._begin()
        self._keep_weight_formats()
        self._write_back()
        if learn_thresholds:
            self.thresholds, self.ranges_frozen = self._new_thresholds(), False
        return self

    how_to_get_ranges = "Train it, or show it a batch in train mode, or load what was saved."

    def _begin(self) -> None:
        check_gradients_possible(self.module)
        self.ranges = RunningRanges([layer.site for layer in self._quantized.plan.layers])
        self.ranges.to(next(iter(self.module.parameters()), torch.empty(0)).device)
        self._addresses = TrainingAddresses(self._quantized.plan)
        self.norms_frozen = self.ranges_frozen = bool(self._quantized.calibration.ranges)
        self._follow_from(self._quantized.calibration, {})
        self.thresholds: Thresholds | None = None

    def _new_thresholds(self) -> Thresholds:
        known, device = self._quantized, next(iter(self.module.parameters()), torch.empty(0)).device
        return Thresholds(known.formats.qparams, known.calibration.weight_clip_exponents, device)

    def _follow_from(self, calibration: Calibration, batches: Mapping[str, int]) -> None:
        for site, known in calibration.ranges.items():
            self.ranges.put(site, known, batches.get(str(site), SETTLED))

    def _keep_weight_formats(self) -> None:
        known = self._quantized.calibration
        if self.thresholds is None and self.ranges_frozen != bool(known.weight_clip_exponents):
            kept = self._quantized.weight_clip_exponents() if self.ranges_frozen else {}
            self.hold(self._quantized.change(calibration=replace(known, weight_clip_exponents=kept)))

    def _write_back(self) -> None:
        if self._quantized.calibration.weights:
            self.hold(self._quantized.change(calibration=write_back(self._quantized)))

    def learned(self, known: Calibration) -> Calibration | None:
        """Ranges as they were followed, or thresholds as they were learned, by now; None where nothing moved.

        Args:
            known: What was known before.
        """
        found = (self.thresholds or self.ranges).updated(known)
        return None if found is known else found

    def freeze_ranges(self, frozen: bool = True) -> "QuantTrainModule":
        """Keep the formats of stored tensors and weights as they are from now on, or let them follow again.

        Weights are then clipped at the ends of their formats: one that grew over a power of two would double the scale
        of its whole tensor.

        Args:
            frozen: False lets them follow again.
        """
        self.ranges_frozen = frozen
        return self

    def freeze_norms(self, frozen: bool = True) -> "QuantTrainModule":
        """Let every BatchNorm normalize by its running statistics and keep them; its gamma and beta still learn.

        From then on training computes what the target will, convolution and BatchNorm merged.

        Args:
            frozen: False lets them normalize by the batch again.
        """
        self.norms_frozen = frozen
        return self

    def in_train_mode(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own result with gradients, rounded as it is trained.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        self._keep_weight_formats()
        self._write_back()
        quantized = self.quantized
        interpreter = self._interpreter(quantized)
        addresses = self._addresses.forward()
        with eagerly():
            run = InterpreterRun(interpreter, addresses)
            result = run.forward(Inputs(*args, **kwargs).in_layout(quantized.channels_last))
        if addresses is not None and not self._addresses.are_known:
            self._addresses.learn(addresses, interpreter.unplanned)
        return result

    def _interpreter(self, quantized: QuantizedModel) -> Interpreter:
        """For one forward in train mode."""
        numerics = TrainingNumerics(
            quantized.formats,
            self._is_by_batch,
            self.ranges,
            ranges_frozen=self.ranges_frozen,
            thresholds=None if self.ranges_frozen else self.thresholds,
        )
        return Interpreter(
            self.module,
            quantized.plan,
            numerics,
            rewrite=_by_running_statistics(quantized.plan.trace) if self.norms_frozen else None,
            channels_last=quantized.channels_last,
            keeps_weights=False,
        )

    def _is_by_batch(self, norm: MergedNorm) -> bool:
        """True where a BatchNorm is to normalize by the batch, and to learn its statistics."""
        if self.norms_frozen or norm.sites[0].op != "batch_norm":
            return False
        return self.module.get_submodule(norm.mean.rpartition(".")[0]).training

    # State --------------------------------------------------------------------------------------------

    def training_state(self) -> dict[str, Any]:
        """Batches that each range has seen, what is frozen, and thresholds where they are learned."""
        counts = {str(site): count for site, count in self.ranges.counts().items()}
        frozen = {"ranges_frozen": self.ranges_frozen, "norms_frozen": self.norms_frozen}
        learned = {} if self.thresholds is None else {"thresholds": self.thresholds.state()}
        return {"batches": counts, **frozen, **learned}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take up what `training_state` gave.

        Args:
            state: Empty where what was saved did not train: then all is frozen.
        """
        self.ranges_frozen = state.get("ranges_frozen", True)
        self.norms_frozen = state.get("norms_frozen", True)
        self._follow_from(self._quantized.calibration, state.get("batches", {}))
        if "thresholds" in state:
            thresholds = self.thresholds = self.thresholds or self._new_thresholds()
            thresholds.load(state["thresholds"])


def _by_running_statistics(trace: Trace) -> Rewrite:
    """Every BatchNorm as in inference: what normalizes by the batch there too does so, as weights are standardized."""
    by_batch = {call.site for call in trace.calls if call.op == "batch_norm" and call.arguments.get("training")}

    def rewrite(operation: Operation) -> Operation:
        if operation.site.op != "batch_norm" or operation.site in by_batch:
            return operation
        has_statistics = operation.arguments.get("running_mean") is not None
        return operation.given(training=False) if has_statistics else operation

    return rewrite
