"""The one door: a user's model and data, looked at once, in the form that every verb takes.

May import: loading, planning and below.
"""

import copy
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, Literal, SupportsFloat, TypeVar

import torch
from torch import nn

from qdiag.errors import InputError, ModelError, OptionError, QdiagError
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.plan import QuantPlan
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.planning.widths import Bits
from qdiag.tracing.batches import Adapt, Batches, batches, first_inputs
from qdiag.tracing.borrowing import borrow, check_module
from qdiag.tracing.fixed_batch import find_fixed_batch
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.trace import Trace
from qdiag.tracing.tracer import trace

CALIBRATION_IMAGES = 128
"""The first so many of the data give the ranges, where there is no calibration data."""


Task = Literal["classification", "segmentation", "detection", "values"]
TASKS: tuple[Task, ...] = ("classification", "segmentation", "detection", "values")
Evaluate = Callable[[nn.Module], SupportsFloat]
"""Takes a model and gives the user's own figure of it, the higher the better."""
T = TypeVar("T")


class Subject:
    """A model and the data that it is judged on. What one look tells of them is found out once, when it is asked for.

        subject = Subject(model, loader)
        compare(subject)              # the same as compare(model, loader)
        diagnose(subject)             # no second trace, and the first batch is not read again

    Args:
        model: Left as it was by every verb.
        data: A DataLoader, a Dataset, a list of batches, or one tensor [N, ...]; with labels where there are any.
        calibration_data: The same without labels, for ranges; the first 128 images of `data` where it is not given.
        task: What the outputs mean; by default what labels that fit say, and without any, values.
        evaluate: The user's own figure of a model, which decides then.
        batch: Makes what the model takes, or a pair (inputs, targets), of each batch of the data: of dicts, say, by
            `batch=lambda batch: (batch["image"], batch["label"])`.

    Raises:
        ModelError: For what is no module, or has no numbers.
        InputError: For data that cannot be read, or only once.
        OptionError: For a task that is none.

    >>> subject = Subject(nn.Conv2d(3, 8, 3), torch.zeros(4, 3, 8, 8))
    >>> subject.trace.sites(), subject.example.describe()
    ((:conv2d,), 'input: float32[2, 3, 8, 8]')
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        calibration_data: Any = None,
        task: Task | None = None,
        evaluate: Evaluate | None = None,
        batch: Adapt | None = None,
    ):
        check_module(model)
        _check_meaning(task, evaluate)
        self.model, self.task, self.evaluate = model, task, evaluate
        self.batch = batch
        self.data = batches(data, model, adapt=batch)
        self.calibration_data = None if calibration_data is None else batches(calibration_data, model, adapt=batch)
        self._look = _Look(model, self.data)

    @classmethod
    def of(
        cls,
        model: "nn.Module | Subject",
        data: Any = None,
        *,
        calibration_data: Any = None,
        task: Task | None = None,
        evaluate: Evaluate | None = None,
        batch: Adapt | None = None,
    ) -> "Subject":
        """What a verb was given: a model and data, or a subject, with other data for it or without.

        Args:
            model: A module, or a subject.
            data: As for `Subject`; None keeps a subject's own. Or a subject of another version of the model, as before
                training.
            calibration_data: As for `Subject`; None keeps a subject's own.
            task: As for `Subject`; None keeps a subject's own.
            evaluate: As for `Subject`; None keeps a subject's own.
            batch: As for `Subject`; None keeps a subject's own.

        Raises:
            InputError: For a model without data, else as for `Subject`.
        """
        if isinstance(model, Subject):
            return model.on(data, calibration_data=calibration_data, task=task, evaluate=evaluate, batch=batch)
        if isinstance(data, Subject):
            other = data.of_module(model)
            return cls.of(other, calibration_data=calibration_data, task=task, evaluate=evaluate, batch=batch)
        if data is None:
            raise InputError(
                "no data was given beside the model. Pass a DataLoader, a list of batches, or a tensor [N, ...].",
                code="no-data",
            )
        return cls(model, data, calibration_data=calibration_data, task=task, evaluate=evaluate, batch=batch)

    @classmethod
    def for_ranges(cls, model: "nn.Module | Subject", data: Any = None) -> "Subject":
        """What a verb was given that looks for ranges: as `of`, but of a subject's own data the part for calibration.

        Args:
            model: As for `of`.
            data: As for `of`.

        Raises:
            InputError: As for `of`.
        """
        if isinstance(data, Subject) or data is None:
            return cls.of(model, data).calibration
        return cls.of(model, data)

    def on(
        self,
        data: Any = None,
        *,
        calibration_data: Any = None,
        task: Task | None = None,
        evaluate: Evaluate | None = None,
        batch: Adapt | None = None,
    ) -> "Subject":
        """The same model, its trace and its plans, on other data or with another meaning; what is None stays.

        Args:
            data: As for `Subject`.
            calibration_data: As for `Subject`.
            task: As for `Subject`.
            evaluate: As for `Subject`.
            batch: As for `Subject`.
        """
        _check_meaning(task, evaluate)
        other = copy.copy(self)
        other.batch = batch or self.batch
        if data is not None:
            other.data = batches(data, self.model, adapt=other.batch)
        if calibration_data is not None:
            other.calibration_data = batches(calibration_data, self.model, adapt=other.batch)
        other.task, other.evaluate = task or self.task, evaluate or self.evaluate
        return other

    def of_module(self, model: nn.Module) -> "Subject":
        """Another model, as this one trained, on the same data with the same meaning; itself for its own model.

        Args:
            model: The other one.
        """
        if model is self.model:
            return self
        calibration_data = None if self.calibration_data is None else self.calibration_data.of(model)
        data = self.data.of(model)
        meaning = {"task": self.task, "evaluate": self.evaluate, "batch": self.batch}
        return Subject(model, data, calibration_data=calibration_data, **meaning)  # type: ignore[arg-type]

    @property
    def calibration(self) -> "Subject":
        """The model on the data that its ranges come from."""
        return self.on(self.data.upto(CALIBRATION_IMAGES) if self.calibration_data is None else self.calibration_data)

    @property
    def example(self) -> Inputs:
        """Two images, or the whole first batch where it cannot be split."""
        return self.data.example

    @property
    def trace(self) -> Trace:
        """One forward of the model, written down."""
        return self._look.trace

    @property
    def prefers_channels_last(self) -> bool:
        """True where the model runs with its images in channels-last layout, in which convolutions are faster.

        Some models cannot, since they call `view` where that layout needs `reshape`.
        """
        return self._look.prefers_channels_last

    def plan(self, bits: Bits = None, per_channel: PerChannelOption = None, target: str = "tidl") -> QuantPlan:
        """Number formats as `plan_quantization` gives them, made once for each set of options.

        Args:
            bits: As for `plan_quantization`.
            per_channel: As for `plan_quantization`.
            target: As for `plan_quantization`.
        """
        return self._look.plan(bits, per_channel, target)

    def once(self, what: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, which depends on the model alone: called once, whatever verbs ask for it.

        Args:
            what: A name for it.
            make: Computes it.
        """
        if what not in self._look.made:
            self._look.made[what] = make()
        found: T = self._look.made[what]
        return found


class _Look:
    """What one look at a model tells, whatever data it is judged on."""

    def __init__(self, model: nn.Module, data: Batches):
        self.model, self.data = model, data
        self.plans: dict[Hashable, QuantPlan] = {}
        self.made: dict[Hashable, Any] = {}

    @cached_property
    def trace(self) -> Trace:
        try:
            return trace(self.model, self.data.example)
        except (ModelError, InputError):
            first = self.data.first
            if not first.counts_images or not find_fixed_batch(self.model, first.inputs.batch_size, self._run):
                raise
        return trace(self.model, self.data.example)

    def _run(self, images: int) -> None:
        inputs = self.data.first.split(images)[0].inputs
        forward(self.model, inputs.map(torch.clone))  # the forward may write to them

    @cached_property
    def prefers_channels_last(self) -> bool:
        inputs = self.data.example.map(torch.clone).in_layout(True)  # the forward may write to them
        with borrow(self.model):
            try:
                forward(self.model, inputs)
            except QdiagError:
                return False
        return True

    def plan(self, bits: Bits, per_channel: PerChannelOption, target: str) -> QuantPlan:
        key = tuple(bits.items()) if isinstance(bits, Mapping) else bits, per_channel, target
        if key not in self.plans:
            self.plans[key] = plan_quantization(self.trace, bits, per_channel, target)
        return self.plans[key]


def first_batch(model: nn.Module, data: "Any | Subject") -> Inputs:
    """What one forward of the model is called with.

    Args:
        model: Whose inputs they are.
        data: A subject, a DataLoader, a Dataset or batches, whose first batch counts; all else as it stands.

    Raises:
        InputError: As for `Subject`.
    """
    return data.data.first.inputs if isinstance(data, Subject) else first_inputs(data, model)


def _check_meaning(task: Any, evaluate: Any) -> None:
    if evaluate is not None and not callable(evaluate):
        raise OptionError(
            f"evaluate is a {type(evaluate).__name__}: it is a function from a model to its figure, the higher the "
            "better.",
            code="option-value",
        )
    if task is not None and task not in TASKS:
        raise OptionError(
            f"task={task!r}: it is one of {', '.join(map(repr, TASKS))}, or None to go by the labels.",
            code="option-value",
        )
