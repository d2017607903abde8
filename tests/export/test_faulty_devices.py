"""`compare_dump` judges each layer of a device alone: it names the wrong one, however the others round."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qdiag.export.compare_dump import compare_dump
from qdiag.export.device_errors import DumpComparison
from qdiag.export.layer_alone import LayerAlone
from qdiag.quantization.quantized_model import QuantizedModel
from tests.export.faulty_device import FAULTS, NETWORKS, ROUNDS, run_device
from tests.models import calibrate, settle


@functools.cache
def network(name: str, seed: int, bits: int = 8) -> tuple[QuantizedModel, Tensor]:
    torch.manual_seed(seed)
    images = torch.randn(8, 3, 20, 20)
    model = settle(NETWORKS[name][0](), images)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.3)
    return calibrate(model, images, bits), images[:1]


def compared(name: str, seed: int, folder: Path, site: str, fault: str, rounds: str) -> DumpComparison:
    quantized, images = network(name, seed)
    run_device(quantized, images, folder, site, fault, rounds)
    return compare_dump(quantized, images, folder)


def alone(found: DumpComparison, site: str) -> LayerAlone:
    judged = found.site(site).alone
    assert judged is not None
    return judged


def text(found: DumpComparison) -> str:
    """On one line."""
    return " ".join(str(found).split())


def wrong(found: DumpComparison) -> list[str]:
    return [site.agreement.site for site in found.wrong]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_device_that_only_rounds_otherwise_has_no_wrong_layer(name: str, rounds: str, tmp_path: Path) -> None:
    found = compared(name, 0, tmp_path, "", "", rounds)
    assert wrong(found) == []
    if name != "chain" or rounds != "half away from zero":  # after ReLU there is nothing below zero
        assert found.rounding == rounds
    if rounds == "half to even":
        assert found.first_differing is not None
        assert "The device rounds half to even, and the simulation half up." in text(found)


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("name", NETWORKS)
def test_the_wrong_layer_is_named_and_no_other(name: str, seed: int, tmp_path: Path) -> None:
    sites, faults = NETWORKS[name][1], list(FAULTS)
    site, fault = sites[seed % len(sites)], faults[(seed + len(name)) % len(faults)]
    rounds = list(ROUNDS)[(seed + len(name) + seed // 4) % len(ROUNDS)]
    (tmp_path / "right").mkdir()
    run_device(*network(name, seed % 2), tmp_path / "right", rounds=rounds)
    right = np.load(tmp_path / "right" / f"{site}.npy")
    (tmp_path / "dump").mkdir()
    found = compared(name, seed % 2, tmp_path / "dump", site, fault, rounds)
    differing = int((np.load(tmp_path / "dump" / f"{site}.npy") != right).sum())
    if differing < 4:  # the channels with the fault are all zero
        return
    assert wrong(found) == [site]
    assert found.first_differing is found.site(site)
    assert not found.passed
    looks_like = alone(found, site).looks_like
    assert looks_like is not None
    told = {fault, "weights"} if fault in ("channels", "weights") else {fault}
    assert looks_like.kind in told


@pytest.mark.parametrize("seed", range(20))
def test_the_wrong_layer_of_a_device_that_rounds_half_to_even(seed: int, tmp_path: Path) -> None:
    found = compared("residual", seed, tmp_path, "two.0", "channels", "half to even")
    assert wrong(found) == ["two.0"]
    assert found.rounding == "half to even"
    judged = alone(found, "two.0").looks_like
    assert judged is not None
    assert judged.kind == "channels"
    assert "channels 0, 1 hold what belongs to channels 1, 0" in judged.text


def test_two_wrong_layers_are_both_named(tmp_path: Path) -> None:
    quantized, images = network("residual", 1)
    run_device(quantized, images, tmp_path, "one.0", "output shift")
    file = tmp_path / "head.npy"
    np.save(file, np.maximum(np.load(file) - 40, -128))
    found = compare_dump(quantized, images, tmp_path)
    assert wrong(found) == ["one.0", "head"]
    assert "Another layer is wrong too" in text(found)


def test_the_only_fault_makes_all_of_the_outputs_error(tmp_path: Path) -> None:
    found = compared("residual", 2, tmp_path, "one.0", "output shift", "half up")
    assert alone(found, "one.0").output_percent == pytest.approx(100, abs=0.01)
    assert alone(found, "one.0").looks_like is not None
    assert "This alone makes 100 % of the error at the output." in text(found)


def test_roundings_of_ties_have_less_of_the_error_than_the_fault(tmp_path: Path) -> None:
    found = compared("residual", 3, tmp_path, "two.0", "scale", "half to even")
    shares = {site.agreement.site: site.alone.output_percent or 0.0 for site in found.sites if site.alone}
    assert shares.pop("two.0") > 80
    assert max(shares.values()) < 20


def test_one_layer_that_rounds_down_among_others_is_wrong(tmp_path: Path) -> None:
    found = compared("residual", 4, tmp_path, "one.0", "rounding", "half to even")
    assert wrong(found) == ["one.0"]
    judged = alone(found, "one.0").looks_like
    assert judged is not None
    assert judged.text.startswith("rounded down, not half to even")


def test_a_layer_whose_inputs_were_not_dumped_is_judged_with_them(tmp_path: Path) -> None:
    quantized, images = network("chain", 5)
    run_device(quantized, images, tmp_path, "2", "output shift")
    (tmp_path / "2.npy").unlink()
    found = compare_dump(quantized, images, tmp_path)
    assert wrong(found) == ["4"]
    assert alone(found, "4").judged_with == ("2",)
    assert alone(found, "6").judged_with == ()
    assert "computed from our own `2`, not known of the device" in text(found)


def test_sums_in_16_bits_are_no_fault(tmp_path: Path) -> None:
    quantized, images = network("residual", 6, bits=16)
    run_device(quantized, images, tmp_path)
    assert wrong(compare_dump(quantized, images, tmp_path)) == []


def test_a_device_that_is_right_is_not_judged_wrong_on_other_images_but_at_the_input(tmp_path: Path) -> None:
    quantized, images = network("depthwise", 7)
    run_device(quantized, images, tmp_path)
    found = compare_dump(quantized, images.flip(1), tmp_path)
    assert wrong(found) == [":input"]
    judged = alone(found, ":input").looks_like
    assert judged is not None
    assert judged.kind == "channels"
