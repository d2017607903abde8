"""What an engine's importer is given: settings of every version and runtime, ranges, lists of layers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from qdiag.errors import OptionError, SiteNotFound
from qdiag.export.export_target import export_target
from qdiag.export.target_files import TargetExport
from qdiag.numerics.qparams import QParams
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from tests.export.range_message import parse
from tests.models import ZOO, Small, calibrate, settle

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
MIXED = {"conv2": 16, "head": 16, "*": 8}
SCALE = "advanced_options:quantization_scale_type"


def small(**options: Any) -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(Small(), IMAGES), IMAGES, **options)


def exported(folder: Path, bits: Any = 8, per_channel: Any = None, **options: Any) -> TargetExport:
    return export_target(small(bits=bits, per_channel=per_channel), folder / "out", **options)


def settings(found: TargetExport) -> dict[str, Any]:
    return {setting.key: setting.value for setting in found.settings}


def config(found: TargetExport) -> dict[str, Any]:
    """The import tool's file, as its `key = value  # remark` reads."""
    lines = (found.folder / "import_config.txt").read_text().splitlines()
    pairs = (line.partition("  #")[0].split(" = ") for line in lines)
    return {key: json.loads(value) for key, value in pairs}


@pytest.mark.parametrize(("version", "option"), [("7.3", 0), ("8.0", 64), ("8.6", 64), ("9.2", 64), ("11.0", 64)])
def test_the_import_tool_is_told_not_to_calibrate(version: str, option: int, tmp_path: Path) -> None:
    found = config(exported(tmp_path, runtime="import-tool", version=version))
    assert (found["quantizationStyle"], found["calibrationOption"]) == (3, option)
    assert (found["numParamBits"], found["numFeatureBits"]) == (8, 8)
    assert (found["modelType"], found["inputNetFile"]) == (2, "model.onnx")


@pytest.mark.parametrize("runtime", ["onnxruntime", "tflite"])
@pytest.mark.parametrize("version", ["8.0", "9.2"])
def test_the_runtimes_are_told_not_to_calibrate(runtime: str, version: str, tmp_path: Path) -> None:
    found = exported(tmp_path, runtime=runtime, version=version)
    options = json.loads((found.folder / f"{runtime}_options.json").read_text())
    assert options["accuracy_level"] == 0
    assert options[SCALE] == 1
    assert options == settings(found)


def test_tvm_takes_the_advanced_options_as_a_dictionary_of_their_own(tmp_path: Path) -> None:
    found = exported(tmp_path, runtime="tvm", version="8.2")
    options = json.loads((found.folder / "tvm_options.json").read_text())
    assert options == {"tensor_bits": 8, "accuracy_level": 0, "advanced_options": {"quantization_scale_type": 1}}


def test_the_targets_own_calibration_replaces_ours(tmp_path: Path) -> None:
    tool = settings(exported(tmp_path, runtime="import-tool", calibration="target"))
    assert tool["calibrationOption"] == 7
    assert tool["numFrames"] == tool["biasCalibrationIterations"] == 50
    found = exported(tmp_path, calibration="target")
    options = {key.removeprefix("advanced_options:"): value for key, value in settings(found).items()}
    assert options["accuracy_level"] == 1
    assert options["calibration_frames"] == options["calibration_iterations"] == 50
    assert options["activation_clipping"] == options["weight_clipping"] == options["bias_calibration"] == 1
    assert "quant_params_proto_path" not in options
    assert "ranges.prototxt" not in found.files


def test_a_file_of_integers_brings_its_scales(tmp_path: Path) -> None:
    found = exported(tmp_path, style="qdq", version="9.1")
    assert settings(found) == {"tensor_bits": 8, "accuracy_level": 0, "advanced_options:prequantized_model": 1}
    operators = {node.op_type for node in onnx.load(found.exported.path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert "ranges.prototxt" not in found.files


def test_a_range_file_is_written_for_versions_that_read_one(tmp_path: Path) -> None:
    for version, reads in (("9.1", False), ("9.2", True), ("10.0", True)):
        (tmp_path / version).mkdir()
        found = exported(tmp_path / version, version=version)
        assert ("advanced_options:quant_params_proto_path" in settings(found)) == reads
        assert (found.folder / "ranges.prototxt").is_file() == reads


def test_the_folder_holds_just_the_files_it_names_and_a_page_that_explains_them(tmp_path: Path) -> None:
    found = exported(tmp_path)
    assert {path.name for path in found.folder.iterdir()} == set(found.files)
    page = " ".join((found.folder / "README.txt").read_text().split())
    for setting in found.settings:
        assert setting.why
        assert setting.key in page
    assert all(f"{layer.name} " in page and layer.site in page for layer in found.layers)


# Ranges -----------------------------------------------------------------------------------------------


def rule(tensor: Any, bits: int, *, signed: bool | None = None) -> tuple[bool, int]:
    """Of a tensor's min and max: signed, and the exponent of its scale (the least power of two that holds them)."""
    signed = tensor.min < 0 if signed is None else signed
    largest = max(abs(tensor.min), abs(tensor.max))
    top = next(k for k in range(-40, 40) if largest <= math.ldexp(1.0, k))
    return signed, top - (bits - signed)


def check_ranges(found: TargetExport, quantized: QuantizedModel) -> None:
    message = parse((found.folder / "ranges.prototxt").read_text())
    assert message.num_layers == len(message.layers) == sum(bool(layer.kind) for layer in found.layers)
    assert message.quant_type == 1
    stored = dict(zip(found.exported.names.values(), found.exported.names, strict=True))
    by_name = {layer.layer_name: layer for layer in message.layers}
    assert set(stored) <= set(by_name) | set(found.unlisted)
    for name, written in by_name.items():
        site = stored.get(name, next(layer.site for layer in found.layers if layer.name == name))
        expected = quantized.format(site)
        assert expected is not None
        (output,) = written.outputs
        assert rule(output, expected.qtype.bits) == (expected.qtype.signed, expected.exponent), name
        check_tensor(output, expected)
        facts = quantized.interpreter.weight_facts.get(quantized.plan.layer(site).site)
        assert len(written.weights) == (facts is not None and name in stored), name
        if facts is None or name not in stored:
            continue
        assert facts.qparams is not None
        widest = int(torch.as_tensor(facts.qparams.exponent).max())
        assert rule(written.weights[0], facts.qparams.qtype.bits, signed=True) == (True, widest), name
        check_tensor(written.weights[0], facts.qparams)


def check_tensor(tensor: Any, expected: QParams) -> None:
    exponents = torch.as_tensor(expected.exponent).reshape(-1).tolist()
    assert tensor.size == len(tensor.scale) == len(tensor.zero_point) == len(exponents)
    assert [1 / scale for scale in tensor.scale] == [2.0**exponent for exponent in exponents]
    assert not any(tensor.zero_point)
    wide = expected.qtype.bits == 16
    assert (
        tensor.element_type
        == {(False, False): 0, (False, True): 1, (True, False): 2, (True, True): 3}[(wide, expected.qtype.signed)]
    )


@pytest.mark.parametrize("bits", [8, 16, MIXED])
@pytest.mark.parametrize("per_channel", [None, "all"])
def test_min_and_max_give_the_very_formats_of_the_simulation(bits: Any, per_channel: Any, tmp_path: Path) -> None:
    quantized = small(bits=bits, per_channel=per_channel)
    quantized(IMAGES)
    check_ranges(export_target(quantized, tmp_path / "out"), quantized)


CONSTRUCTS = [
    *("ReLU6 over 6", "Conv1d and BatchNorm1d", "one ReLU at two scales", "channels-last LayerNorm"),
    *("grouped transposed convolution", "many outputs", "chunk, split and cat", "gate", "two inputs", "decoder"),
    *("keyword arguments", "the same layer twice", "PReLU and LeakyReLU"),
]


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_ranges_of_a_construct(name: str, tmp_path: Path) -> None:
    inputs = Inputs(*ZOO[name].inputs())
    quantized = calibrate(ZOO[name].model(), inputs)
    quantized(*inputs.args)
    check_ranges(export_target(quantized, tmp_path / "out", inputs), quantized)


def test_bias_values_are_whole_multiples_of_the_accumulators_unit(tmp_path: Path) -> None:
    quantized = small()
    found = export_target(quantized, tmp_path / "out")
    written = {layer.layer_name: layer for layer in parse((found.folder / "ranges.prototxt").read_text()).layers}
    net: Any = quantized.module
    gain = net.bn1.weight / torch.sqrt(net.bn1.running_var + net.bn1.eps)
    merged = (net.bn1.bias - net.bn1.running_mean * gain).detach().double().numpy()
    weight = (net.conv1.weight * gain.reshape(-1, 1, 1, 1)).abs().max().item()
    unit = 2.0 ** (math.ceil(math.log2(IMAGES.abs().max().item())) - 7 + math.ceil(math.log2(weight)) - 7)
    (bias,) = written["conv1"].bias
    values = np.array(bias.value)
    assert bias.size == len(values) == 8
    np.testing.assert_array_equal(values, np.rint(merged / unit) * unit)
    assert (bias.min, bias.max) == (values.min(), values.max())


def test_layers_that_only_move_values_have_the_range_of_what_they_move(tmp_path: Path) -> None:
    found = exported(tmp_path)
    kinds = {layer.name: (layer.kind, layer.site) for layer in found.layers}
    assert kinds["input"] == ("TIDL_DataLayer", ":input")
    assert kinds["conv1"] == ("TIDL_ConvolutionLayer", "conv1")
    assert kinds[":add"] == ("TIDL_EltWiseLayer", ":add")
    assert kinds["pool"] == ("TIDL_PoolingLayer", "pool")
    assert kinds["output"] == ("TIDL_InnerProductLayer", "head")
    (reshape,) = [value for value in kinds.values() if value[0] == "TIDL_ReshapeLayer"]
    assert reshape[1] == "pool"
    assert not found.unlisted


class Activated(nn.Module):
    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation, self.last = nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.conv(x)))


class CumulativeSum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1)


@pytest.mark.parametrize("activation", [nn.GELU(), nn.Hardswish()])
def test_what_a_range_file_cannot_tell_of_is_named(activation: nn.Module, tmp_path: Path) -> None:
    """One is several operators with tensors between them; the target's word for the other is not known."""
    found = export_target(calibrate(Activated(activation), IMAGES), tmp_path / "out", IMAGES)
    tensors = {name for node in onnx.load(found.exported.path).graph.node for name in node.output}
    assert found.unlisted
    assert set(found.unlisted) <= tensors
    listed = {layer.layer_name for layer in parse((found.folder / "ranges.prototxt").read_text()).layers}
    assert not set(found.unlisted) & listed
    assert {"input", "conv", "output"} <= listed
    assert "cannot tell of" in (found.folder / "README.txt").read_text()


def test_what_stays_in_float_is_told(tmp_path: Path) -> None:
    found = export_target(calibrate(Activated(CumulativeSum()), IMAGES), tmp_path / "out", IMAGES)
    assert list(found.floating) == ["activation:cumsum"]
    assert "Operations that stay in float: 1" in (found.folder / "README.txt").read_text()


# 16 bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "key"),
    [
        ("onnxruntime", "advanced_options:output_feature_16bit_names_list"),
        ("import-tool", "outputFeature16bitNamesList"),
    ],
)
def test_layers_of_16_bits_are_listed_by_their_names_in_the_file(runtime: str, key: str, tmp_path: Path) -> None:
    found = exported(tmp_path, bits=MIXED, runtime=runtime)
    assert settings(found)[key] == "conv2,output"
    tensors = {name for node in onnx.load(found.exported.path).graph.node for name in node.output}
    assert set(found.wide) == {"conv2", "output"} <= tensors
    assert found.exported.name("head") == "output"


def test_a_network_of_16_bits_throughout_needs_no_list(tmp_path: Path) -> None:
    found = exported(tmp_path, bits=16)
    assert found.setting("tensor_bits") == 16
    assert not found.wide
    with pytest.raises(SiteNotFound, match="tensor_bits"):
        found.setting("advanced_options:output_feature_16bit_names_list")


def test_weights_alone_in_16_bits_are_a_list_of_their_own(tmp_path: Path) -> None:
    quantized = small()
    layer = quantized.plan.layer("conv2")
    wide = small(bits={"conv2": 16, "*": 8}).plan.layer("conv2").weight
    found = export_target(quantized.change(plan=quantized.plan.change(weight={layer.site: wide})), tmp_path / "out")
    assert settings(found)["advanced_options:params_16bit_names_list"] == "conv2"
    assert not found.wide


# The file ---------------------------------------------------------------------------------------------


def test_the_network_takes_one_image_of_the_given_size(tmp_path: Path) -> None:
    found = exported(tmp_path, data=torch.rand(4, 3, 20, 16))
    shape = onnx.load(found.exported.path).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 3, 20, 16]


def test_what_calibration_made_of_the_weights_is_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    quantized = calibrate(settle(Small(), IMAGES), IMAGES, method=["equalization", "bias-correction"])
    found = export_target(quantized, tmp_path / "out")
    held = {v.name: numpy_helper.to_array(v) for v in onnx.load(found.exported.path).graph.initializer}
    weight = held["conv1.weight"]
    quantized(IMAGES)
    qparams = quantized.interpreter.weight_facts[quantized.plan.layer("conv1").site].qparams
    assert qparams is not None
    assert int(np.ceil(np.log2(np.abs(weight).max()))) == int(qparams.exponent) + 7
    check_ranges(found, quantized)


def test_per_channel_weights_are_set_by_hand(tmp_path: Path) -> None:
    options = settings(exported(tmp_path, per_channel="all"))
    assert options["accuracy_level"] == 9
    assert options["advanced_options:channel_wise_quantization"] == 1
    assert [options[f"advanced_options:{key}"] for key in ("activation_clipping", "weight_clipping")] == [0, 0]
    assert options["advanced_options:bias_calibration"] == 0


@pytest.mark.parametrize(
    ("bits", "per_channel", "options", "says"),
    [
        (8, None, {"target": "tdl"}, "no engine 'tdl'. There are: tidl"),
        (8, None, {"runtime": "onnx"}, "tidl has 'onnxruntime'"),
        (8, None, {"version": "new"}, "write it as '8.6'"),
        (8, None, {"style": "tflite"}, "it is 'qdq' or 'clips'"),
        (8, None, {"calibration": "none"}, "it is 'qdiag' or 'target'"),
        (8, None, {"version": "7.3"}, "give runtime='import-tool'"),
        (8, None, {"style": "qdq", "version": "9.0"}, "from version 9.1 on"),
        (8, None, {"style": "qdq", "runtime": "import-tool"}, "by onnxruntime and tvm"),
        (8, None, {"style": "qdq", "calibration": "target"}, "brings its scales along"),
        (MIXED, None, {"style": "qdq"}, "prequantized files of 8 bits alone"),
        (16, None, {"style": "qdq"}, "prequantized files of 8 bits alone"),
        (8, "all", {"runtime": "import-tool"}, "the weights are per-channel"),
        (8, "all", {"calibration": "target"}, "the weights are per-channel"),
        (6, None, {}, "has 6 bits; the target 8 or 16"),
        ({"conv1": None, "*": 8}, None, {}, "'conv1' stays in float"),
    ],
)
def test_what_the_engine_does_not_take_is_refused_before_anything_is_written(
    bits: Any, per_channel: Any, options: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=says):
        exported(tmp_path, bits, per_channel, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "no" / "such"):
        with pytest.raises(OptionError, match="cannot write to the folder"):
            export_target(small(), place)


def test_a_simulation_of_another_engine_is_warned_of(tmp_path: Path) -> None:
    found = export_target(small(target="onnxruntime"), tmp_path / "out")
    assert "rounds as onnxruntime does" in (found.folder / "README.txt").read_text()
