"""ONNX Runtime under another Python: run as a script there, it answers requests on its standard input.

    python runtime_server.py MODEL OPTIMIZED THREADS

It imports nothing of qdiag, and is written for Python 3.8, since it is the other Python's packages that it runs with.
A message is its length in 8 bytes and an .npz file. The first answer holds the names and the version; each request then
the inputs, in order, and its answer the outputs. What goes wrong is answered as text under "error".
"""

import io
import os
import struct
import sys
from typing import IO, Any, Dict, Optional  # noqa: UP035 - dict[str, Any] is newer than Python 3.8

import numpy as np

Message = Dict[str, Any]  # noqa: UP006


def serve(model: str, optimized: str, threads: int, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Make the session, then answer until the requests end."""
    try:
        session = make_session(model, optimized, threads)
        import onnxruntime

        names = {
            "inputs": np.array([value.name for value in session.get_inputs()], dtype=str),
            "outputs": np.array([value.name for value in session.get_outputs()], dtype=str),
            "version": np.array(onnxruntime.__version__),
        }
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side tells it
        write_message(answers, {"error": np.array("%s: %s" % (type(error).__name__, error))})  # noqa: UP031
        return
    write_message(answers, names)
    while True:
        request = read_message(requests)
        if request is None:
            return
        write_message(answers, answer(session, names["inputs"], request))


def make_session(model: str, optimized: str, threads: int) -> Any:
    """On the CPU, optimized, silent. optimized: where to write what the runtime makes of the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answer(session: Any, names: Any, request: Message) -> Message:
    """The outputs, by their number."""
    feed = {str(name): request[str(number)] for number, name in enumerate(names)}
    try:
        return {str(number): value for number, value in enumerate(session.run(None, feed))}
    except Exception as error:  # noqa: BLE001 - the runtime's own errors have no common class
        return {"error": np.array(str(error))}


def write_message(stream: IO[bytes], arrays: Message) -> None:
    """Arrays by name."""
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    content = packed.getvalue()
    stream.write(struct.pack("<Q", len(content)))
    stream.write(content)
    stream.flush()


def read_message(stream: IO[bytes]) -> Optional[Message]:  # noqa: UP045
    """None at the end of the stream."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    with np.load(io.BytesIO(stream.read(struct.unpack("<Q", header)[0]))) as arrays:
        return {name: arrays[name] for name in arrays.files}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print does not go between the answers
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.stdin.buffer, answers)
