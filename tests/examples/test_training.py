"""The examples that train run end to end, and go on where they were."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Callable[[list[str]], None]:
    main: Callable[[list[str]], None] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


@pytest.mark.training
def test_a_plain_loop_with_three_lines_more_repairs_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    example("quantization_example.py")(["--epochs", "2"])
    percents = [float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()]
    assert percents[0] > 99
    assert percents[-2] == percents[-1] > 95


@pytest.mark.training
def test_a_classifier_of_digits_is_trained_and_trained_again_in_fixed_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--epochs", "1", "--qat-epochs", "1", "--epoch-size", "0.3", "--output", str(tmp_path)]
    example("train_classification.py")(words)
    shown = capsys.readouterr().out
    assert shown.count("Training of HealthyNet") == 2
    state = (tmp_path / "quantized" / "model.pt").read_bytes()
    example("train_classification.py")(words)
    assert capsys.readouterr().out == shown
    assert (tmp_path / "quantized" / "model.pt").read_bytes() == state


@pytest.mark.training
def test_a_folder_of_images_and_a_model_of_torchvision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = torch.randint(0, 255, (40, 40, 3), dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    words = ["--model", "squeezenet1_1", "--size", "64", "--epochs", "1", "--qat-epochs", "1", "--lr", "1e-3"]
    example("train_classification.py")(["--data", str(tmp_path), *words, "--batch-size", "4", "--workers", "0"])
    assert capsys.readouterr().out.count("Training of SqueezeNet") == 2


@pytest.mark.training
def test_a_folder_of_camvid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for part, values in (("train", 256), ("val", 256), ("trainannot", 12), ("valannot", 12)):
        (tmp_path / part).mkdir()
        for number in range(4):
            shape = (64, 80, 3) if values == 256 else (64, 80)
            pixels = torch.randint(0, values, shape, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / part / f"{number}.png")
    words = ["--epochs", "1", "--qat-epochs", "1", "--batch-size", "4", "--workers", "0", "--crop", "48", "64"]
    example("train_segmentation.py")(["--data", f"camvid:{tmp_path}", *words])
    shown = capsys.readouterr().out
    assert shown.count("Training of DeepLab") == 2
    assert "Mean IoU" in shown
