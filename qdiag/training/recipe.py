"""How a model is trained."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from qdiag.errors import OptionError

OptimizerName = Literal["sgd", "adam", "adamw"]
Schedule = Literal["cosine", "constant"]
Keep = Literal["best", "last"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. As it stands it is made for quantization-aware training from pretrained float weights.

    That wants a small learning rate, about a hundredth of the one that the float weights were trained with: the weights
    are to move by rounding steps, not to be learned anew. `Recipe.from_scratch()` is for a float model without weights.

    Args:
        epochs: Times that the data is gone through.
        epoch_size: The part of the data that is drawn anew for each epoch.
        batch_size: Over all processes together; None for that of the DataLoader, or 64.
        optimizer: "sgd" (momentum 0.9), "adam" or "adamw".
        learning_rate: At its highest.
        weight_decay: On all parameters alike: a layer without it grows channels that need different scales.
        threshold_rate: The learning rate of thresholds, where a QuantTrainModule learns them; they do not decay. It is
            made for Adam.
        schedule: "cosine" falls from the learning rate to 0; "constant" stays.
        warmup: The part of the run in which the rate rises from 0.
        clip_norm: Gradients are scaled down to this norm at most.
        freeze_norms_at: The part of the run after which BatchNorm's statistics stay as they are; for models that have
            them to freeze (QuantTrainModule).
        freeze_ranges_at: The same for the ranges of stored tensors.
        distillation: The part of the loss that comes from the teacher, 0 to 1; None for all of it where there are no
            labels, else nothing.
        temperature: Of the teacher's softmax (Hinton et al., arXiv:1503.02531).
        keep: "best" ends with the weights of the epoch that did best on validation data, those before the first where
            none did better; "last" with the last epoch's, as without such data.
        loss: Takes (outputs, targets) in place of cross-entropy.
        ignore_index: The label that no loss and no metric counts.
        seed: Decides the order of the images, augmentation and dropout, each step's by itself.

    Raises:
        OptionError: For values that cannot be used.

    >>> Recipe(epochs=3, learning_rate=1e-5).optimizer
    'adam'
    """

    epochs: int = 10
    epoch_size: float = 1.0
    batch_size: int | None = None
    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    threshold_rate: float = 1e-2
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    clip_norm: float | None = None
    freeze_norms_at: float = 0.5
    freeze_ranges_at: float = 0.6
    distillation: float | None = None
    temperature: float = 1.0
    keep: Keep = "best"
    loss: Callable[[Any, Any], Tensor] | None = None
    ignore_index: int = -100
    seed: int = 0

    @classmethod
    def from_scratch(cls, epochs: int = 30, learning_rate: float = 0.1, **others: Any) -> "Recipe":
        """For a float model without weights: SGD at a high rate, after a warm-up.

        Args:
            epochs: As for `Recipe`.
            learning_rate: As for `Recipe`.
            **others: As for `Recipe`.
        """
        usual: dict[str, Any] = {"optimizer": "sgd", "weight_decay": 1e-4, "warmup": 0.1}
        return cls(epochs=epochs, learning_rate=learning_rate, **(usual | others))

    def __post_init__(self) -> None:
        self._check("epochs", _is_whole(self.epochs) and self.epochs >= 1, "a whole number, at least 1")
        self._check("epoch_size", 0 < self.epoch_size <= 1, "more than 0, at most 1")
        size = self.batch_size
        self._check("batch_size", size is None or (_is_whole(size) and size >= 1), "a whole number, at least 1")
        self._check("optimizer", self.optimizer in get_args(OptimizerName), " or ".join(get_args(OptimizerName)))
        self._check("learning_rate", 0 < self.learning_rate < math.inf, "more than 0")
        self._check("threshold_rate", 0 < self.threshold_rate < math.inf, "more than 0")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more")
        self._check("schedule", self.schedule in get_args(Schedule), " or ".join(get_args(Schedule)))
        self._check("clip_norm", self.clip_norm is None or self.clip_norm > 0, "more than 0")
        self._check("temperature", self.temperature > 0, "more than 0")
        self._check("distillation", self.distillation is None or 0 <= self.distillation <= 1, "0 to 1")
        self._check("keep", self.keep in get_args(Keep), " or ".join(get_args(Keep)))
        self._check("seed", _is_whole(self.seed) and self.seed >= 0, "a whole number, 0 or more")
        for name in ("warmup", "freeze_norms_at", "freeze_ranges_at"):
            self._check(name, 0 <= getattr(self, name) <= 1, "0 to 1")

    def _check(self, name: str, is_usable: bool, usable: str) -> None:
        if not is_usable:
            raise OptionError(f"{name}={getattr(self, name)!r}: it is {usable}.", code="option-value")

    def make_optimizer(self, parameters: Iterable[nn.Parameter], thresholds: Iterable[nn.Parameter] = ()) -> Optimizer:
        """Over the parameters; thresholds, where there are any, in a group of their own.

        Args:
            parameters: Of the model.
            thresholds: Where formats end, if that is learned.
        """
        rate, decay = self.learning_rate, self.weight_decay
        groups: list[dict[str, Any]] = [{"params": list(parameters)}]
        if learned := list(thresholds):
            groups.append({"params": learned, "lr": self.threshold_rate, "weight_decay": 0.0})
        if self.optimizer == "sgd":
            return SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)
        kind = {"adam": Adam, "adamw": AdamW}[self.optimizer]
        return kind(groups, lr=rate, weight_decay=decay)

    def factor(self, done: float) -> float:
        """Of the learning rate, when so much of the run is done.

        Args:
            done: Part of the run, 0 to 1.

        >>> [round(Recipe(warmup=0.2).factor(done), 2) for done in (0.1, 0.2, 0.6)]
        [0.5, 1.0, 0.5]
        """
        if done < self.warmup:
            return done / self.warmup
        if self.schedule == "constant" or self.warmup == 1:
            return 1.0
        return (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2

    def facts(self) -> dict[str, Any]:
        """Every field in JSON's types; a loss by its name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "loss": None if self.loss is None else getattr(self.loss, "__name__", type(self.loss).__name__)
        }


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
