"""Two processes train to what one trains to."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qdiag.errors import ModelError
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.setup import _check_norms

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from accelerate import PartialState
from torch import nn
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import CLASSES, images, images_and_labels, loader, net

class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = net(), nn.Linear(1, 1)
    def forward(self, x):
        return self.used(x)

folder, loaders, found = Path(sys.argv[1]), (loader(), images_and_labels()), {}
torch.manual_seed(1)
plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, CLASSES))
recipe = Recipe(epochs=4, learning_rate=0.02)
runs = {
    "plain": (plain, replace(recipe, optimizer="sgd")),
    "quantized": (QuantTrainModule(net(), images()), recipe),
    "another seed": (QuantTrainModule(net(), images()), replace(recipe, seed=1)),
    "a head without use": (Unused(), recipe),
}
for name, (model, recipe) in runs.items():
    heard = []
    result = train(model, loaders, recipe, formats=(), output=folder / name, on_progress=heard.append)
    found[name] = {
        "history": [epoch.values() for epoch in result.history], "after": result.after, "heard": len(heard),
        "state": {key: value.tolist() for key, value in [*model.named_parameters(), *model.named_buffers()]},
    }
state = PartialState()
(folder / f"{state.process_index} of {state.num_processes}.json").write_text(json.dumps(found))
state.destroy_process_group()
"""


def trained(folder: Path, *launcher: str) -> None:
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    # asked for processes that share a machine, accelerate takes accelerators for granted
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, *launcher, str(folder / "script.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of one process, and of each of two."""
    folder = tmp_path_factory.mktemp("processes")
    trained(folder / "one")
    options = "--multi_gpu --num_processes=2 --num_machines=1 --mixed_precision=no --dynamo_backend=no"
    trained(folder / "two", "-m", "accelerate.commands.launch", *options.split(), "--main_process_port=0")
    files = [folder / "one" / "0 of 1.json", folder / "two" / "0 of 2.json", folder / "two" / "1 of 2.json"]
    return dict(zip(("one", "first", "second"), (json.loads(file.read_text()) for file in files), strict=True))


@pytest.mark.training
@pytest.mark.parametrize("name", ["plain", "quantized", "a head without use"])
def test_both_processes_end_with_the_same_weights_statistics_ranges_and_figures(
    name: str, found: dict[str, Any]
) -> None:
    first, second = (found[which][name] for which in ("first", "second"))
    assert first["state"] == second["state"]
    assert (first["history"], first["after"]) == (second["history"], second["after"])
    assert (first["heard"] > 0, second["heard"]) == (True, 0)
    assert name != "quantized" or "ranges.extremes" in first["state"]


@pytest.mark.training
def test_ranges_are_of_all_processes_images(found: dict[str, Any]) -> None:
    """What comes in is the same, whoever reads it: so are its extremes."""
    one, two = (found[which]["quantized"]["state"]["ranges.extremes"][0] for which in ("one", "first"))
    assert two == pytest.approx(one, rel=1e-6)


@pytest.mark.training
def test_without_statistics_of_the_batch_it_is_the_same_training(found: dict[str, Any]) -> None:
    one, two = (found[which]["plain"] for which in ("one", "first"))
    for name, values in one["state"].items():
        torch.testing.assert_close(torch.tensor(two["state"][name]), torch.tensor(values), rtol=1e-4, atol=1e-5)
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.training
def test_in_fixed_point_it_is_the_same_within_noise(found: dict[str, Any]) -> None:
    """BatchNorm sees half of each batch; another seed makes a greater difference."""
    one, two = (found[which]["quantized"] for which in ("one", "first"))
    assert two["after"]["8-bit"] == one["after"]["8-bit"] == pytest.approx({"top1_percent": 100})
    assert two["history"][-1]["loss"] == pytest.approx(one["history"][-1]["loss"], abs=0.05)
    assert distance(one, two) < distance(one, found["one"]["another seed"])


def test_norms_over_all_processes_are_refused_in_fixed_point() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SyncBatchNorm(4))
    _check_norms(model)
    with pytest.raises(ModelError, match=r"'module\.1' is a SyncBatchNorm"):
        _check_norms(QuantTrainModule(model, torch.randn(4, 1, 8, 8)))


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Between their weights."""
    names = [name for name in one["state"] if name.endswith("weight")]
    states = [torch.cat([torch.tensor(run["state"][name]).flatten() for name in names]) for run in (one, other)]
    return float((states[0] - states[1]).norm())
