"""The command line, as a shell sees it: output, files, exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from qdiag.cli.app import app
from qdiag.errors import InputError, OptionError
from qdiag.image_folder import ImageFolder, Preprocessing
from tests.export.test_faces import DIFFERING

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(width, 4, 1)
    def forward(self, x):
        return self.second(self.relu(self.first(x))).mean((2, 3))

def build(width=8):
    torch.manual_seed(0)
    return Net(width)

def clean():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))

def with_data():
    return build(), [torch.randn(2, 3, 12, 12)]

def batches():
    return [torch.randn(2, 3, 12, 12), torch.randn(2, 3, 12, 12)]

def wrong():
    return 42
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(MODEL)
    return str(tmp_path / "net.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images in two classes."""
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = torch.randint(0, 255, (40, 50, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def qdiag(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from qdiag.cli import main; main()", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_demo_ends_in_a_verdict_and_the_path_of_its_report(tmp_path: Path) -> None:
    done = qdiag("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "It is quantization" in done.stdout
    assert "block3.depthwise" in done.stdout
    assert "healthy twin" in done.stdout
    assert str(tmp_path / "qdiag-report.html") in done.stdout
    assert "block3.depthwise" in (tmp_path / "qdiag-report.html").read_text()


def test_the_demo_as_json_is_strict_and_alone_on_standard_output(tmp_path: Path) -> None:
    data = strict(qdiag("demo", "--json", cwd=tmp_path).stdout)
    assert "quantization" in json.dumps(data)


@pytest.mark.parametrize(
    ("function", "options", "code"),
    [("clean", [], 0), ("build", ["--fail-on", "warning"], 1), ("build", ["--fail-on", "never"], 0)],
)
def test_lint_exits_for_ci(model: str, function: str, options: list[str], code: int) -> None:
    done = qdiag("lint", f"{model}:{function}", "--input", "2,3,12,12", *options)
    assert done.returncode == code, done.stderr


def test_lint_takes_rules_and_sites_aside(model: str) -> None:
    words = ["lint", f"{model}:build", "--input", "2,3,12,12", "--json"]
    assert "QD101" in json.dumps(strict(qdiag(*words).stdout)["data"]["findings"])
    for aside in (["--ignore", "QD101"], ["--suppress", "QD101=fir*"]):
        found = strict(qdiag(*words, *aside).stdout)["data"]["findings"]
        assert "QD101" not in json.dumps(found)


def test_compare_writes_the_table_of_layers(model: str, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "layers.csv"
    words = [
        "--images",
        str(folder),
        "--size",
        "16",
        "--resize",
        "16",
        "--csv",
        str(table),
        "--json",
        "--bits",
        "16,8,4",
    ]
    done = qdiag("compare", f"{model}:build", *words)
    assert done.returncode == 0, done.stderr
    assert strict(done.stdout)["data"]["images"] == 6
    header, *rows = table.read_text().splitlines()
    assert "sqnr_db_16bit" in header
    assert "sqnr_db_4bit" in header
    assert [row.split(",")[0] for row in rows] == [":input", "first", "second", ":mean"]


def test_diagnose_takes_data_from_a_function_and_arguments_for_the_model(model: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = qdiag("diagnose", f"{model}:build", "--arg", "width=5", "--data", f"{model}:batches", "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert page.is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lint", "nowhere.py:build", "--input", "1,3,8,8"], "nowhere.py"),
        (["lint", "MODEL:missing", "--input", "1,3,8,8"], "has no 'missing'"),
        (["lint", "MODEL:wrong", "--input", "1,3,8,8"], "gave a int"),
        (["lint", "MODEL", "--input", "1,3,8,8"], "write file.py:function"),
        (["diagnose", "MODEL:build"], "no data"),
        (["diagnose", "MODEL:build", "--images", "nowhere"], "no folder nowhere"),
        (["diagnose", "MODEL:build", "--input", "1,five"], "as 1,3,224,224"),
        (["diagnose", "MODEL:build", "--input", "1,0,9,9"], "write the shape"),
        (["diagnose", "MODEL:build", "--input", "1,7,12,12"], "the model raised RuntimeError"),
        (["rule", "QD999"], "QD999"),
    ],
)
def test_what_cannot_be_used_is_one_clear_message_and_exit_code_2(model: str, words: list[str], says: str) -> None:
    done = qdiag(*(word.replace("MODEL", model) for word in words))
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_explain_prints_a_rule_and_lists_all() -> None:
    assert "BatchNorm" in qdiag("rule", "QD101").stdout
    listing = qdiag("rule").stdout
    assert "QD101" in listing
    assert "QD501" in listing


def test_a_function_may_bring_the_data_along(model: str) -> None:
    done = qdiag("compare", f"{model}:with_data", "--json")
    assert done.returncode == 0, done.stderr
    assert strict(done.stdout)["data"]["images"] == 2


def test_grey_images_have_one_colour(folder: Path) -> None:
    image, _ = ImageFolder(folder, Preprocessing(16, 16, (0.5,), (0.5,)))[0]
    assert image.shape == (1, 16, 16)


def test_a_few_images_are_spread_over_the_classes(folder: Path) -> None:
    assert [label for _, label in ImageFolder(folder, Preprocessing(16, 16), limit=2).items] == [0, 1]


def test_two_sources_of_data_are_refused(model: str) -> None:
    done = qdiag("lint", f"{model}:build", "--input", "1,3,8,8", "--data", f"{model}:batches")
    assert done.returncode == 2
    assert "--data and --input" in done.stderr.replace("\n", " ")


def test_folders_with_classes_with_a_table_and_with_neither(folder: Path) -> None:
    small = Preprocessing(16, 16)
    assert [label for _, label in ImageFolder(folder, small).items] == [0, 0, 0, 1, 1, 1]
    image, label = ImageFolder(folder, small)[5]
    assert image.shape == (3, 16, 16)
    assert label == 1
    assert ImageFolder(folder / "cat", small)[0].shape == (3, 16, 16)
    (folder / "labels.csv").write_text("file,class_index\ndog/1.png,7\n")
    assert ImageFolder(folder, small)[0][1] == 7
    assert len(ImageFolder(folder / "dog", small, limit=2)) == 2


def test_a_broken_image_is_named(folder: Path) -> None:
    (folder / "cat" / "0.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"0\.png"):
        ImageFolder(folder, Preprocessing(16, 16))[0]


def test_normalisation_is_as_stated(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), (255, 0, 51)).save(tmp_path / "one.png")
    image = ImageFolder(tmp_path, Preprocessing(8, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.25)))[0]
    assert image[:, 0, 0].tolist() == pytest.approx([1.0, -1.0, -1.2])


def test_an_interpolation_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    with pytest.raises(OptionError, match="bicubic"):
        ImageFolder(tmp_path, Preprocessing(interpolation="cubic"))


def test_calibrate_saves_what_it_found(model: str, folder: Path, tmp_path: Path) -> None:
    words = ["--images", str(folder), "--size", "16", "--resize", "16", "--method", "advanced"]
    done = qdiag("calibrate", f"{model}:build", *words, "--save", str(tmp_path / "calibrated.pt"))
    assert done.returncode == 0, done.stderr
    assert "bias-correction" in done.stdout
    assert "Agrees with float" in done.stdout
    assert "_extra_state" in torch.load(tmp_path / "calibrated.pt", weights_only=True)


SMALL = ["--size", "16", "--resize", "16", "--method", "simple"]


@pytest.mark.parametrize(("style", "opset"), [("qdq", []), ("clips", ["--opset", "20"])])
def test_export_writes_a_file_and_says_what_is_in_it(
    style: str, opset: list[str], model: str, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    words = ["--images", str(folder), *SMALL, "--style", style, *opset, "--output", str(file), "--json"]
    done = qdiag("export", f"{model}:build", *words)
    assert done.returncode == 0, done.stderr
    data = strict(done.stdout)["data"]
    assert list(data["names"]) == [":input", "first", "second", ":mean"]
    assert (data["style"], data["opset"]) == (style, 20 if opset else 18)
    assert str(file) in done.stderr
    onnx.checker.check_model(file, full_check=True)


def test_repair_writes_the_file_again_and_lists_what_changed(model: str, folder: Path, tmp_path: Path) -> None:
    file, repaired = tmp_path / "model.onnx", tmp_path / "repaired.onnx"
    words = ["--images", str(folder), *SMALL]
    assert qdiag("export", f"{model}:build", *words, "--style", "clips", "--output", str(file)).returncode == 0
    done = qdiag("repair", str(file), *words[:-2], "--method", "best", "--output", str(repaired), "--json")
    assert done.returncode == 0, done.stderr
    data = strict(done.stdout)["data"]
    assert data["path"] == str(repaired)
    changed = {name for name, value in tensors(repaired).items() if not np.array_equal(value, tensors(file)[name])}
    assert {each["name"] for each in data["changes"]} == changed


def tensors(file: Path) -> dict[str, np.ndarray]:
    return {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}


def test_what_calibrate_saved_is_exported_and_verified(model: str, folder: Path, tmp_path: Path) -> None:
    """A bias raised in the saved file arrives in the exported one: nothing was calibrated anew."""
    saved, file = tmp_path / "calibrated.pt", tmp_path / "model.onnx"
    words = [f"{model}:build", "--images", str(folder), *SMALL]
    assert qdiag("calibrate", *words, "--save", str(saved)).returncode == 0
    assert qdiag("export", *words, "--output", str(file)).returncode == 0
    calibrated_anew = bias(file)
    state = torch.load(saved, weights_only=True)
    state["module.first.bias"] += 0.25
    torch.save(state, saved)
    done = qdiag("export", *words, "--load", str(saved), "--output", str(file), "--verify")
    assert done.returncode == 0, done.stderr
    assert "Every stored integer is the same." in done.stdout
    assert bias(file) > calibrated_anew


def bias(file: Path) -> list[int]:
    (held,) = [value for value in onnx.load(file).graph.initializer if value.name == "first.bias"]
    return onnx.numpy_helper.to_array(held).tolist()


@pytest.mark.parametrize("limit", [[], ["--limit", "2"]])
def test_verify_compares_integers_and_exits_for_ci(limit: list[str], model: str, folder: Path) -> None:
    done = qdiag("verify", f"{model}:build", "--images", str(folder), *SMALL, *limit, "--json")
    assert done.returncode == 0, done.stderr
    data = strict(done.stdout)["data"]
    assert data["images"] == (2 if limit else 6)
    assert data["off_by_more"] == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["verify"], ["export", "--verify", "--output", "model.onnx"]])
def test_a_layer_that_computes_other_integers_exits_with_1(
    words: list[str], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"qdiag.cli.commands.{words[0]}.verify_model", lambda *_, **__: DIFFERING)
    done = CliRunner().invoke(app, [*words, f"{model}:with_data", "--method", "simple"])
    assert done.exit_code == 1
    assert "1 of 2 layers compute other integers" in done.stdout


def test_export_target_writes_a_folder_and_compare_dump_reads_one(model: str, folder: Path, tmp_path: Path) -> None:
    words = [f"{model}:build", "--images", str(folder), *SMALL, "--target", "tidl"]
    options = ["--engine-version", "8.6", "--runtime", "import-tool", "--output", str(tmp_path / "out"), "--json"]
    done = qdiag("export-target", *words, *options)
    assert done.returncode == 0, done.stderr
    found = strict(done.stdout)["data"]
    assert found["settings"]["calibrationOption"] == 64
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(found["files"])
    assert str(tmp_path / "out") in done.stderr
    dump = tmp_path / "dump"
    dump.mkdir()
    np.save(dump / "first.npy", np.zeros((1, 8, 14, 14), np.uint8))
    network = str(tmp_path / "out" / "model.onnx")
    done = qdiag("compare-dump", *words, "--dump", str(dump), "--onnx", network, "--json")
    assert done.returncode == 1, done.stderr
    data = strict(done.stdout)["data"]
    assert [site["agreement"]["site"] for site in data["sites"]] == ["first"]
    assert [problem["name"] for problem in data["problems"]] == [":input", "second", ":mean"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export-target", "MODEL:wrong", "--output", "a/b"], "cannot write to the folder a/b"),
        (["export-target", "MODEL:wrong", "--output", "o", "--target", "onnxruntime"], "no engine 'onnxruntime'"),
        (["export-target", "MODEL:wrong", "--output", "o", "--runtime", "onnx"], "tidl has 'onnxruntime'"),
        (["export-target", "MODEL:wrong", "--output", "o", "--engine-version", "7.3"], "runtime='import-tool'"),
        (["export-target", "MODEL:wrong", "--output", "o", "--style", "qdq", "--bits", "16"], "of 8 bits alone"),
        (["compare-dump", "MODEL:wrong", "--dump", "nowhere"], "there is no folder nowhere"),
        (["compare-dump", "MODEL:wrong", "--dump", "."], "no dumped tensor in ."),
        (["compare-dump", "MODEL:wrong"], "--dump"),
    ],
)
def test_what_a_target_cannot_take_is_told_before_the_model_is_built(
    words: list[str], says: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [word.replace("MODEL", model) for word in words])
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export", "MODEL:with_data", "--output", "nowhere/model.onnx"], "cannot write nowhere/model.onnx"),
        (["export", "MODEL:with_data", "--output", "model.onnx", "--opset", "9"], "files are written from 11"),
        (["export", "MODEL:with_data", "--output", "model.onnx", "--bits", "6"], "Use style='clips'"),
        (["export", "MODEL:with_data", "--output", "model.onnx", "--load", "no.pt"], "No file at 'no.pt'"),
        (["export", "MODEL:with_data", "--output", "model.onnx", "--load", "MODEL"], "cannot be read"),
        (["export", "MODEL:with_data", "--output", "model.onnx", "--style", "tflite"], "tflite"),
        (["verify", "MODEL:with_data", "--method", "finest"], "finest"),
        (["verify", "MODEL:build"], "no data"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_message(words: list[str], says: str, model: str, tmp_path: Path) -> None:
    done = qdiag(*(word.replace("MODEL", model) for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.onnx"))


def test_what_is_no_calibration_of_this_model_is_refused(model: str, tmp_path: Path) -> None:
    weights, other = tmp_path / "weights.pt", tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, weights)
    given = ["--data", f"{model}:batches", "--method", "simple"]
    assert qdiag("calibrate", f"{model}:build", "--arg", "width=5", *given, "--save", str(other)).returncode == 0
    for file, says in ((weights, "holds no calibration"), (other, "was saved from another model")):
        done = qdiag("export", f"{model}:build", *given, "--output", str(tmp_path / "m.onnx"), "--load", str(file))
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
