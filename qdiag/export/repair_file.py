"""`repair_file()`: the ONNX file that a network came from, in float, with what calibration made of its weights."""

import os
from pathlib import Path
from typing import Any

from qdiag.export.installed import check_installed
from qdiag.export.repaired_file import RepairedFile
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel


def repair_file(
    quantized: QuantizedModel | QuantBaseModule, path: str | os.PathLike[str], data: Any = None
) -> RepairedFile:
    """Write the ONNX file that the network was loaded from again, with calibration's weights and biases in it.

    For engines that calibrate by themselves: the file stays in float, its nodes and names stay as they are, and what
    equalization, weight correction or training changed stands under the name it had. A BatchNormalization behind a
    changed layer is merged into it, and stays as one that adds the bias alone. The file is run in ONNX Runtime before
    it takes its place.

    Args:
        quantized: Of a model that `load_model` read from an ONNX file.
        path: The file to write.
        data: What the file is run on for the check, as for `export_onnx`; random numbers if not given.

    Raises:
        OptionError: For a path that cannot be written, and where onnx or onnxruntime is not installed.
        InputError: For data that the model does not take.
        ModelError: For a model that comes from no ONNX file or from a quantized one, and for a file that does not
            compute what the repaired model does.

    >>> import tempfile, torch
    >>> from torch import nn
    >>> from qdiag.loading.load_model import load_model
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = torch.onnx.export(net, (torch.rand(1, 3, 6, 6),), f"{folder}/net.onnx", verbose=False)
    ...     quantized = calibrate(load_model(f"{folder}/net.onnx"), torch.rand(16, 3, 6, 6), "best")
    ...     repaired = repair_file(quantized, f"{folder}/repaired.onnx")
    >>> repaired.output_difference < 1e-4
    True
    """
    check_installed("onnx", "onnxruntime")
    from qdiag.export.repair import repaired  # which imports onnx

    return repaired(quantized_model(quantized), Path(path), data)
