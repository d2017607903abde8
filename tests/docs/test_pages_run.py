"""What the pages tell a reader to run, runs: each page's Python from top to bottom, as one script."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import qdiag
from tests.export.faulty_device import run_device

DOCS = Path(__file__).parents[2] / "docs"
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def run(page: str, names: dict[str, Any]) -> dict[str, Any]:
    """The page's blocks, one after the other, in one namespace."""
    for block in _PYTHON.findall((DOCS / page).read_text(encoding="utf-8")):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages write files where they are run."""
    monkeypatch.chdir(tmp_path)


def test_first_diagnosis(tmp_path: Path) -> None:
    names = run("first_diagnosis.md", {})
    assert names["diagnosis"].verdict.kind == "quantization"
    assert str(names["culprit"].layer.site) == "block3.depthwise"
    assert (tmp_path / "report.html").is_file()
    assert names["after"].outputs["best"].drop_points < 1 < names["after"].outputs["simple"].drop_points


@pytest.mark.training
def test_from_16_bit_to_the_target(tmp_path: Path) -> None:
    names = run("workflow.md", {})
    assert names["lint"].exit_code == 1
    assert names["after"].outputs["best"].drop_points < 2
    assert names["verification"].equal == names["verification"].values > 0
    assert {path.name for path in (tmp_path / "for_tidl").iterdir()} == set(names["exported"].files)


@pytest.mark.parametrize("kind", ["classifier", "segmenter", "detector"])
def test_a_model_of_each_kind(kind: str) -> None:
    diagnosis = run(f"models/{kind}.md", {}).get("diagnosis")
    assert kind == "segmenter" or diagnosis is not None


def test_what_to_put_in() -> None:
    demo = qdiag.load_demo("healthy")
    images = next(iter(demo.calibration_loader))[0]
    given = {"model": demo.model, "loader": demo.loader, "optimizer": demo.optimizer, "images": images}
    assert run("models/index.md", given)["subject"].task == "classification"


def test_export() -> None:
    class Net(torch.nn.Module):
        """With a layer at the address that the page names."""

        def __init__(self) -> None:
            super().__init__()
            self.layer1 = torch.nn.ModuleList([torch.nn.Module()])
            self.layer1[0].conv1 = torch.nn.Conv2d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer1[0].conv1(x)  # type: ignore[operator]

    images = torch.rand(16, 3, 8, 8)
    quantized = qdiag.calibrate(Net().eval(), images, "simple")
    Path("traces").mkdir()
    torch.save({}, "traces/nothing.pt")
    page = (DOCS / "export.md").read_text(encoding="utf-8")
    first, repair, second, third = _PYTHON.findall(page)
    names: dict[str, Any] = {"quantized": quantized, "images": images}
    exec(compile(first, "export.md", "exec"), names)
    assert names["exported"].name("layer1.0.conv1") == "layer1.0.conv1 int8"
    torch.onnx.export(Net().eval(), (images[:1],), "model.onnx", verbose=False)
    exec(compile(repair, "export.md", "exec"), {"images": images})
    assert Path("repaired.onnx").is_file()
    with pytest.raises(qdiag.InputError) as refused:  # no device has run here
        exec(compile(second, "export.md", "exec"), names)
    assert refused.value.code == "no-dump"
    assert Path("for_tidl/ranges.prototxt").is_file()
    Path("traces/nothing.pt").unlink()
    run_device(quantized, images[:1], Path("traces"), "layer1.0.conv1", "output shift", "half to even")
    exec(compile(third, "export.md", "exec"), names)
    assert [dumped.agreement.site for dumped in names["found"].wrong] == ["layer1.0.conv1"]
