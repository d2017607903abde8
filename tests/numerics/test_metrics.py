"""Every metric from running sums equals its direct formula over all data at once."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from qdiag.numerics.metrics.metric import METRICS, FormatFacts
from qdiag.numerics.moments import Moments, MomentSums, ReferenceSums

ENDS = (-1.5, 1.25)
FACTS = FormatFacts(*ENDS, signed=True)


def streamed(refs: list[Tensor], tests: list[Tensor], ends: tuple[float, float] | None = ENDS) -> Moments:
    sums = MomentSums()
    for ref, test in zip(refs, tests, strict=True):
        sums.update(ReferenceSums(ref), test, ends)
    return sums.moments()


def direct(ref: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """The textbook's formulas, in NumPy and double precision."""
    error = test - ref
    return {
        "sqnr_db": 10 * np.log10((ref**2).sum() / (error**2).sum()),
        "relative_error": np.linalg.norm(error) / np.linalg.norm(ref),
        "cosine": (ref @ test) / (np.linalg.norm(ref) * np.linalg.norm(test)),
        "max_error": np.abs(error).max(),
        "mean_shift": error.mean() / ref.std(),
        "clipped_percent": 100 * ((ref < ENDS[0]) | (ref > ENDS[1])).mean(),
        "wasted_bits": max(0.0, math.log2(1.5 / np.abs(ref).max())),
    }


@pytest.mark.parametrize("noise", [1e-4, 0.03, 1.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_metrics_over_batches_equal_direct_formulas(noise: float, layout: torch.memory_format) -> None:
    shapes = [(4, 3, 8, 8), (1, 3, 5, 9), (2, 3, 8, 8)]
    refs = [torch.randn(shape).contiguous(memory_format=layout) + 0.3 for shape in shapes]
    tests = [ref + noise * (torch.randn_like(ref) + 0.5) for ref in refs]
    moments = streamed(refs, tests)
    expected = direct(*(torch.cat([x.flatten() for x in xs]).double().numpy() for xs in (refs, tests)))
    assert {metric.key for metric in METRICS} == set(expected)
    for metric in METRICS:
        tolerance = 1e-6 if metric.key == "cosine" else 1e-4
        assert metric.compute(moments, FACTS) == pytest.approx(expected[metric.key], rel=tolerance), metric.key


def test_layouts_of_reference_and_test_may_differ() -> None:
    ref = torch.randn(2, 3, 4, 5)
    test = (ref + 0.1).contiguous(memory_format=torch.channels_last)
    for a, b in ((ref, test), (test, ref), (ref.transpose(1, 3), test.transpose(1, 3)), (ref[:, 1:], test[:, 1:])):
        moments = streamed([a], [b])
        assert moments.max_error == pytest.approx(0.1, rel=1e-5)
        assert moments.err2 == pytest.approx(0.01 * a.numel(), rel=1e-4)


def test_batches_are_summed_in_double_precision() -> None:
    """A million batches of a small error would be lost beside a large sum in single precision."""
    sums = MomentSums()
    large, small = torch.full((4,), 1e4), torch.full((4,), 1e-1)
    sums.update(ReferenceSums(large), large, None)
    for _ in range(1000):
        sums.update(ReferenceSums(small), small + 1, None)
    moments = sums.moments()
    assert moments.ref2 == pytest.approx(4e8 + 1000 * 4e-2, rel=1e-12)
    assert moments.err2 == pytest.approx(4000, rel=1e-6)


KEYS = {metric.key: metric for metric in METRICS}


def of(ref: list[float], test: list[float], facts: FormatFacts | None = FACTS) -> dict[str, float | None]:
    moments = streamed([torch.tensor(ref)], [torch.tensor(test)])
    return {key: metric.compute(moments, facts) for key, metric in KEYS.items()}


def test_equal_tensors() -> None:
    found = of([1.0, -1.0], [1.0, -1.0])
    assert found["sqnr_db"] == math.inf
    assert (found["relative_error"], found["max_error"], found["mean_shift"]) == (0.0, 0.0, 0.0)
    assert found["cosine"] == pytest.approx(1.0)


def test_a_reference_of_zeros() -> None:
    found = of([0.0, 0.0], [1.0, 0.0])
    assert (found["sqnr_db"], found["relative_error"], found["cosine"]) == (-math.inf, math.inf, 0.0)
    assert found["wasted_bits"] is None
    both = of([0.0, 0.0], [0.0, 0.0])
    assert (both["sqnr_db"], both["relative_error"], both["cosine"]) == (math.inf, 0.0, 1.0)


def test_a_test_of_zeros_is_as_far_away_as_the_reference_is_long() -> None:
    found = of([3.0, 4.0], [0.0, 0.0])
    assert (found["relative_error"], found["sqnr_db"], found["cosine"]) == (1.0, 0.0, 0.0)


def test_opposite_tensors() -> None:
    assert of([1.0, 2.0], [-1.0, -2.0])["cosine"] == pytest.approx(-1.0)


def test_20_db_are_a_tenth() -> None:
    found = of([10.0, 0.0], [10.0, 1.0])
    assert found["sqnr_db"] == pytest.approx(20.0)
    assert found["relative_error"] == pytest.approx(0.1)


def test_mean_shift_has_a_sign_and_counts_in_standard_deviations() -> None:
    assert of([1.0, -1.0], [0.5, -1.5])["mean_shift"] == pytest.approx(-0.5)
    assert of([2.0, 2.0], [2.5, 2.5])["mean_shift"] == math.inf
    assert of([2.0, 2.0], [1.5, 1.5])["mean_shift"] == -math.inf


def test_clipped_values_are_those_outside_the_ends() -> None:
    moments = streamed([torch.tensor([-1.5, -1.51, 1.25, 1.26, 0.0])], [torch.zeros(5)])
    assert moments.clipped == 2
    assert KEYS["clipped_percent"].compute(moments, FACTS) == pytest.approx(40.0)
    assert KEYS["clipped_percent"].compute(moments, None) is None


def test_wasted_bits() -> None:
    unsigned, signed = FormatFacts(0.0, 8.0, signed=False), FormatFacts(-8.0, 8.0, signed=True)
    assert of([0.0, 8.0], [0.0, 8.0], unsigned)["wasted_bits"] == 0.0
    assert of([0.0, 1.0], [0.0, 1.0], unsigned)["wasted_bits"] == 3.0
    assert of([0.0, 1.0], [0.0, 1.0], signed)["wasted_bits"] == 4.0  # the sign is not used either
    assert of([-1.0, 1.0], [-1.0, 1.0], signed)["wasted_bits"] == 3.0
    assert of([-16.0, 1.0], [-8.0, 1.0], signed)["wasted_bits"] == 0.0
    assert of([-1.0, 1.0], [-1.0, 1.0], None)["wasted_bits"] is None


def test_nothing_seen() -> None:
    assert MomentSums().moments() == Moments(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS:
        assert metric.title
        assert metric.help
        assert format(1.0, metric.format)
