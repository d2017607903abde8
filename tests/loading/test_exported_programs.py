"""Exported programs, and the same network in every form."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag import Diagnosis, QuantCalibrateModule, calibrate, compare, explain, export_onnx, load_model, trace
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


class Branches(nn.Module):
    """SiLU behind a depthwise convolution, and a concatenation, as in a detector's neck."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.head = nn.Conv2d(16, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        joined = torch.cat([self.deep(x), x], 1)
        return F.interpolate(self.head(joined), scale_factor=2.0).mean((2, 3))


def forms(model: nn.Module, images: Tensor, folder: Path) -> dict[str, nn.Module]:
    """As module, as exported program, from its file, and as ONNX by both exporters."""
    program = exported(model, images)
    torch.export.save(program, folder / "net.pt2")
    return {
        "module": model,
        "pt2": load_model(folder / "net.pt2"),
        "program": load_model(program),
        "old": load_model(export(model, images, folder / "old.onnx", 13, dynamo=False)),
        "new": load_model(export(model, images, folder / "new.onnx", 18, dynamo=True)),
    }


def mobilenet_v2() -> nn.Module:
    """torchvision's, with blocks for two stages alone."""
    return torchvision.models.MobileNetV2(
        width_mult=0.5, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]], num_classes=10
    )


NETWORKS = {"branches": Branches, "torchvision": mobilenet_v2}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network_in_every_form_has_the_same_integers_and_the_same_verdict(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, images = NETWORKS[name]().eval(), torch.randn(8, 3, 32, 32)
    made = forms(model, images[:1], tmp_path)
    quantized = {form: calibrate(one, images, "simple") for form, one in made.items()}
    formats = {form: [str(q) for q in one.formats.qparams.values()] for form, one in quantized.items()}
    results = {form: one(images) for form, one in quantized.items()}
    diagnoses = {
        form: explain(compare(one, images, quantized={"8-bit": quantized[form]})) for form, one in made.items()
    }
    places = {form: places_of_culprits(diagnosis) for form, diagnosis in diagnoses.items()}
    for form in made:
        assert formats[form] == formats["module"], form
        assert torch.equal(results[form], results["module"]), form
        assert diagnoses[form].verdict.kind == diagnoses["module"].verdict.kind, form
        assert places[form] == places["module"], form


def places_of_culprits(diagnosis: Diagnosis) -> list[int]:
    """Which layers are to blame, by their place in the network: addresses are each form's own."""
    sites = [layer.site for layer in diagnosis.comparison.layers]
    return [sites.index(culprit.layer.site) for culprit in diagnosis.culprits]


class Mixing(nn.Module):
    """Counts its images in a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.stem = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        mixed: Tensor = self.attention(tokens, tokens, tokens)[0]
        return mixed


def test_a_program_of_a_fixed_number_of_images_says_so_at_the_door() -> None:
    images = torch.randn(4, 3, 8, 8)
    with pytest.raises(ModelError, match=r"holds that number, at '.*': 4\. Export it for one image, or for any number"):
        load_model(exported(Mixing(), images))
    dynamic = torch.export.export(Mixing().eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    assert load_model(dynamic)(images[:3]).shape == (3, 4, 8)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.steps(x.flatten(2).transpose(1, 2))[0]
        return result


@pytest.mark.filterwarnings("ignore:The tensor attributes")
def test_a_recurrent_program_is_refused_before_it_runs() -> None:
    """torch's kernel writes beyond its memory where the state is of fewer images."""
    with pytest.raises(ModelError, match=r"'lstm' \(aten\.lstm\.input\), a recurrent layer"):
        load_model(exported(Recurrent(), torch.randn(4, 3, 8, 8)))


def test_a_program_in_half_precision_is_read_in_float32() -> None:
    images = torch.randn(2, 3, 32, 32)
    loaded = load_model(exported(Branches().half(), images.half()))
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert compare(loaded, images).outputs["16-bit"].sqnr_db > 60


def test_a_file_of_weights_is_no_program(tmp_path: Path) -> None:
    torch.save(Branches().state_dict(), tmp_path / "net.pt2")
    with pytest.raises(InputError, match=r"file of weights does not hold the network"):
        load_model(tmp_path / "net.pt2")


def test_an_empty_file_holds_no_network(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="it holds no network"):
        load_model(tmp_path / "net.onnx")


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
