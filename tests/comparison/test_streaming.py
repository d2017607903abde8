"""A comparison reads its data batch by batch: its size shows neither in memory nor in the figures."""

import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.progress import Progress, run
from tests.models import IMAGE, Small, settle


class Endless(Dataset[tuple[Tensor, int]]):
    """As many images as asked for, each made when it is needed."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= self.count:
            raise IndexError
        return torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(index)), index % 5


class Meter(nn.Module):
    """Passes its input on, and notes how many bytes all tensors take at that moment, as far as gc can see them."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        tensors = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
        sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        self.readings.append(sum(sizes.values()))
        return x


def peak_bytes(images: int) -> int:
    meters = [Meter(), Meter()]
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(inplace=True), meters[0]),
        *(nn.Conv2d(16, 16, 3), nn.ReLU(), meters[1], nn.Flatten(), nn.Linear(16 * 20 * 20, 5)),
    ).eval()
    gc.collect()
    gc.freeze()  # what is there already is left out of gc.get_objects(), which is fast then
    compare(net, DataLoader(Endless(images), batch_size=4))
    gc.unfreeze()
    readings = [reading for meter in meters for reading in meter.readings]
    assert len(readings) > images // 4
    return max(readings)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    peak_bytes(8)  # what torch and qdiag keep once and for all
    few, many = peak_bytes(8), peak_bytes(32)
    batch = 4 * 16 * 22 * 22 * 4  # bytes of one stored tensor of a batch, in one lane
    assert few > 3 * batch, "the tensors of a forward are seen"
    assert many < few + batch / 2


# Single precision adds up in another order for other batches: in 8 bit that is far below what is seen.
def figures(comparison: Comparison) -> dict[str, float]:
    """Every number of a comparison that is not infinite, by its place."""
    found: dict[str, Any] = {}
    for layer in comparison.layers:
        for lane, error in layer.lanes.items():
            for kind, metrics in (("accumulated", error.accumulated), ("added", error.added)):
                found |= {f"{layer.site} {lane} {kind} {key}": value for key, value in metrics.items()}
            for key in ("added_noise", "rounding_noise", "weight_noise", "loudness"):
                found[f"{layer.site} {lane} {key}"] = getattr(error, key)
    for lane, output in comparison.outputs.items():
        found |= {f"{lane} {key}": value for key, value in vars(output).items() if isinstance(value, int | float)}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("size", [1, 7, 28])
def test_figures_do_not_depend_on_the_batch_size(size: int) -> None:
    model = settle(Small(), torch.randn(8, 3, 24, 24))
    expected, found = (
        compare(model, DataLoader(Endless(28), batch_size=batch_size), (8,), added_images=28)
        for batch_size in (4, size)
    )
    assert found.images == expected.images == 28
    assert figures(found) == pytest.approx(figures(expected), rel=2e-3, abs=1e-5)


def test_figures_do_not_depend_on_how_many_images_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = settle(Small(), torch.randn(8, 3, 24, 24))
    data = DataLoader(Endless(16), batch_size=8)
    expected = compare(model, data, (8,))
    monkeypatch.setattr("qdiag.quantization.images_at_once.VALUES_AT_ONCE", 3 * 8 * 24 * 24)
    assert figures(compare(model, data, (8,))) == pytest.approx(figures(expected), rel=2e-3, abs=1e-5)


def test_progress_counts_the_batches_of_each_part() -> None:
    found = list(compare.steps(Small().eval(), DataLoader(Endless(12), batch_size=4)))
    parts = [("calibrating", 1), ("calibrating", 2), ("calibrating", 3)]
    parts += [("comparing", 1), ("comparing", 2), ("comparing", 3)]
    assert found == [Progress(label, done, 3) for label, done in parts]


def test_progress_of_a_stream_has_no_end_in_sight() -> None:
    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Any:
            yield from torch.randn(8, 3, 12, 12)

    found = list(compare.steps(Small().eval(), DataLoader(Stream(), batch_size=4)))
    assert {step.total for step in found} == {None}
    assert [step.done for step in found] == [1, 2, 1, 2]


def test_ranges_come_from_the_first_128_images_and_figures_from_all() -> None:
    found = list(compare.steps(Small().eval(), DataLoader(Endless(160), batch_size=32)))
    assert [step.label for step in found] == ["calibrating"] * 4 + ["comparing"] * 5


def test_ranges_come_from_calibration_data_where_there_is_some() -> None:
    model = settle(Small(), torch.randn(IMAGE))
    wide = [100 * torch.randn(4, 3, 24, 24)] * 2
    found = run(compare.steps(model, DataLoader(Endless(8), batch_size=4), calibration_data=wide), lambda _: None)
    assert found.layer(":input").lanes["8-bit"].format == "int8 · 2^2"  # 512 over 2^7
    assert found.images == 8


def test_every_step_is_told_to_a_callback() -> None:
    steps: list[Progress] = []
    compare(Small().eval(), DataLoader(Endless(8), batch_size=4), on_progress=steps.append)
    told: dict[str, list[int]] = {}
    for step in steps:
        told.setdefault(step.label, []).append(step.done)
    assert told == {
        "calibrating": [1, 2],
        "running float": [1, 2],
        "reading images in other ways": list(range(1, 13)),
        "comparing": [1, 2],
    }
