"""The parts of a training's report: figures at the end, metrics before and after, and the curves by epoch."""

from collections.abc import Iterable, Mapping, Sequence

from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Fact, Facts
from qdiag.report.table import Column, Table
from qdiag.training.epoch import Epoch, Metrics

_TITLES = {
    "top1_percent": "Top-1",
    "top5_percent": "Top-5",
    "miou_percent": "Mean IoU",
    "pixel_accuracy_percent": "Pixel accuracy",
    "agreement_percent": "Agrees with the teacher",
    "mse": "Squared error",
}


def training_facts(history: Sequence[Epoch], images: int, kept: int) -> Facts:
    """How much was trained. images: in each epoch. kept: the epoch whose weights stay, 0 for those at the beginning."""
    facts = [Fact("epochs", len(history)), Fact("images in each", images)]
    if history:
        facts.append(Fact("loss at the end", history[-1].loss, format=".4g"))
        weights = f"of epoch {kept}" if kept else "those at the beginning: no epoch was better"
        facts.append(Fact("weights kept", weights))
    return Facts(tuple(facts))


def version_table(before: Mapping[str, Metrics], after: Mapping[str, Metrics]) -> Table:
    """Metrics in float and fixed point, before and after."""
    metrics = _names([*before.values(), *after.values()])
    columns = [Column("version", "Version")]
    for name in metrics:
        columns += [_column(name, when) for when in ("before", "after")]
    rows = []
    for version in dict.fromkeys([*before, *after]):
        cells = [when.get(version, {}).get(name) for name in metrics for when in (before, after)]
        rows.append((version, *cells))
    return Table(tuple(columns), tuple(rows), title="In float and fixed point", key="versions")


def loss_chart(history: Sequence[Epoch]) -> Chart:
    """The mean loss of each epoch."""
    loss = Series("training", tuple(epoch.loss for epoch in history), format=".4g")
    return Chart("line", "Loss", (loss,), _numbers(history), x_title="Epoch", key="loss")


def accuracy_chart(history: Sequence[Epoch]) -> Chart | None:
    """Shares by epoch, on validation data and while training; None where nothing was measured."""
    percents = [
        Series(_TITLES[name], tuple(epoch.validation.get(name) for epoch in history), "%", ".1f", True)
        for name in _metrics(history)
        if name.endswith("_percent")
    ]
    if history[0].right_percent is not None:
        percents.append(Series("while training", tuple(epoch.right_percent for epoch in history), "%", ".1f", True))
    if not percents:
        return None
    return Chart("line", "Accuracy", tuple(percents), _numbers(history), x_title="Epoch", y_title="%", key="accuracy")


def epoch_table(history: Sequence[Epoch]) -> Table:
    """One row an epoch."""
    metrics = _metrics(history)
    columns = (
        Column("epoch", "Epoch", align="right"),
        Column("learning_rate", "Learning rate", format=".3g", align="right", help="At the end of the epoch."),
        Column("loss", "Loss", format=".4g", align="right"),
        Column("train_right_percent", "Right while training", "%", ".1f", "right"),
        *(_column(name) for name in metrics),
    )
    rows = tuple(
        (e.number, e.learning_rate, e.loss, e.right_percent, *(e.validation.get(name) for name in metrics))
        for e in history
    )
    return Table(columns, rows, title="Epochs", key="epochs")


def _numbers(history: Sequence[Epoch]) -> tuple[str, ...]:
    return tuple(str(epoch.number) for epoch in history)


def _metrics(history: Sequence[Epoch]) -> tuple[str, ...]:
    return _names(epoch.validation for epoch in history)


def _names(all_metrics: Iterable[Metrics]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for metrics in all_metrics for name in metrics))


def _column(name: str, when: str = "") -> Column:
    is_percent = name.endswith("_percent")
    title = " ".join(filter(None, (_TITLES[name], when)))
    key = f"{when}_{name}" if when else name
    return Column(key, title, "%" if is_percent else "", ".2f" if is_percent else ".4g", "right")
