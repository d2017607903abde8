"""A file in an ONNX Runtime: the one that is installed here, or another Python's, in a process of its own."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from qdiag.errors import InputError, ModelError, OptionError
from qdiag.export import runtime_server

Python = str | os.PathLike[str]
Arrays = list[np.ndarray[Any, Any]]


class RuntimeSession(Protocol):
    """A file that can be run. Its names are in the file's order; version: the runtime's."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    version: str

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> Arrays:
        """Every output. Raises InputError for inputs that the file does not take."""
        ...

    def close(self) -> None:
        """The session cannot be used any more."""
        ...


def runtime_session(model: Path, optimized: Path, python: Python | None = None) -> RuntimeSession:
    """A session that runs a file on the CPU, optimized.

    model: the file. optimized: where to write what the runtime makes of it. python: an interpreter that has the
    onnxruntime to run; None for the one that is installed here.

    Raises ModelError where the runtime cannot run the file, OptionError where the other Python has none.
    """
    return OwnSession(model, optimized) if python is None else OtherSession(model, optimized, python)


class OwnSession:
    """In this process. Arguments as `runtime_session` takes them."""

    def __init__(self, model: Path, optimized: Path):
        import onnxruntime

        try:
            self._session = runtime_server.make_session(str(model), str(optimized), torch.get_num_threads())
        except Exception as error:  # the runtime's own errors have no common class
            raise _refused(str(error)) from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())
        self.version: str = onnxruntime.__version__

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> Arrays:
        try:
            found: Arrays = self._session.run(None, dict(zip(self.inputs, inputs, strict=True)))
        except Exception as error:  # the runtime's own errors have no common class
            raise _refused_inputs(str(error)) from error
        return found

    def close(self) -> None:
        """Nothing is held."""


class OtherSession:
    """In a process of another Python, which needs numpy and onnxruntime alone. Arguments as for `runtime_session`."""

    def __init__(self, model: Path, optimized: Path, python: Python):
        self._python = os.fspath(python)
        server = [self._python, runtime_server.__file__, str(model), str(optimized), str(torch.get_num_threads())]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(server, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise OptionError(
                f"runtime={self._python!r} cannot be started: {error.strerror}. {_GIVE}", code="other-runtime"
            ) from error
        try:
            names = self._answer()
            self._check_start(names)
        except BaseException:
            self.close()
            raise
        self.inputs, self.outputs = (tuple(map(str, names[key])) for key in ("inputs", "outputs"))
        self.version = str(names["version"])

    def _check_start(self, names: runtime_server.Message) -> None:
        what, _, text = str(names.get("error", "")).partition(": ")
        if what in ("ModuleNotFoundError", "ImportError"):
            raise OptionError(f"runtime={self._python!r} has no ONNX Runtime: {text}. {_GIVE}", code="other-runtime")
        if what:
            raise _refused(text)

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> Arrays:
        assert self._process.stdin is not None
        runtime_server.write_message(self._process.stdin, {str(n): array for n, array in enumerate(inputs)})
        found = self._answer()
        if "error" in found:
            raise _refused_inputs(str(found["error"]))
        return [found[str(number)] for number in range(len(self.outputs))]

    def _answer(self) -> runtime_server.Message:
        assert self._process.stdout is not None
        found = runtime_server.read_message(self._process.stdout)
        if found is None:
            raise OptionError(
                f"runtime={self._python!r} ended without an answer, with code {self._process.wait()}. {_GIVE}",
                code="other-runtime",
            )
        return found

    def close(self) -> None:
        """End the process: it does at the end of its requests."""
        with self._process:
            self._process.kill()


_GIVE = "Give the path of a Python in whose environment numpy and onnxruntime are installed."


def _refused(why: str) -> ModelError:
    return ModelError(f"ONNX Runtime cannot run this network: {why}", code="runtime-refuses")


def _refused_inputs(why: str) -> InputError:
    return InputError(f"ONNX Runtime cannot take these inputs: {why}", code="runtime-refuses-inputs")
