import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import InputError, ModelError, OptionError
from qdiag.weights import LoadedWeights, ShapeMismatch, load_weights

State = dict[str, Tensor]


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.fixture
def checkpoint() -> State:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()


def assert_holds(model: nn.Module, state: State) -> None:
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_state_dict_that_fits_is_loaded_whole(model: nn.Module, checkpoint: State) -> None:
    result = load_weights(model, checkpoint, strict=True)
    assert result == LoadedWeights(tuple(checkpoint), (), (), ())
    assert result.complete
    assert str(result) == "Loaded 7 of the model's 7 tensors."
    assert_holds(model, checkpoint)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": torch.tensor(0.1)}, "args": argparse.Namespace(lr=0.1)},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["state_dict", "model", "module.", "both wrappers"],
)
@pytest.mark.parametrize("as_file", [False, True], ids=["dict", "file"])
def test_envelopes_and_wrappers_are_looked_through(
    model: nn.Module, checkpoint: State, wrap: Callable[[State], dict[str, object]], as_file: bool, tmp_path: Path
) -> None:
    torch.save(wrap(checkpoint), tmp_path / "weights.pt")
    load_weights(model, tmp_path / "weights.pt" if as_file else wrap(checkpoint), strict=True)
    assert_holds(model, checkpoint)


def test_a_wrapped_model_takes_plain_names(model: nn.Module, checkpoint: State) -> None:
    wrapped = nn.ModuleDict({"module": model})
    result = load_weights(wrapped, checkpoint, strict=True)
    assert result.loaded[0] == "module.0.weight"
    assert_holds(model, checkpoint)


def test_what_does_not_fit_is_listed_and_left_alone(model: nn.Module, checkpoint: State) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del checkpoint["0.bias"]
    checkpoint["0.weight"] = torch.zeros(4, 1, 3, 3)
    checkpoint["head.weight"] = torch.zeros(1)

    result = load_weights(model, checkpoint)

    assert result.missing == ("0.bias",)
    assert result.unexpected == ("head.weight",)
    assert result.mismatched == (ShapeMismatch("0.weight", expected=(2, 1, 3, 3), found=(4, 1, 3, 3)),)
    assert result.loaded == tuple(name for name in model.state_dict() if name.startswith("1."))
    assert str(result).splitlines() == [
        "Loaded 5 of the model's 7 tensors.",
        "Missing, kept as they were: 0.bias",
        "Unexpected, not used: head.weight",
        "Of another shape, kept as they were: 0.weight (model [2, 1, 3, 3], checkpoint [4, 1, 3, 3])",
    ]
    kept = {name: before[name] for name in ("0.weight", "0.bias")}
    assert_holds(model, checkpoint | kept)


def test_strict_refuses_before_it_changes_anything(model: nn.Module, checkpoint: State) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del checkpoint["0.bias"]
    with pytest.raises(ModelError, match=r"(?s)strict=True.*Missing, kept as they were: 0\.bias"):
        load_weights(model, checkpoint, strict=True)
    assert_holds(model, before)


def test_long_lists_are_cut() -> None:
    result = LoadedWeights((), tuple(f"w{i}" for i in range(11)), (), ())
    assert str(result).endswith("w7 and 3 more")


def test_another_models_weights_are_an_error(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"(?s)another model's\?.*Unexpected, not used: fc\.weight"):
        load_weights(model, {"fc.weight": torch.zeros(3)})


@pytest.mark.parametrize("weights", [{}, {"epoch": 3}, {"state_dict": {}}, nn.Linear(1, 1)])
def test_what_holds_no_tensors_is_not_a_checkpoint(model: nn.Module, weights: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="state_dict"):
        load_weights(model, weights)


def test_a_missing_file_is_named(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file at '.*nowhere\.pt'"):
        load_weights(model, tmp_path / "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_a_file_that_is_no_checkpoint_is_named(model: nn.Module, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.pt' cannot be read as a file of tensors"):
        load_weights(model, tmp_path / "broken.pt")


def test_a_pickled_model_is_not_executed(model: nn.Module, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"save it again with torch\.save\(model\.state_dict\(\), path\)"):
        load_weights(model, tmp_path / "whole.pt")
