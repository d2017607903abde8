"""Which model files go through qdiag: torchvision's networks by both exporters, each through every verb.

Writes docs/model_files.md, a row after each file: `make files`, or `python examples/model_files.py FILE [NETWORK …]`.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from qdiag import calibrate, compare, export_onnx, lint_model, load_model, verify
from qdiag.loading.reference import CLOSE, difference

NETWORKS = (
    *("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mobilenet_v2", "mnasnet0_5", "resnet18"),
    *("regnet_y_400mf", "efficientnet_b0", "densenet121", "googlenet"),
)
FORMS = (("old", 11), ("old", 17), ("new", 18), ("new", 20))  # torch.onnx.export's exporter, and the opset
SIZE = 64
VERBS = ("load", "4 images", "lint", "compare", "calibrate", "export", "verify")

HEAD = """# Model files

`qdiag.load_model("model.onnx")`, and every command in the place of a function (`qdiag diagnose model.onnx --images
photos/`), take ONNX files of opset 7 and later and exported programs (`.pt2`). Addresses are the names of the file's
tensors. While an ONNX file is loaded, every node is held against ONNX Runtime, within 1e-4 of its tensor's largest.

Exporters write the number of images into shapes. Loading runs two different images at once and mends these numbers;
where that cannot be done, the network takes as many images as the file says, and refuses any other number.

What cannot be loaded is refused in one sentence with the node, its operator, the opset and what to do. Not read: files
that somebody else has quantized (QuantizeLinear), control flow (If, Loop), recurrent layers, operators that are not
ONNX's own.

## What goes through

Random weights, images of 64 x 64. Written by `make files`.

"""


def main(target: Path, names: tuple[str, ...]) -> None:
    """Write the table, a row after each file."""
    lines = [f"| file | {' | '.join(VERBS)} |", f"|---|{'---|' * len(VERBS)}"]
    for name in names:
        for exporter, opset in FORMS:
            row = through(name, exporter, opset)
            lines.append(f"| {name}, {exporter} exporter, opset {opset} | {' | '.join(row)} |")
            whole = sum("| no" not in line for line in lines[2:])
            count = f"\n{whole} of {len(lines) - 2} files go through all of it.\n"
            target.write_text(HEAD + "\n".join(lines) + "\n" + count, encoding="utf-8")
            print(lines[-1], flush=True)


def through(name: str, exporter: str, opset: int) -> list[str]:
    """For each verb "yes", or "no" with the reason; "–" behind the first that fails."""
    torch.manual_seed(0)
    model, images = torchvision.models.get_model(name, weights=None).eval(), torch.randn(4, 3, SIZE, SIZE)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        try:
            loaded = load_model(exported(model, images[:1], Path(folder) / "net.onnx", exporter, opset))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
            return [f"no: {str(error)[:160]}", *["–"] * (len(VERBS) - 1)]
        return ["yes", *results(model, loaded, images, Path(folder))]


def results(model: nn.Module, loaded: nn.Module, images: Tensor, folder: Path) -> list[str]:
    """What the verbs behind loading come to."""
    quantized = calibrate(loaded, images, "simple")

    def verified() -> bool:
        found = verify(quantized, images[:1])
        return found.equal == found.values

    checks: tuple[Callable[[], object], ...] = (
        lambda: difference(loaded(images), model(images)) <= CLOSE,
        lambda: lint_model(loaded, images),
        lambda: compare(loaded, images),
        lambda: quantized(images),
        lambda: export_onnx(quantized, folder / "integers.onnx", images[:2]),
        verified,
    )
    return [_outcome(check) for check in checks]


def _outcome(check: Callable[[], object]) -> str:
    try:
        return "no" if check() is False else "yes"
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return f"no: {str(error)[:160]}"


def exported(model: nn.Module, images: Tensor, path: Path, exporter: str, opset: int) -> Path:
    """A file as either of torch's exporters writes it."""
    torch.onnx.export(model, (images,), path, dynamo=exporter == "new", opset_version=opset, verbose=False)
    return path


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), tuple(sys.argv[2:]) or NETWORKS)
