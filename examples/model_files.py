"""Which model files go through qdiag: torchvision's and timm's networks by both exporters, each through every verb.

Writes docs/model_files.md, a row after each file: `make files`, or `python examples/model_files.py TABLE [NETWORK …]`,
where a network is a name of torchvision, a name of timm behind "timm/", or an ONNX file.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import timm
import torch
import torchvision
from torch import Tensor, nn

from qdiag import calibrate, compare, export_onnx, lint_model, load_model, verify
from qdiag.loading.reference import CLOSE, difference

NETWORKS = (
    *("timm/test_resnet", "timm/test_byobnet", "timm/test_efficientnet", "timm/test_convnext", "timm/test_nfnet"),
    *("timm/test_vit", "squeezenet1_1", "resnet18", "timm/lcnet_050", "timm/tinynet_e", "timm/resnet10t"),
    *("mnasnet0_5", "shufflenet_v2_x0_5", "mobilenet_v3_small", "timm/mobilenetv3_small_050", "timm/semnasnet_050"),
    *("timm/mobilenetv4_conv_small_050", "timm/repghostnet_050", "timm/efficientvit_b0"),
    *("timm/ese_vovnet19b_slim_dw", "timm/regnetx_002", "timm/edgenext_xx_small", "timm/mobilevit_xxs"),
    *("timm/convnext_atto", "mobilenet_v2", "regnet_y_400mf", "efficientnet_b0", "googlenet"),
)
FORMS = ((("old", 13), ("new", 18)), (("old", 17), ("new", 20)))
"""torch.onnx.export's exporter, and the opset: networks take one pair of them and the other in turns."""

SIZE = 64
VERBS = ("load", "1 and 4 images", "lint", "compare", "calibrate", "export", "verify")

HEAD = """# Model files

`qdiag.load_model("model.onnx")`, and every command in the place of a function (`qdiag diagnose model.onnx --images
photos/`), take ONNX files of opset 7 and later and exported programs (`.pt2`). Addresses are the names of the file's
tensors. While an ONNX file is loaded, every node is held against ONNX Runtime, within 1e-4 of its tensor's largest.

Exporters write the number of images into shapes. Loading runs two different images at once and mends these numbers;
where that cannot be done, the network takes as many images as the file says, and refuses any other number.

Of a file that somebody has quantized (QuantizeLinear and DequantizeLinear), the float network is loaded: weights are
what the integers stand for, and where a format took the place of a ReLU, that is there again. `load_formats(model,
images)` is the version in the file's own formats, for `compare` to show beside float and others; scales that are no
powers of two and zero points inside of a range are listed, and stay in float there.

What cannot be loaded is refused in one sentence with the node, its operator, the opset and what to do. Not read:
operators that compute in integers themselves (QLinearConv), control flow (If, Loop), recurrent layers, operators that
are not ONNX's own.

## What goes through

Networks of torchvision and timm with random weights and images of 64 x 64, by both of torch's exporters; and files as
they are published, where the line says so. "1 and 4 images": what the loaded network computes for one image and for
four at once is what ONNX Runtime computes for each. Written by `make files`.

"""


def main(target: Path, names: tuple[str, ...]) -> None:
    """Write the table, a row after each file."""
    lines = [f"| file | {' | '.join(VERBS)} |", f"|---|{'---|' * len(VERBS)}"]
    with tempfile.TemporaryDirectory() as folder:
        for title, file in files(names, Path(folder)):
            lines.append(f"| {title} | {' | '.join(through(file, Path(folder)))} |")
            whole = sum("| no" not in line for line in lines[2:])
            count = f"\n{whole} of {len(lines) - 2} files go through all of it.\n"
            target.write_text(HEAD + "\n".join(lines) + "\n" + count, encoding="utf-8")
            print(lines[-1], flush=True)


def files(names: tuple[str, ...], folder: Path) -> Iterator[tuple[str, Callable[[], Path]]]:
    """What each row is called, and what gives its file."""
    for number, name in enumerate(names):
        if name.endswith(".onnx"):
            yield f"{Path(name).name}, as published", lambda path=Path(name): path  # type: ignore[misc]
            continue
        for exporter, opset in FORMS[number % 2]:
            title = f"{name}, {exporter} exporter, opset {opset}"
            path = folder / "net.onnx"
            yield title, lambda name=name, e=exporter, o=opset, p=path: exported(network(name), p, e, o)  # type: ignore[misc]


def network(name: str) -> nn.Module:
    """With random weights."""
    torch.manual_seed(0)
    if name.startswith("timm/"):
        made: nn.Module = timm.create_model(name.removeprefix("timm/"), pretrained=False, **sizes(name))
    else:
        made = torchvision.models.get_model(name, weights=None)
    return made.eval()


def sizes(name: str) -> dict[str, Any]:
    """What networks of one image size have to be told."""
    return {"img_size": SIZE} if "vit_" not in name and name.endswith("vit") else {}


def exported(model: nn.Module, path: Path, exporter: str, opset: int) -> Path:
    """A file for one image, as either of torch's exporters writes it."""
    images = torch.randn(1, 3, SIZE, SIZE)
    torch.onnx.export(model, (images,), path, dynamo=exporter == "new", opset_version=opset, verbose=False)
    return path


def through(file: Callable[[], Path], folder: Path) -> list[str]:
    """For each verb "yes", or "no" with the reason; "–" behind a file that does not load."""
    try:
        path = file()
        loaded = load_model(path)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return [f"no: {in_a_cell(error)}", *["–"] * (len(VERBS) - 1)]
    return ["yes", *results(path, loaded, folder)]


def results(path: Path, loaded: nn.Module, folder: Path) -> list[str]:
    """What the verbs behind loading come to."""
    torch.manual_seed(1)
    images = torch.randn(4, *(axis.dim_value for axis in the_input(path).type.tensor_type.shape.dim[1:]))
    quantized = []

    def calibrated() -> None:
        quantized.append(calibrate(loaded, images, "simple"))

    def verified() -> bool:
        found = verify(quantized[0], images[:1])
        return found.equal == found.values

    checks: tuple[Callable[[], object], ...] = (
        lambda: is_the_file(path, loaded, images[:1]) and is_the_file(path, loaded, images),
        lambda: lint_model(loaded, images),
        lambda: compare(loaded, images),
        calibrated,
        lambda: export_onnx(quantized[0], folder / "integers.onnx", images[:2]),
        verified,
    )
    return [outcome(check) for check in checks]


def the_input(path: Path) -> onnx.ValueInfoProto:
    """The file's first input, which is no weight."""
    graph = onnx.load(path, load_external_data=False).graph
    weights = {each.name for each in graph.initializer}
    return next(each for each in graph.input if each.name not in weights)


def is_the_file(path: Path, loaded: nn.Module, images: Tensor) -> bool:
    """True where all images at once give what ONNX Runtime gives for each."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = the_input(path).name
    with torch.no_grad():
        ours = loaded(images)
    for number, result in enumerate(ours.values() if isinstance(ours, dict) else [ours]):
        theirs = [torch.from_numpy(session.run(None, {name: image[None].numpy()})[number]) for image in images]
        if difference(result, torch.cat(theirs)) > CLOSE:
            return False
    return True


def outcome(check: Callable[[], object]) -> str:
    """What a cell of the table says: "yes", or "no" with the reason."""
    try:
        return "no" if check() is False else "yes"
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return f"no: {in_a_cell(error)}"


def in_a_cell(error: Exception) -> str:
    """The beginning of a message, on one line."""
    return " ".join(str(error).split())[:160].replace("|", "/")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), tuple(sys.argv[2:]) or NETWORKS)
