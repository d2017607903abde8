"""Decisions, accuracy and its drop, by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from qdiag.comparison.compare import compare
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.output_leaves import Met
from qdiag.comparison.outputs import OutputSums
from tests.models import IMAGE, ManyOutputs, Small, settle


def logits(decisions: list[int], classes: int = 4) -> Tensor:
    return 5.0 * torch.nn.functional.one_hot(torch.tensor(decisions), classes)


def fold(sums: OutputSums, reference: list[Tensor], versions: list[list[Tensor]], labels: object) -> None:
    names = tuple(f"[{position}]" for position in range(len(reference)))
    met = Met(names, tuple(reference), tuple(map(tuple, versions)))
    sums.update(met, labels, len(reference[0]))


def error(reference: list[int], lane: list[int], labels: object) -> OutputError:
    sums = OutputSums(1)
    fold(sums, [logits(reference)], [[logits(lane)]], labels)
    return sums.error(0)


def test_accuracy_and_drop_by_hand() -> None:
    """Ten images; float has 8 right, of which the lane loses 3; one that float has wrong it has right."""
    labels = torch.zeros(10, dtype=torch.long)
    found = error([0] * 8 + [1, 1], [0] * 5 + [2, 2, 2] + [0, 1], labels)
    assert found.decisions == 10
    assert found.agreement_percent == 60.0
    assert found.top1_percent == 60.0
    assert found.drop_points == pytest.approx(20.0)
    low, high = found.drop_interval or (0.0, 0.0)
    assert low < 0 < 20 < high  # three lost and one won of ten prove nothing


def test_three_images_without_a_changed_decision_leave_much_open() -> None:
    found = error([0, 1, 2], [0, 1, 2], torch.tensor([0, 1, 3]))
    unseen = 100 * (1 - 0.025 ** (1 / 3))  # a flip of this probability is missed three times in 2.5 % of cases
    assert found.drop_points == 0.0
    assert found.drop_interval == pytest.approx((-unseen, unseen))
    assert found.top1_percent == pytest.approx(200 / 3)


def test_batches_add_up() -> None:
    sums = OutputSums(2)
    fold(sums, [logits([0, 1])], [[logits([0, 1])], [logits([0, 0])]], torch.tensor([0, 1]))
    fold(sums, [logits([2])], [[logits([1])], [logits([2])]], torch.tensor([2]))
    assert sums.float_top1_percent == 100.0
    assert [sums.error(lane).top1_percent for lane in range(2)] == pytest.approx([200 / 3, 200 / 3])
    assert [sums.error(lane).agreement_percent for lane in range(2)] == pytest.approx([200 / 3, 200 / 3])


def test_without_labels_there_is_no_accuracy() -> None:
    found = error([0, 1, 2], [0, 1, 1], None)
    assert (found.top1_percent, found.drop_points, found.drop_interval) == (None, None, None)
    assert found.agreement_percent == pytest.approx(200 / 3)
    assert found.task == "values"  # nobody says that these are decisions


def test_labels_in_a_column_are_labels() -> None:
    assert error([0, 1], [0, 1], torch.tensor([[0], [1]])).top1_percent == 100.0


def test_pixels_are_decisions_and_ignored_ones_do_not_count() -> None:
    reference, lane = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    reference[0, 1], lane[0, 1] = 1.0, 1.0  # class 1 everywhere
    lane[0, 2, 0, 0] = 2.0  # but for one pixel
    sums = OutputSums(1)
    fold(sums, [reference], [[lane]], torch.tensor([[[1, 255], [0, 1]]]))
    found = sums.error(0)
    assert found.decisions == 4
    assert found.agreement_percent == 75.0
    assert sums.float_top1_percent == pytest.approx(200 / 3)  # of the three pixels that have a label
    assert found.top1_percent == pytest.approx(100 / 3)


@pytest.mark.parametrize("shape", [(6,), (2, 1), (2, 3, 4), (2, 0)])
def test_outputs_without_classes_give_no_decisions(shape: tuple[int, ...]) -> None:
    sums = OutputSums(1)
    fold(sums, [torch.ones(shape)], [[torch.ones(shape)]], None)
    assert (sums.error(0).decisions, sums.error(0).agreement_percent) == (0, None)


def test_equal_zero_and_lost_outputs() -> None:
    def ratio(reference: Tensor, lane: Tensor) -> tuple[float, float]:
        sums = OutputSums(1)
        fold(sums, [reference], [[lane]], None)
        return sums.error(0).sqnr_db, sums.error(0).relative_error

    ones, zeros = torch.ones(2, 3), torch.zeros(2, 3)
    assert ratio(ones, ones) == (math.inf, 0.0)
    assert ratio(zeros, zeros) == (math.inf, 0.0)
    assert ratio(zeros, ones) == (-math.inf, math.inf)
    assert ratio(ones, 1.1 * ones) == pytest.approx((20.0, 0.1), rel=1e-5)


def test_all_outputs_count_for_the_ratio_and_the_first_decides() -> None:
    sums = OutputSums(1)
    fold(sums, [logits([0, 1]), torch.ones(2)], [[logits([0, 1]), 2 * torch.ones(2)]], None)
    assert sums.error(0).relative_error == pytest.approx(math.sqrt(2 / (2 * 25 + 2)))
    assert sums.error(0).agreement_percent == 100.0


def test_labels_of_a_data_set_are_used() -> None:
    model, images = settle(Small(), torch.randn(IMAGE)), torch.randn(24, 3, 12, 12)
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[:6] = (labels[:6] + 1) % 5
    found = compare(model, TensorDataset(images, labels))
    assert found.float_top1_percent == 75.0
    assert found.outputs["16-bit"].top1_percent == 75.0
    assert found.outputs["16-bit"].drop_points == 0.0


def test_a_model_of_many_outputs() -> None:
    found = compare(ManyOutputs().eval(), torch.randn(IMAGE))
    assert found.outputs["8-bit"].decisions == 4 * 10 * 10  # of the first output, [4, 4, 10, 10]


def test_integers_among_the_outputs_are_left_alone() -> None:
    class Indexed(Small):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            x = super().forward(x)
            return x.argmax(1), x

    found = compare(Indexed().eval(), torch.randn(IMAGE))
    assert found.outputs["8-bit"].decisions == 4
    assert 0 < found.outputs["8-bit"].relative_error < 0.1


def test_no_floating_point_output_at_all() -> None:
    class Classes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Small()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).argmax(1)

    found = compare(Classes().eval(), torch.randn(IMAGE))
    assert found.outputs["8-bit"].decisions == 4  # of what argmax was given
    decided, before = found.outputs["8-bit"].tensors
    assert decided.agreement_percent == 100.0
    assert before.name == "before it is decided"
    assert 20 < (before.worst_sqnr_db or 0.0) < 60
    assert found.layer("net.head").lanes["8-bit"].accumulated["sqnr_db"] is not None
