"""Which model files go through qdiag: torchvision's and timm's networks by both exporters, each through every verb.

    python examples/model_files.py TABLE [--data DATA] [NETWORK …]

Writes docs/model_files.md, a row after each file: `make files DATA=folder`. A network is a name of torchvision, a name
of timm behind "timm/", or an ONNX file. DATA holds yolox_nano/yolox_nano_416.onnx, mobilenet_v2/ and datasets.py. A
run that was stopped goes on where it was; one that came to its end starts anew.
"""

import argparse
import json
import logging
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
from qdiag.errors import QdiagError
from qdiag.loading.reference import difference

NETWORKS = (
    *("timm/test_resnet", "timm/test_byobnet", "timm/test_efficientnet", "timm/test_convnext", "timm/test_nfnet"),
    *("timm/test_vit", "squeezenet1_1", "resnet18", "timm/lcnet_050", "timm/tinynet_e", "mnasnet0_5"),
    *("shufflenet_v2_x0_5", "mobilenet_v3_small", "timm/mobilenetv4_conv_small_050", "timm/repghostnet_050"),
)
FORMS = ((("old", 11), ("new", 18)), (("old", 13), ("new", 20)), (("old", 17), ("not optimized", 18)))
"""torch.onnx.export's exporter, and the opset: networks take one pair of them after the other in turns."""

EXPORTERS = {"old": "old exporter", "new": "new exporter", "not optimized": "new exporter, not optimized"}

PUBLISHED = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50", "densenet121", "bvlc_alexnet")
"""Files of model zoos, in the tests of the package onnx; their weights are one number each, to be small."""

SIZE = 64
ADDED_UP = 1e-3
"""Largest difference of a whole network, as a part of the largest value: roundings of float32 add up."""

OPEN = 224
"""Side of an image whose size the file leaves open."""

VERBS = ("load", "every tensor", "1 and 4 images", "lint", "compare", "calibrate", "export", "verify")
KEPT = Path("build/model_files.jsonl")

File = tuple[str, Callable[[], Path]]
"""What a row is called, and what gives its file."""

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
they are published: of model zoos, as the package onnx brings them along (their weights taken out), YOLOX-Nano, and
MobileNetV2 with its weights. "Every tensor": each node's result is ONNX Runtime's, within 1e-4 of the tensor's largest.
"1 and 4 images": what the loaded network computes for one image and for four at once is what ONNX Runtime computes for
each, within 1e-3, as roundings of float32 add up over a network. "Verify": every integer is ONNX Runtime's. Written by
`make files DATA=folder`.

"""


def main() -> None:
    """Write the table, a row after each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    known = dict(map(json.loads, KEPT.read_text().splitlines())) if KEPT.exists() else {}
    KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), {}
        for title, file in files(given.networks, given.data, folder):
            if title not in known:
                known[title] = through(file, folder)
                with KEPT.open("a") as kept:
                    kept.write(json.dumps([title, known[title]]) + "\n")
            rows[title] = known[title]
            given.table.write_text(page(rows), encoding="utf-8")
            print(title, *rows[title], sep=" | ", flush=True)
    KEPT.unlink(missing_ok=True)


def page(rows: dict[str, list[str]]) -> str:
    lines = [f"| file | {' | '.join(VERBS)} |", f"|---|{'---|' * len(VERBS)}"]
    lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in rows.items()]
    whole = sum(all(cell.startswith(("yes", "all but")) for cell in cells) for cells in rows.values())
    refused = sum(cells[0].startswith("refused") for cells in rows.values())
    count = f"{whole} of {len(rows)} files go through all of it; {refused} refused at the door, as the line says."
    return HEAD + "\n".join(lines) + f"\n\n{count}\n"


def files(names: list[str], data: Path | None, folder: Path) -> Iterator[File]:
    """The networks that are named; else what is published, then all networks."""
    path = folder / "net.onnx"
    if not names:
        yield from all_published(data, path)
    for number, name in enumerate(names or NETWORKS):
        if name.endswith(".onnx"):
            yield published(Path(name), Path(name).stem)
            continue
        for exporter, opset in FORMS[number % len(FORMS)]:
            title = f"{name}, {EXPORTERS[exporter]}, opset {opset}"
            yield title, lambda n=name, e=exporter, o=opset: exported(network(n), path, e, o)  # type: ignore[misc]


def all_published(data: Path | None, path: Path) -> Iterator[File]:
    if data is not None:
        yield published(data / "yolox_nano" / "yolox_nano_416.onnx", "YOLOX-Nano")
        yield "MobileNetV2 with its weights, old exporter, opset 13", lambda: mobilenet_v2(data, path)
    tests = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    for name in PUBLISHED:
        yield published(tests / f"light_{name}.onnx", f"{name}, of a model zoo")
    yield published(Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx", "logreg_iris, no CNN")


def published(path: Path, what: str) -> File:
    imports = onnx.load(path, load_external_data=False).opset_import
    versions = [str(entry.version) for entry in imports if entry.domain in ("", "ai.onnx")]
    return f"{what}, as published{', opset ' if versions else ''}{''.join(versions)}", lambda: path


def mobilenet_v2(data: Path, path: Path) -> Path:
    from mobilenet_v2_file import write  # beside this script

    return Path(write(data, path))


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
    return {"img_size": SIZE} if "vit_" not in name and name.endswith("_vit") else {}


def exported(model: nn.Module, path: Path, exporter: str, opset: int) -> Path:
    """A file for one image, as either of torch's exporters writes it."""
    images = torch.randn(1, 3, SIZE, SIZE)
    options: dict[str, Any] = {"optimize": False} if exporter == "not optimized" else {}
    torch.onnx.export(model, (images,), path, dynamo=exporter != "old", opset_version=opset, verbose=False, **options)
    return path


def through(file: Callable[[], Path], folder: Path) -> list[str]:
    """For each verb "yes", or "no" with the reason; "–" behind a file that does not load."""
    try:
        path = file()
        loaded = load_model(path, check=False)
    except QdiagError as error:
        return [f"refused: {in_a_cell(error, 400)}", *["–"] * (len(VERBS) - 1)]
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return [f"no: {in_a_cell(error)}", *["–"] * (len(VERBS) - 1)]
    return ["yes", *results(path, loaded, folder)]


def results(path: Path, loaded: nn.Module, folder: Path) -> list[str]:
    """What the verbs behind loading come to."""
    torch.manual_seed(1)
    axes = list(the_input(path).type.tensor_type.shape.dim)[1:]
    images = torch.randn(4, *(axis.dim_value or OPEN for axis in axes))
    quantized = []

    def calibrated() -> None:
        quantized.append(calibrate(loaded, images, "simple"))

    def verified() -> str:
        found = verify(quantized[0], images[:1])
        if found.exit_code:
            return "no: integers are off by more than one step"
        others = found.values - found.equal
        return f"all but {others} of {found.values:,}, which are off by one" if others else "yes"

    checks: tuple[Callable[[], object], ...] = (
        lambda: load_model(path, check=True),
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
        if difference(result, torch.cat(theirs)) > ADDED_UP:
            return False
    return True


def outcome(check: Callable[[], object]) -> str:
    """What a cell of the table says: "yes", "no" with the reason, or the check's own words."""
    try:
        found = check()
        return found if isinstance(found, str) else "no" if found is False else "yes"
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return f"no: {in_a_cell(error)}"


def in_a_cell(error: Exception, letters: int = 160) -> str:
    """The beginning of a message, on one line."""
    return " ".join(str(error).split())[:letters].replace("|", "/")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    main()
