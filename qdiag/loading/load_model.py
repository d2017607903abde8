"""`load_model()`: a network from a file, or from what torch exported, as a module under the file's own names."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.errors import ModelError, OptionError
from qdiag.loading.exported_program import program_model, read_program
from qdiag.loading.specs import call
from qdiag.progress import OnProgress, Progress, Steps, run
from qdiag.tracing.borrowing import is_exported

Source = str | os.PathLike[str] | torch.export.ExportedProgram | nn.Module


def load_model(
    source: Source, *, example: Any = None, check: bool | None = None, on_progress: OnProgress = None
) -> nn.Module:
    """A network as a module that every verb of qdiag takes: `diagnose(load_model("model.onnx"), images)`.

    Addresses are the names in the file: of an ONNX file those of its tensors, of an exported program those of the
    modules that it was made from. What exporters take apart (SiLU, GELU, LayerNorm) is one layer again, and half
    precision is float32.

    Args:
        source: An ONNX file; a `.pt2` file, an `ExportedProgram` or the module of one; `file.py:function`, which
            returns a module; or a module, which is given back.
        example: What the network is called with, where the file leaves lengths open: a tensor, or a dict by the file's
            names.
        check: Hold every node of an ONNX file against ONNX Runtime, on the example; by default where that is installed.
        on_progress: Called after every node.

    Raises:
        InputError: For a file that cannot be read.
        ModelError: For a network that cannot be taken, with the node and what to do.
        OptionError: For what is none of these.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    >>> program = torch.export.export(net.eval(), (torch.zeros(2, 3, 6, 6),))
    >>> loaded = load_model(program)
    >>> loaded(torch.zeros(2, 3, 6, 6)).shape
    torch.Size([2, 4, 6, 6])
    """
    return run(load_steps(source, example=example, check=check), on_progress)


def load_steps(source: Source, *, example: Any = None, check: bool | None = None) -> Steps[nn.Module]:
    """The same, step by step."""
    if isinstance(source, torch.export.ExportedProgram) or is_exported(source):
        yield Progress("loading", 0, None)
        return program_model(source, example)
    if isinstance(source, torch.jit.ScriptModule):
        raise ModelError(SCRIPT.format(what="the model"), code="not-a-module")
    if isinstance(source, nn.Module):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise OptionError(
            f"the model is a {type(source).__name__}. Pass a module, an exported program, or a file.",
            code="not-a-model",
        )
    return (yield from _file(os.fspath(source), example, check))


SCRIPT = (
    "{what} is TorchScript, inside which operations cannot be seen. Pass the module it was made from, or write it as "
    "ONNX and load that: torch.onnx.export(model, (images,), 'model.onnx', dynamo=False)."
)

_ELSEWHERE = {
    ".tflite": "a TensorFlow Lite file. Convert it: python -m tf2onnx.convert --tflite FILE --output model.onnx",
    ".pb": "a TensorFlow graph. Convert it: python -m tf2onnx.convert --graphdef FILE --output model.onnx",
    ".h5": "a Keras file. Convert it with tf2onnx",
    ".keras": "a Keras file. Convert it with tf2onnx",
    **dict.fromkeys((".safetensors", ".ckpt", ".bin"), "a file of weights, without the network. Build the network in "
    "Python, as file.py:function, and give this file as weights"),
}  # fmt: skip


def is_model_file(spec: str) -> bool:
    """True for the name of a file that holds a network, rather than of a function that makes one."""
    return _suffix(spec) in (".onnx", ".pt2", ".pt", ".pth", ".ts", *_ELSEWHERE)


def _suffix(spec: str) -> str:
    return Path(spec).suffix.lower()


def _file(spec: str, example: Any, check: bool | None) -> Steps[nn.Module]:
    suffix = _suffix(spec)
    if suffix == ".onnx":
        return (yield from _onnx(Path(spec), example, check))
    if suffix == ".pt2":
        yield Progress("loading", 0, None)
        return program_model(read_program(Path(spec)), example)
    if suffix in _ELSEWHERE:
        raise OptionError(f"{spec} is {_ELSEWHERE[suffix]}.", code="not-loadable")
    if suffix in (".pt", ".pth", ".ts"):
        raise OptionError(_pickle(Path(spec)), code="not-loadable")
    made = call(spec)
    if not isinstance(made, nn.Module):
        raise OptionError(f"{spec} gave a {type(made).__name__}. It should return a model.", code="not-a-model")
    return made


def _onnx(path: Path, example: Any, check: bool | None) -> Steps[nn.Module]:
    if importlib.util.find_spec("onnx") is None:
        raise OptionError(
            f"onnx is not installed, which reads {path.name}: pip install 'qdiag[onnx]'.", code="not-installed"
        )
    from qdiag.loading.onnx_model import onnx_model  # takes its time, which other models need not wait for

    return (yield from onnx_model(path, example, check))


def _pickle(path: Path) -> str:
    """What to do with a file of torch that is no exported program."""
    try:
        torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError):  # no TorchScript, or no file
        return (
            f"{path} is no exported program (.pt2), and a file of weights does not hold the network. Build it in "
            "Python, as file.py:function, and give this file as weights."
        )
    return SCRIPT.format(what=str(path))
