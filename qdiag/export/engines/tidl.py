"""TI Deep Learning (TIDL): import tool, ONNX Runtime, TFLite and TVM.

Sources, all in TexasInstruments/edgeai-tidl-tools: examples/osrt_python/README.md (options of the runtimes),
docs/tidl_fsg_quantization.md (calibration, mixed precision, prequantized models), docs/tidl_quantParams.md (range
file), setup.sh and docs/supported_ops_rts_versions.md (which ONNX files are read); for models whose ranges were trained
or calibrated outside, docs/pixel2pixel/Quantization.md of TexasInstruments/edgeai-torchvision (import tool until 2.0,
which came with SDK 7.x, and from 8.0 on).
"""

import json
from collections.abc import Iterator, Sequence

from qdiag.errors import OptionError
from qdiag.export.engines.engine import Delivery, Engine, Setting
from qdiag.export.engines.file_versions import FileVersion

FRAMES = 50
ITERATIONS = 50
"""Of the engine's own calibration: what its documents recommend."""

RANGES = "ranges of every layer, in place of measured ones; a path, as seen from where the importer runs"


FILE_VERSIONS = (
    FileVersion((0, 0), "ONNX Runtime 1.7", 13, 7, opset=11),
    FileVersion((9, 1), "ONNX Runtime 1.14", 18, 8, opset=18),
    FileVersion((10, 1), "ONNX Runtime 1.15", 19, 9, opset=18),
)
"""By the onnxruntime_tidl wheel that setup.sh installs at the tags 08_06_00_05 to 09_01_00_00, 09_01_00_01 to
10_00_08_00 and 10_01_00_02 to 11_00_06_00 of edgeai-tidl-tools, and docs/supported_ops_rts_versions.md there: opsets 9
and 11 until 9.0, then 18, then 19. Highest opset and IR version: onnxruntime.ai/docs/reference/compatibility.html, and
ONNX's own releases 1.8, 1.13 and 1.14, which these runtimes are made with (VERSION_TABLE in onnx/helper.py)."""


class TidlEngine(Engine):
    """Settings for power-of-2 scales, by version and runtime."""

    name = "tidl"
    runtimes = ("onnxruntime", "tflite", "tvm", "import-tool")
    default_version = "9.2"
    file_versions = FILE_VERSIONS
    unverified = (
        "Settings and files follow the engine's public documents, and no tool of the engine has read them here. Above "
        "all it looks layers up by name and type together, and calibrates by itself where one is missing: its log "
        "says whether calibration was bypassed. To see the names it looks for, let it write a range file once, by "
        "naming one that does not exist."
    )

    @staticmethod
    def check(delivery: Delivery) -> None:
        is_tool = delivery.runtime == "import-tool"
        if delivery.version < (8, 0) and not is_tool:
            raise OptionError(
                f"TIDL is called from {delivery.runtime} from version 8.0 on. For {_text(delivery.version)} give "
                "runtime='import-tool'.",
                code="engine-version",
            )
        if delivery.style == "qdq":
            _check_qdq(delivery)
        if delivery.is_per_channel and delivery.style == "clips" and (is_tool or delivery.calibration == "target"):
            raise OptionError(
                "the weights are per-channel, and TIDL's documents name a setting for that only for the runtimes, with "
                "ranges from outside. Give runtime='onnxruntime' and calibration='qdiag', or calibrate per-tensor.",
                code="per-channel-unsupported",
            )

    @staticmethod
    def reads_ranges(delivery: Delivery) -> bool:
        return delivery.version >= (9, 2) and delivery.style == "clips" and delivery.calibration == "qdiag"

    @staticmethod
    def settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> tuple[Setting, ...]:
        if delivery.runtime == "import-tool":
            return tuple(_tool_settings(delivery, wide, wide_weights))
        return tuple(_runtime_settings(delivery, wide, wide_weights))

    @staticmethod
    def settings_file(delivery: Delivery, settings: Sequence[Setting]) -> tuple[str, str]:
        if delivery.runtime == "import-tool":
            lines = [f"{s.key} = {_quoted(s.value)}  # {s.why}" for s in settings]
            return "import_config.txt", "\n".join(lines) + "\n"
        options: dict[str, int | str] = {s.key: s.value for s in settings}
        text = json.dumps(_nested(options) if delivery.runtime == "tvm" else options, indent=2)
        return f"{delivery.runtime}_options.json", text + "\n"

    @staticmethod
    def layer_type(op_type: str) -> str:
        return f"TIDL_{LAYER_TYPES[op_type]}Layer" if op_type in LAYER_TYPES else ""


LAYER_TYPES = {
    "Conv": "Convolution",
    "ConvTranspose": "Deconv2D",
    "Gemm": "InnerProduct",
    "MatMul": "InnerProduct",
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool"), "Pooling"),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), "EltWise"),
    **dict.fromkeys(("Slice", "Split"), "Slice"),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), "Squeeze"),
    "Relu": "ReLU",
    "Clip": "CLip",  # so spelled in the engine
    "PRelu": "PReLU",
    "LeakyRelu": "LeakyRelu",
    "Sigmoid": "Sigmoid",
    "HardSigmoid": "HardSigmoid",
    "Tanh": "Tanh",
    "Elu": "ELU",
    "Softmax": "SoftMax",
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "Concat": "Concat",
    "Flatten": "Flatten",
    "Reshape": "Reshape",
    "Transpose": "Transpose",
    "Resize": "Resize",
    "Pad": "Pad",
    "DepthToSpace": "DepthToSpace",
    "Gather": "Gather",
    "ReduceMean": "ReduceMean",
    "data": "Data",
}
"""ONNX operator -> the middle of TIDL's name; "data" is what the network is given."""


def _check_qdq(delivery: Delivery) -> None:
    if delivery.version < (9, 1) or delivery.runtime not in ("onnxruntime", "tvm"):
        raise OptionError(
            f"a file of integers (style='qdq') is read from version 9.1 on, by onnxruntime and tvm; not by "
            f"{delivery.runtime} of {_text(delivery.version)}. Give style='clips'.",
            code="engine-version",
        )
    if delivery.calibration == "target":
        raise OptionError(
            "a file of integers brings its scales along: for the target's calibration give style='clips'.",
            code="options-exclude-each-other",
        )
    if delivery.bits != 8 or delivery.wide or delivery.wide_weights:
        raise OptionError(
            "TIDL takes prequantized files of 8 bits alone. For 16 bits give style='clips'.", code="bits-unsupported"
        )


def _tool_settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> Iterator[Setting]:
    yield Setting("modelType", 2, "an ONNX file")
    yield Setting("inputNetFile", TidlEngine.model_file, "the network")
    yield Setting("numParamBits", delivery.bits, "bits of weights")
    yield Setting("numFeatureBits", delivery.bits, "bits of stored tensors")
    yield Setting("quantizationStyle", 3, "power-of-2 scales")
    if delivery.calibration == "target":
        yield Setting("calibrationOption", 7, "the target's advanced calibration: activations, weights and biases")
        yield Setting("numFrames", FRAMES, "images that it calibrates on, which inData names")
        yield Setting("biasCalibrationIterations", ITERATIONS, "passes over them")
    else:
        option = 0 if delivery.version < (8, 0) else 64
        yield Setting("calibrationOption", option, "no further calibration: weights and ranges are final")
    if TidlEngine.reads_ranges(delivery):
        yield Setting("quantParamsPrototxtFile", TidlEngine.range_file, RANGES)
    if wide:
        yield Setting("outputFeature16bitNamesList", ",".join(wide), "layers kept in 16 bits, weights and output")
    if wide_weights:
        yield Setting("params16bitNamesList", ",".join(wide_weights), "layers whose weights alone have 16 bits")


def _runtime_settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> Iterator[Setting]:
    yield Setting("tensor_bits", delivery.bits, "bits of weights and stored tensors")
    if delivery.style == "qdq":
        yield Setting("accuracy_level", 0, "no further calibration")
        yield _advanced("prequantized_model", 1, "scales come from the file's QuantizeLinear operators")
        return
    if delivery.calibration == "target":
        yield Setting("accuracy_level", 1, "the target's advanced calibration")
        yield _advanced("quantization_scale_type", 1, "power-of-2 scales")
        yield _advanced("calibration_frames", FRAMES, "images that it calibrates on")
        yield _advanced("calibration_iterations", ITERATIONS, "passes over them")
        yield _advanced("activation_clipping", 1, "ranges from histograms; level 1 presets it")
        yield _advanced("weight_clipping", 1, "outliers among weights are clipped; level 1 presets it")
        yield _advanced("bias_calibration", 1, "biases take up mean errors; level 1 presets it")
    elif delivery.is_per_channel:
        yield Setting("accuracy_level", 9, "every step is set by hand, which per-channel weights need")
        yield _advanced("quantization_scale_type", 1, "power-of-2 scales")
        yield _advanced("channel_wise_quantization", 1, "weights with a scale for each output channel")
        yield _advanced("activation_clipping", 0, "ranges are final")
        yield _advanced("weight_clipping", 0, "weights are final")
        yield _advanced("bias_calibration", 0, "biases are final")
    else:
        yield Setting("accuracy_level", 0, "no further calibration: weights and ranges are final")
        yield _advanced("quantization_scale_type", 1, "power-of-2 scales")
    if TidlEngine.reads_ranges(delivery):
        yield _advanced("quant_params_proto_path", TidlEngine.range_file, RANGES)
    if wide:
        yield _advanced("output_feature_16bit_names_list", ",".join(wide), "layers kept in 16 bits, weights and output")
    if wide_weights:
        yield _advanced("params_16bit_names_list", ",".join(wide_weights), "layers whose weights alone have 16 bits")


ADVANCED = "advanced_options"


def _advanced(key: str, value: int | str, why: str) -> Setting:
    return Setting(f"{ADVANCED}:{key}", value, why)


def _nested(options: dict[str, int | str]) -> dict[str, object]:
    """TVM takes the advanced options as a dictionary of their own."""
    plain: dict[str, object] = {key: value for key, value in options.items() if ":" not in key}
    return plain | {ADVANCED: {key.partition(":")[2]: value for key, value in options.items() if ":" in key}}


def _quoted(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
