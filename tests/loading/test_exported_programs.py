"""Exported programs, and the same network in every form."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from qdiag import QuantCalibrateModule, calibrate, compare, export_onnx, load_model, trace
from qdiag.errors import InputError, ModelError, OptionError
from qdiag.loading import reference
from tests.loading.files import node, write
from tests.loading.test_onnx_networks import Small, export


def exported(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(model.eval(), (images,))


def test_a_program_has_the_addresses_of_the_modules_it_was_made_from() -> None:
    model, images = Small().eval(), torch.randn(1, 3, 32, 32)
    sites = list(map(str, trace(load_model(exported(model, images)), images).sites()))
    of_modules = [str(site) for site in trace(model, images).sites() if site.named_by_module]
    assert [site for site in sites if site in of_modules] == of_modules


def test_a_program_takes_any_number_of_images_and_says_where_the_user_wrote_it() -> None:
    model, images = Small().eval(), torch.randn(4, 3, 32, 32)
    loaded = load_model(exported(model, images[:1]))
    assert torch.equal(loaded(images), model(images))
    (add,) = (call for call in trace(loaded, images).calls if call.op == "add")
    assert str(add.source).startswith("loading/test_onnx_networks.py:")


def test_the_same_network_in_every_form_has_the_same_integers(tmp_path: Path) -> None:
    """As module, as ONNX by both exporters, and as .pt2."""
    torch.manual_seed(0)
    model, images = Small().eval(), torch.randn(8, 3, 32, 32)
    program = exported(model, images[:1])
    torch.export.save(program, tmp_path / "net.pt2")
    forms: dict[str, nn.Module] = {
        "module": model,
        "pt2": load_model(tmp_path / "net.pt2"),
        "program": load_model(program),
        "old": load_model(export(model, images[:1], tmp_path / "old.onnx", 13, dynamo=False)),
        "new": load_model(export(model, images[:1], tmp_path / "new.onnx", 18, dynamo=True)),
    }
    made = {name: calibrate(form, images, "simple") for name, form in forms.items()}
    formats = {name: [str(q) for q in quantized.formats.qparams.values()] for name, quantized in made.items()}
    results = {name: quantized(images) for name, quantized in made.items()}
    for name in forms:
        assert formats[name] == formats["module"], name
        assert torch.equal(results[name], results["module"]), name


def test_the_module_of_a_program_is_refused_with_the_way_to_go() -> None:
    images = torch.randn(2, 3, 32, 32)
    program = exported(Small(), images)
    with pytest.raises(ModelError, match=r"qdiag\.load_model\(program\)"):
        compare(program.module(), images)
    loaded = load_model(program.module())
    assert load_model(loaded) is loaded
    assert compare(loaded, images).outputs["16-bit"].sqnr_db > 60


def test_a_scripted_network_is_refused_and_loads_as_the_file_that_the_message_names(tmp_path: Path) -> None:
    model, images = Small().eval(), torch.randn(1, 3, 32, 32)
    with pytest.warns(FutureWarning, match="torch.jit"):
        scripted = torch.jit.trace(model, images)
    with pytest.raises(ModelError, match=r"dynamo=False"):
        load_model(scripted)
    loaded = load_model(export(scripted, images, tmp_path / "net.onnx", 17, dynamo=False))
    with torch.no_grad():
        assert reference.difference(loaded(images), model(images)) < 1e-4


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("nowhere.onnx", InputError, "there is no file"),
        ("weights.safetensors", OptionError, "without the network"),
        ("model.tflite", OptionError, "tf2onnx"),
        (42, OptionError, "is a int"),
    ],
)
def test_what_is_no_network_is_refused(source: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        load_model(source)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "net.onnx", [node("Relu", "x")])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read as an ONNX file"):
        load_model(file)


def test_a_line_of_a_recorded_graph_is_named_after_its_node() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x.relu()

    graph = torch.fx.symbolic_trace(Sum())
    assert [str(call.source) for call in trace(graph, torch.zeros(2, 2)).calls] == ["Sum: relu", "Sum: add"]


@pytest.mark.parametrize("opset", [18, 21])
def test_what_is_written_has_the_first_ir_version_that_has_its_opset(tmp_path: Path, opset: int) -> None:
    """ONNX Runtime 1.14 and 1.15, which TIDL's tools bring along, read IR 8 and 9; and every wrapper is taken."""
    images = torch.randn(2, 3, 32, 32)
    wrapped = QuantCalibrateModule(Small(), images, method="simple").train()
    wrapped(images)
    export_onnx(wrapped.eval(), tmp_path / "net.onnx", images, style="clips", opset=opset)
    assert onnx.load(tmp_path / "net.onnx").ir_version == {18: 8, 21: 10}[opset]
