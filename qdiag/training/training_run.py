"""A training run under way: its steps, and the state that they change."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from accelerate.utils import broadcast

from qdiag.errors import ModelError, OptionError
from qdiag.progress import Progress, Steps
from qdiag.quantization.saved_state import reading_state
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.batches import Batch
from qdiag.tracing.forward import forward
from qdiag.training.curve import Curve, Sums
from qdiag.training.deferred_interrupt import interrupt_deferred
from qdiag.training.epoch import Epoch, Metrics
from qdiag.training.evaluation import float_model
from qdiag.training.kept_weights import KeptWeights, better, put_weights, weights_of
from qdiag.training.own_losses import training_inputs
from qdiag.training.seeding import seed_all
from qdiag.training.setup import Setup
from qdiag.training.step_checks import check_gradients, check_loss
from qdiag.training.training_result import TrainingResult

_STEP = 2  # what a seed is for; `image_order` has 0 and 1


class TrainingRun:
    """Model, optimizer, position and history.

    Everything that a step draws at random, and its learning rate, follow from its number: so the state is all that a
    run needs to go on to the same weights.

    is_whole: False in the middle of a step, where weights and position do not belong together.
    Raises ModelError where no parameter is to be trained.
    """

    def __init__(self, setup: Setup):
        model, accelerator = setup.model, setup.accelerator
        learned = model.thresholds if isinstance(model, QuantTrainModule) else None
        thresholds = [] if learned is None else list(learned.parameters())
        apart = {id(threshold) for threshold in thresholds}
        parameters = [one for one in model.parameters() if one.requires_grad and id(one) not in apart]
        if not parameters and not thresholds:
            raise ModelError(
                "no parameter of the model wants a gradient. Let them: model.requires_grad_(True).", code="no-gradient"
            )
        self.setup, self.model, self.accelerator = setup, model, accelerator
        self.objective, self.recipe, self.images, self.share = setup.objective, setup.recipe, setup.images, setup.share
        self.epoch = self.step = 0
        self.curve = Curve()
        self.history: list[Epoch] = []
        self.kept: KeptWeights | None = None
        self.is_whole, self._has_learned = True, False
        optimizer = self.recipe.make_optimizer(parameters, thresholds)
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        # it stays where it lies
        self.parallel, self.optimizer = accelerator.prepare(model, optimizer, device_placement=[False, False])

    def epoch_steps(self) -> Steps[None]:
        """The epoch's steps from here on."""
        count, label = self.images.steps(self.share), f"epoch {self.epoch + 1} of {self.recipe.epochs}"
        if self.step == count:
            return
        for batch in self.images.read(float_model(self.model), self.epoch, self.share, self.step):
            with interrupt_deferred():
                self.is_whole = False
                self._learn(batch)
                self.step += 1
                self.is_whole = True
            yield Progress(label, self.step, count, self.curve.values())

    def end_epoch(self, validation: Metrics) -> None:
        sums = self._of_all(self.curve.read())
        ended = Epoch(
            self.epoch + 1, self.optimizer.param_groups[0]["lr"], sums.mean_loss, sums.right_percent, validation
        )
        with interrupt_deferred():
            self.keep_if_best(self.epoch + 1, validation)
            self.history.append(ended)
            self.epoch, self.step, self.curve = self.epoch + 1, 0, Curve()
        self.accelerator.log(ended.values(), ended.number)

    def keep_if_best(self, epoch: int, validation: Metrics) -> None:
        """Remember the weights as they are now, where no epoch before did better."""
        if self.recipe.keep == "best":
            self.kept = better(self.kept, epoch, validation, self.model)

    def end(self) -> None:
        """The weights to end with: those of the best epoch, where one is kept."""
        if self.kept is not None:
            put_weights(self.model, self.kept.weights)

    def result(self, before: Mapping[str, Metrics], after: Mapping[str, Metrics]) -> TrainingResult:
        name = type(float_model(self.model)).__name__
        images = self.images.steps(self.share) * self.images.batch_images(self.share)
        kept = len(self.history) if self.kept is None else self.kept.epoch
        return TrainingResult(name, self.recipe.facts(), images, tuple(self.history), before, after, kept)

    @torch.no_grad()
    def share_buffers(self) -> None:
        """Statistics of BatchNorm, and ranges, as the first process has them; as each forward in train mode does."""
        for buffer in self.model.buffers():
            broadcast(buffer)

    def _learn(self, batch: Batch) -> None:
        steps = self.images.steps(self.share)
        number, total = self.epoch * steps + self.step, self.recipe.epochs * steps
        self._freeze(number / total)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.recipe.factor((number + 0.5) / total)
        self.parallel.train()
        seed_all(self.recipe.seed, _STEP, number, self.share.process)
        self.optimizer.zero_grad()
        outcome = self.objective(forward(self.parallel, training_inputs(float_model(self.model), batch)), batch)
        check_loss(outcome.loss)
        self.accelerator.backward(outcome.loss)
        if not self._has_learned and self.accelerator.scaler is None:
            check_gradients(float_model(self.model))
        self._has_learned = True
        if self.recipe.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        if self.share.processes > 1 and isinstance(self.model, QuantTrainModule) and not self.model.ranges_frozen:
            self.model.ranges.join()
        self.curve.add(outcome)

    def _freeze(self, done: float) -> None:
        parts = {"freeze_norms": self.recipe.freeze_norms_at, "freeze_ranges": self.recipe.freeze_ranges_at}
        for freeze, part in parts.items():
            if done >= part and hasattr(self.model, freeze):
                getattr(self.model, freeze)()

    def _of_all(self, sums: Sums) -> Sums:
        """Over the images of all processes."""
        if self.share.processes == 1:
            return sums
        every = torch.tensor([list(asdict(sums).values())], device=self.accelerator.device)
        steps, loss, right, decided = self.accelerator.gather(every).sum(0).tolist()
        return Sums(int(steps), loss, int(right), int(decided))

    # State --------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Raises ModelError where a loss since the last look was not finite."""
        curve, scaler = self.curve.state(), self.accelerator.scaler
        return {
            **weights_of(self.model),
            "kept": None if self.kept is None else self.kept.state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "curve": curve,
            "history": [asdict(epoch) for epoch in self.history],
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Raises OptionError for the state of a model with other parts, InputError for one that lacks something."""
        with reading_state():
            self._load(state)

    def _load(self, state: Mapping[str, Any]) -> None:
        try:
            put_weights(self.model, state)
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:  # torch's words for names, shapes and groups that do not fit
            raise OptionError(f"the checkpoint is that of another model: {error}", code="other-model") from error
        self.kept = None if state["kept"] is None else KeptWeights(**state["kept"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.epoch, self.step, self.curve = state["epoch"], state["step"], Curve(state["curve"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
