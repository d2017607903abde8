"""What training came to."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qdiag.report.chart import Chart, Series
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Fact, Facts, Report, Text
from qdiag.report.table import Column, Table

Metrics = Mapping[str, float]

_TITLES = {
    "top1_percent": "Top-1",
    "top5_percent": "Top-5",
    "miou_percent": "Mean IoU",
    "pixel_accuracy_percent": "Pixel accuracy",
    "agreement_percent": "Agrees with the teacher",
    "mse": "Squared error",
}


@dataclass(frozen=True)
class Epoch:
    """One epoch. learning_rate: at its end. loss, right_percent: over its images, while they were trained with.

    validation: metrics of the model as it is at the end of the epoch; of a QuantTrainModule in fixed point.
    """

    number: int
    learning_rate: float
    loss: float
    right_percent: float | None
    validation: Metrics

    def values(self) -> dict[str, float]:
        """All of its numbers, by name."""
        right = {} if self.right_percent is None else {"train_right_percent": self.right_percent}
        return {"loss": self.loss, "learning_rate": self.learning_rate, **right, **self.validation}


@dataclass(frozen=True)
class TrainingResult(Displayable):
    """The run's curve, and metrics in float and fixed point before and after (empty without validation data).

    recipe: every field. images: in one epoch. history: by epoch.
    """

    model_name: str
    recipe: Mapping[str, Any]
    images: int
    history: tuple[Epoch, ...]
    before: Mapping[str, Metrics]
    after: Mapping[str, Metrics]

    def report(self) -> Report:
        blocks: list[Block] = [self._facts()]
        blocks += (
            [_versions(self.before, self.after)] if self.after else [Text("No validation data: nothing measured.")]
        )
        if self.history:
            blocks += [*self._curves(), self._epochs()]
        return Report(f"Training of {self.model_name}", tuple(blocks), "training", self._data())

    def _facts(self) -> Facts:
        facts = [Fact("epochs", len(self.history)), Fact("images in each", self.images)]
        if self.history:
            facts.append(Fact("loss at the end", self.history[-1].loss, format=".4g"))
        return Facts(tuple(facts))

    def _curves(self) -> list[Chart]:
        names = tuple(str(epoch.number) for epoch in self.history)
        loss = Series("training", tuple(epoch.loss for epoch in self.history), format=".4g")
        charts = [Chart("line", "Loss", (loss,), names, x_title="Epoch")]
        percents = [
            Series(_TITLES[name], tuple(epoch.validation.get(name) for epoch in self.history), "%", ".1f", True)
            for name in self._metrics()
            if name.endswith("_percent")
        ]
        if self.history[0].right_percent is not None:
            shares = tuple(epoch.right_percent for epoch in self.history)
            percents.append(Series("while training", shares, "%", ".1f", True))
        if percents:
            charts.append(Chart("line", "Accuracy", tuple(percents), names, x_title="Epoch", y_title="%"))
        return charts

    def _epochs(self) -> Table:
        metrics = self._metrics()
        columns = (
            Column("epoch", "Epoch", align="right"),
            Column("learning_rate", "Learning rate", format=".3g", align="right", help="At the end of the epoch."),
            Column("loss", "Loss", format=".4g", align="right"),
            Column("train_right_percent", "Right while training", "%", ".1f", "right"),
            *(_column(name) for name in metrics),
        )
        rows = tuple(
            (e.number, e.learning_rate, e.loss, e.right_percent, *(e.validation.get(name) for name in metrics))
            for e in self.history
        )
        return Table(columns, rows, title="Epochs", key="epochs")

    def _metrics(self) -> tuple[str, ...]:
        return _names(epoch.validation for epoch in self.history)

    def _data(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "recipe": dict(self.recipe),
            "history": [asdict(epoch) for epoch in self.history],
            "before": self.before,
            "after": self.after,
        }


def _versions(before: Mapping[str, Metrics], after: Mapping[str, Metrics]) -> Table:
    metrics = _names([*before.values(), *after.values()])
    columns = [Column("version", "Version")]
    for name in metrics:
        columns += [_column(name, when) for when in ("before", "after")]
    rows = []
    for version in dict.fromkeys([*before, *after]):
        cells = [when.get(version, {}).get(name) for name in metrics for when in (before, after)]
        rows.append((version, *cells))
    return Table(tuple(columns), tuple(rows), title="In float and fixed point", key="versions")


def _names(all_metrics: Iterable[Metrics]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for metrics in all_metrics for name in metrics))


def _column(name: str, when: str = "") -> Column:
    is_percent = name.endswith("_percent")
    title = " ".join(filter(None, (_TITLES[name], when)))
    key = f"{when}_{name}" if when else name
    return Column(key, title, "%" if is_percent else "", ".2f" if is_percent else ".4g", "right")
