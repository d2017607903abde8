"""What holds of a file before it takes its place: sound, loads, computes what it is to compute."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.loading.plain_runtime import is_installed, plain_outputs
from qdiag.tracing.inputs import Inputs

CLOSE = {"clips": 1e-3, "qdq": 0.02}
"""Largest difference between two opsets of the same file, as a part of the outputs' largest value: of integers two
steps, where sums in another order take a value to the other side of a tie. What is converted wrongly is far off."""


@dataclass(frozen=True)
class FileCheck:
    """Looks at a draft.

    style: of the file. inputs: what the forward was recorded with. expected: what the file gives for them, where it is
    known.
    """

    style: str
    inputs: tuple[Tensor, ...]
    expected: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, style: str, inputs: Inputs, model: Any, opset: int) -> "FileCheck":
        """For an onnx_ir model as torch wrote it; where an older opset is to come of it, with what it computes now."""
        tensors = tuple(tensor for _, tensor in inputs.tensors())
        if opset >= model.opset_imports[""] or not is_installed():
            return cls(style, tensors)
        import onnx_ir

        written = onnx_ir.to_proto(model)
        written.ir_version = min(written.ir_version, 10)  # older runtimes read no more
        return cls(style, tensors, tuple(_run(written.SerializeToString(), tensors)))

    def __call__(self, draft: Path) -> None:
        """Raises ModelError for a file that is unsound, that the installed runtime refuses, or that computes else."""
        import onnx

        try:
            onnx.checker.check_model(draft, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise _unsound(f"onnx's checker says: {error}") from error
        _check_names(onnx.load(draft, load_external_data=False).graph)
        if not is_installed():
            return
        found = _run(str(draft), self.inputs)
        largest = max((float(np.abs(theirs).max(initial=0.0)) for theirs in self.expected or ()), default=0.0)
        for theirs, ours in zip(self.expected or (), found, strict=bool(self.expected)):
            if not np.allclose(ours, theirs, rtol=0, atol=CLOSE[self.style] * largest, equal_nan=True):
                raise _unsound(f"in the older opset it gives other outputs, by {np.abs(ours - theirs).max():.1e}")


def _check_names(graph: Any) -> None:
    kinds: Mapping[str, list[str]] = {
        "nodes": [node.name for node in graph.node if node.name],
        "tensors": [name for node in graph.node for name in node.output if name]
        + [value.name for value in graph.initializer]
        + [value.name for value in graph.input],
    }
    for kind, names in kinds.items():
        for name, count in Counter(names).items():
            if count > 1:
                raise _unsound(f"{count} {kind} are called {name!r}")


def _run(file: str | bytes, inputs: tuple[Tensor, ...]) -> list[Any]:
    """What ONNX Runtime makes of them, operator by operator as the file has them."""
    try:
        return plain_outputs(file, inputs)
    except Exception as error:  # the runtime's own errors have no common class
        raise _unsound(f"ONNX Runtime says: {error}") from error


def _unsound(why: str) -> ModelError:
    return ModelError(
        f"the file that was written does not hold what it should: {why}. Nothing was put in its place. Give another "
        "opset, and tell us about this network.",
        code="file-unsound",
    )
