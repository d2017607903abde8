"""One forward of a quantized model, recorded as an ONNX graph."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from qdiag.errors import InputError, ModelError
from qdiag.export.constant_tensors import ConstantTensors
from qdiag.export.constants import layer_constants
from qdiag.export.naming import drop_remarks, name_batch, name_tensors
from qdiag.export.network import Network
from qdiag.export.operators import in_one_operator
from qdiag.export.request import OPSET
from qdiag.export.styles import STYLES, Style
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import first_batch
from qdiag.tracing.batches import Batch
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.fixed_batch import fixed_batch
from qdiag.tracing.inputs import Inputs


@dataclass(frozen=True)
class Recording:
    """A graph in memory, its tensors under names that a reader knows.

    inputs, outputs: names in the graph. sites: the tensor that holds each stored one, by address. is_dynamic: whether
    it takes any number of images.
    """

    program: torch.onnx.ONNXProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sites: dict[str, str]
    is_dynamic: bool

    @property
    def model(self) -> Any:
        """The onnx_ir model."""
        return self.program.model

    @property
    def bytes_of_weights(self) -> int:
        """What the file takes, but for a little."""
        held = (value.const_value for value in self.model.graph.initializers.values())
        return sum(value.nbytes for value in held if value)


def record(quantized: QuantizedModel, inputs: Inputs, style: Style, opset: int, *, dynamic_batch: bool) -> Recording:
    """The forward as ONNX operators, in this opset or the oldest that torch writes.

    Raises ModelError for a model that no file can hold.
    """
    with borrow(quantized.module), warnings.catch_warnings():
        # Attributes that a forward sets are put back by `borrow`.
        warnings.filterwarnings("ignore", message="The tensor attribute")
        network = _network(quantized, inputs, style)
        program = _captured(network, inputs, dynamic_batch)
        names = tuple(name for name, _ in inputs.tensors())
        outputs = tuple(f"output{name}" for name, _ in quantized.plan.trace.outputs)
        written = _translated(program, names, outputs, max(opset, OPSET))
    sites = name_tensors(written.model, network.tensors.names)
    is_dynamic = name_batch(written.model)
    drop_remarks(written.model)
    return Recording(written, names, outputs, sites, is_dynamic)


def recorded_inputs(quantized: QuantizedModel, data: Any, dynamic_batch: bool) -> Inputs:
    """The inputs to record the forward with; of two images where any number is to be allowed."""
    inputs = _traced_inputs(quantized) if data is None else first_batch(quantized.module, data)
    inputs = inputs.to_device_of(quantized.module)
    inputs.check_finite("the example input")
    if not inputs.tensors():
        raise InputError("the example input holds no tensor. Give what the model is called with.", code="no-tensor")
    if fixed_batch(quantized.module) is not None:
        return inputs
    alone = all(tensor.ndim and len(tensor) == 1 for _, tensor in inputs.tensors())
    # torch.export takes an axis of length 1 for a fixed one
    return inputs.map(lambda tensor: torch.cat([tensor, tensor])) if dynamic_batch and alone else inputs


def fewest_images(quantized: QuantizedModel, data: Any) -> Inputs:
    """Of `recorded_inputs` one image, or as many as the network takes at a time."""
    inputs = recorded_inputs(quantized, data, dynamic_batch=False)
    return Batch(inputs, is_whole=fixed_batch(quantized.module) is not None).split(1)[0].inputs


def _traced_inputs(quantized: QuantizedModel) -> Inputs:
    args: list[torch.Tensor] = []
    kwargs: dict[str, torch.Tensor] = {}
    for value in quantized.plan.trace.inputs:
        if not value.name.isidentifier() or not value.is_floating:
            raise InputError(
                f"the model's input {value.name!r} is not a plain floating-point tensor. Give data.",
                code="input-type",
            )
        tensor = torch.rand(value.shape, dtype=value.dtype)
        if value.name == (f"input{len(args)}" if args else "input"):
            args.append(tensor)
        else:
            kwargs[value.name] = tensor
    return Inputs(*args, **kwargs)


def _network(quantized: QuantizedModel, inputs: Inputs, style: Style) -> Network:
    kind = STYLES[style]
    constants = ConstantTensors(layer_constants(quantized, kind.weight_formats(quantized.plan), inputs))
    interpreter = Interpreter(
        quantized.module,
        quantized.formats.plan,
        kind(quantized.formats, constants),
        rewrite=in_one_operator,
        keeps_weights=False,
    )
    return Network(interpreter, constants, inputs)


def _captured(network: Network, inputs: Inputs, dynamic_batch: bool) -> torch.export.ExportedProgram:
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode  # brings sympy along

    tensors = tuple(tensor for _, tensor in inputs.tensors())
    batch = torch.export.Dim.AUTO if dynamic_batch else torch.export.Dim.STATIC
    shapes = tuple({0: batch} if tensor.ndim and len(tensor) == len(tensors[0]) else None for tensor in tensors)
    try:
        return torch.export.export(network.eval(), tensors, dynamic_shapes=(shapes,), strict=False)
    except ModelError as error:
        if isinstance(error.__cause__, GuardOnDataDependentSymNode):
            raise ModelError(
                f"the forward decides by the values of a tensor, at or after {_last_site(error)}, and a file holds one "
                "way. Export a model of each way.",
                code="data-dependent-forward",
            ) from error
        raise


def _last_site(error: ModelError) -> str:
    return str(error).partition("site ")[2].partition(" ")[0].rstrip(":") or "its end"


def _translated(
    program: torch.export.ExportedProgram, inputs: tuple[str, ...], outputs: tuple[str, ...], opset: int
) -> torch.onnx.ONNXProgram:
    try:
        written = torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(
            f"torch's exporter cannot write this network as ONNX: {error}. "
            "Replace the operation it names, or keep what comes after the network's layers out of the forward.",
            code="not-exportable",
        ) from error
    assert written is not None, "export without dynamo's own file gives a program"
    return written
