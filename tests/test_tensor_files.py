"""A file that is damaged, cut off or something else is an error of ours, never another result."""

import os
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn

from qdiag.errors import InputError, OptionError
from qdiag.quantization.modules import QuantTestModule
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.weights import load_weights, read_checkpoint
from qdiag.workbench.session import Session
from qdiag.workbench.training_folder import RUN, TrainingFolder
from tests.models import calibrate

STATE = {"weight": torch.arange(12.0), "bias": torch.ones(3), "epoch": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "state.pt", STATE, "")
    return tmp_path / "state.pt"


def test_a_flipped_bit_is_an_error_or_without_effect(file: Path) -> None:
    whole, draw, refused = file.read_bytes(), random.Random(1), 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            found = read_tensors(file, "state")
        except InputError:
            refused += 1
            continue
        assert found.keys() == STATE.keys()
        assert all(torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)) for name, value in STATE.items())
    assert refused > 50


def test_tensors_that_are_said_to_be_folders_are_damage(file: Path) -> None:
    """Torch gives whatever lies in the memory then."""
    with zipfile.ZipFile(file) as archive:
        names = [member.filename for member in archive.infolist() if "/data/" in member.filename]
    whole = file.read_bytes()
    for name in names:
        damaged = bytearray(whole)
        damaged[whole.rindex(name.encode()) - 8] ^= 0x10  # external attributes, in the directory at the file's end
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged"):
            read_tensors(file, "state")


def test_a_flipped_bit_of_a_number_is_said_to_be_damage(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[numbers_at(file) + 5] ^= 1
    file.write_bytes(whole)
    with pytest.raises(InputError, match=r"is damaged: .*data.* does not match its check sum\. Copy .* anew"):
        read_checkpoint(file)


@pytest.mark.parametrize("left", [0, 1, 30, 400, -1, -22, -300])
def test_a_file_that_was_cut_off_is_named(file: Path, left: int) -> None:
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(InputError, match=r"state\.pt"):
        load_weights(nn.Linear(4, 3), file)


MAKE: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "text": lambda path: path.write_text("notes"),
    "a zip of something else": lambda path: zipfile.ZipFile(path, "w").writestr("notes", "text"),
    "no dict": lambda path: torch.save([1, 2], path),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_what_is_no_file_of_tensors_is_named(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "odd.pt")
    with pytest.raises(InputError, match=r"odd\.pt"):
        read_tensors(tmp_path / "odd.pt", "session")


def test_a_file_without_check_sums_is_read_where_its_name_tells_its_contents(tmp_path: Path) -> None:
    plain = tmp_path / "old.pt"
    torch.save({"weight": torch.ones(1, 2)}, plain, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"before version 1\.6 holds no check sums.*save it again with torch\.save"):
        load_weights(nn.Linear(2, 1), plain)
    named = plain.rename(tmp_path / f"old-{sha256(plain.read_bytes()).hexdigest()[:8]}.pth")
    assert load_weights(nn.Linear(2, 1), named).loaded == ("weight",)
    damaged = bytearray(named.read_bytes())
    damaged[-3] ^= 1
    named.write_bytes(damaged)
    with pytest.raises(InputError, match="check sums"):
        load_weights(nn.Linear(2, 1), named)


def flip(path: Path, place: int) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 4
    path.write_bytes(damaged)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def numbers_at(path: Path) -> int:
    """Where the largest tensor's numbers stand."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        return path.read_bytes().index(archive.read(largest))


def test_a_damaged_calibration_is_not_taken_up(tmp_path: Path) -> None:
    file, model = tmp_path / "run.pt", net()
    calibrate(model, IMAGES, method=["gptq"], checkpoint=file)
    flip(file, numbers_at(file))
    with pytest.raises(InputError, match="unreadable-file"):
        calibrate(model, IMAGES, method=["gptq"], checkpoint=file)


def test_a_damaged_state_of_a_calibrated_model_is_not_loaded(tmp_path: Path) -> None:
    quantized = calibrate(net(), IMAGES)
    torch.save(QuantTestModule(net(), IMAGES).state_dict() | quantized.state_dict(), tmp_path / "calibrated.pt")
    flip(tmp_path / "calibrated.pt", numbers_at(tmp_path / "calibrated.pt"))
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(tmp_path / "calibrated.pt")


def test_a_damaged_session_is_not_taken_up(tmp_path: Path) -> None:
    session = Session(net(), [(IMAGES, torch.zeros(8).long())], calibration_data=IMAGES, folder=tmp_path)
    session.calibrate("simple")
    (kept,) = tmp_path.rglob("session.pt")
    later = Session(net(), [(IMAGES, torch.zeros(8).long())], calibration_data=IMAGES, folder=tmp_path)
    whole = kept.read_bytes()
    for place in range(0, len(whole), len(whole) // 7):
        flip(kept, place)
        before = dict(later.history)
        with suppress(InputError, OptionError):  # damaged; or so that it is not listed any more
            later.restore()
            before = dict(later.history)
        assert dict(later.history) == before
        kept.write_bytes(whole)


def test_a_damaged_recipe_of_a_training_run_is_noticed(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text('{"parent": "8-bit", "recipe": {"epochs": 3}, "code": []}')
    with pytest.raises(InputError, match=r"does not match its check sum. Begin another one"):
        TrainingFolder(tmp_path)
