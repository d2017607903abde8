"""docs/speed.md: the newest figures as a table, and all of them over commits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.works import NETWORKS

Record = Mapping[str, Any]

WORKS = {
    "compare": "`compare`, formats given, errors as they accumulate",
    "compare_added": "the same, and what each layer adds (16 images)",
    "compare_plain": "`compare(model, images)`",
    "simple": '`calibrate(model, images, "simple")`',
    "forward": "forward of a quantized model",
    "lint": "`lint_model`",
    "fast_sensitivity": "`sensitivity`, fast, in all",
    "exact_sensitivity_layer": "`sensitivity`, exact, a layer",
    "training_step": "training step of `QuantTrainModule`, to one of the model's own",
    "memory": "peak memory of `compare(model, images)`",
}
HEAD = """# Speed

What qdiag costs, as a ratio to the model's own eager forward of the same images: processor time, one thread, the median
of rounds in which both take turns in one process. Peak memory is that of processes of their own, above what they hold
with the model and its images. Weights are random, which cost the same. 32 images of 224 x 224 in one batch, but for
EdgeNeXt (4 of 64 x 64) and ResNet-18 (128 of 32 x 32), where Python is most of it. Written by `make bench`.
"""
PLOT = "![the same as lines](assets/speed.svg)\n"
PLOTTED = ("compare", "compare_added", "compare_plain", "forward")


def page(history: Sequence[Record]) -> str:
    """Markdown of the newest record, and of the first network's figures over commits."""
    newest = history[-1]
    names = [network.name for network in NETWORKS if network.name in newest["networks"]]
    head = ["", *(name.rpartition("/")[2] for name in names)]
    rows = [[title, *(_cell(newest["networks"][name], work) for name in names)] for work, title in WORKS.items()]
    where = f"Commit {newest['commit']}, {newest['date']}, {newest['machine']}.\n"
    before = [
        [one["commit"], one["date"], *(_cell(one["networks"].get(names[0], {}), work) for work in PLOTTED)]
        for one in history
    ]
    past = table(["commit", "date", *PLOTTED], before)
    return "\n".join([HEAD, where, table(head, rows), f"## {head[1]} over commits\n", past, PLOT])


def _cell(found: Mapping[str, Any], work: str) -> str:
    value = found.get(work)
    return "–" if value is None else f"{value if work == 'memory' else value['processor']:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def plot(history: Sequence[Record], path: Path) -> None:
    """The first network's figures, a point for each commit."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3))
    name = NETWORKS[0].name
    known = [one for one in history if name in one["networks"]]
    for work in PLOTTED:
        axes.plot([one["networks"][name][work]["processor"] for one in known], marker="o", label=work)
    axes.set_xticks(range(len(known)), [one["commit"] for one in known], rotation=45)
    axes.set(ylabel="forwards", ylim=(0, None), title=name)
    axes.legend()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
