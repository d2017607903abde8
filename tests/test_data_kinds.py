"""Images and labels as people have them, each kind through the command line or as it reads the data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from qdiag.cli.app import app
from qdiag.detection.box_labels import box_labels
from qdiag.errors import InputError
from qdiag.image_folder import ImageFolder, Preprocessing
from qdiag.mask_folder import MaskFolder, WholeImage

NETWORKS = """
import torch
from torch import nn

def segmenter():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

class Detector(nn.Module):
    '''A head of YOLOX for images of 32 x 32: 21 anchors, two classes. A white cell of 8 x 8 is a box of the first.'''

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList(nn.Conv2d(3, 7, stride, stride) for stride in (8, 16, 32))
        for conv in self.cells:
            nn.init.zeros_(conv.weight)
            with torch.no_grad():
                conv.bias.copy_(torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]))
        nn.init.constant_(self.cells[0].weight[4], 1 / (3 * 64 * 255))

    def forward(self, x):
        return torch.cat([conv(x).flatten(2) for conv in self.cells], 2).transpose(1, 2)
"""


@pytest.fixture
def networks(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORKS)
    return str(tmp_path / "net.py")


def told(*words: Any) -> Any:
    """What a command answers in JSON."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["data"]


def refused(*words: Any) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


def pictures(folder: Path, names: list[str], size: tuple[int, int] = (32, 24)) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(folder / name)
    return folder


def masks(folder: Path, names: list[str], size: tuple[int, int] = (32, 24), classes: int = 3) -> Path:
    rng = np.random.default_rng(1)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, classes, (size[1], size[0]), np.uint8)).save(folder / name)
    return folder


# Pixels ------------------------------------------------------------------------------------------------


def test_masks_beside_images_are_judged_by_mean_iou(networks: str, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", [f"{n}.jpg" for n in range(4)])
    labels = masks(tmp_path / "masks", [f"{n}.png" for n in range(4)])
    found = told("compare", f"{networks}:segmenter", "--images", images, "--masks", labels)
    output = found["outputs"]["8-bit"]
    assert 0 < output["miou_percent"] < 100


def test_pixels_that_do_not_count_are_left_out(tmp_path: Path) -> None:
    images = ImageFolder(pictures(tmp_path / "images", ["a.png"], (4, 4)), WholeImage())
    masks(tmp_path / "masks", ["a.png"], (4, 4), classes=12)
    pixels = np.array(Image.open(tmp_path / "masks" / "a.png"))
    image, mask = MaskFolder(images, WholeImage(), tmp_path / "masks", ignored=11)[0]
    assert image.shape == (3, 4, 4)
    assert torch.equal(mask, torch.from_numpy(np.where(pixels == 11, -1, pixels.astype(int))))


def test_cityscapes_masks_are_found_by_city_and_name(tmp_path: Path) -> None:
    cities = ["ulm/ulm_000000_000019", "bonn/bonn_000001_000019"]
    images = pictures(tmp_path / "leftImg8bit", [f"{city}_leftImg8bit.png" for city in cities])
    masks(
        tmp_path / "gtFine", [f"{city}_gtFine_{kind}.png" for city in cities for kind in ("labelIds", "labelTrainIds")]
    )
    folder = MaskFolder(ImageFolder(images, WholeImage()), WholeImage(), tmp_path / "gtFine")
    assert [mask.name for _, mask in folder.items] == [
        "bonn_000001_000019_gtFine_labelTrainIds.png",
        "ulm_000000_000019_gtFine_labelTrainIds.png",
    ]


def test_a_mask_of_a_palette_is_read_as_its_indices(tmp_path: Path) -> None:
    """As Pascal VOC has them, its edges 255."""
    images = ImageFolder(pictures(tmp_path / "images", ["a.jpg"], (2, 2)), WholeImage())
    palette = Image.fromarray(np.array([[0, 20], [255, 5]], np.uint8), "L").convert("P")
    palette.putpalette([*range(256)] * 3)
    palette.putdata([0, 20, 255, 5])
    (tmp_path / "masks").mkdir()
    palette.save(tmp_path / "masks" / "a.png")
    assert MaskFolder(images, WholeImage(), tmp_path / "masks")[0][1].tolist() == [[0, 20], [-1, 5]]


@pytest.mark.parametrize(
    ("names", "size", "mode", "says"),
    [
        (["other.png"], (32, 24), "L", "there is no mask of a.png"),
        (["a.png"], (16, 12), "L", "is of 32 x 24, its mask of 16 x 12"),
        (["a.png"], (32, 24), "RGB", "holds colours"),
    ],
)
def test_masks_that_do_not_fit_are_named(
    names: list[str], size: tuple[int, int], mode: str, says: str, networks: str, tmp_path: Path
) -> None:
    pictures(tmp_path / "images", ["a.png"])
    for name in names:
        (tmp_path / "masks").mkdir()
        Image.new(mode, size).save(tmp_path / "masks" / name)
    words = ["--images", tmp_path / "images", "--masks", tmp_path / "masks"]
    assert says in refused("compare", f"{networks}:segmenter", *words)


def test_masks_go_with_whole_images_alone(networks: str, tmp_path: Path) -> None:
    assert "--masks are of images" in refused("lint", f"{networks}:segmenter", "--masks", tmp_path)
    words = ["--images", tmp_path, "--masks", tmp_path, "--size", "32"]
    assert "--masks and --size" in refused("lint", f"{networks}:segmenter", *words)


# Classes -----------------------------------------------------------------------------------------------


def test_a_table_of_labels_counts_decisions(networks: str, tmp_path: Path) -> None:
    pictures(tmp_path / "images", [f"{n}.png" for n in range(4)])
    lines = ["file,class_index", *(f"{n}.png,{n % 2}" for n in range(4))]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    found = told("compare", f"{networks}:classifier", "--images", tmp_path, "--size", "16", "--resize", "16")
    assert found["images"] == 4
    assert found["float_top1_percent"] is not None


def test_numpys_arrays_are_taken_as_they_are(networks: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "arrays" / kind).mkdir(parents=True)
        for number in range(2):
            np.save(tmp_path / "arrays" / kind / f"{number}.npy", rng.normal(size=(3, 10, 14)))
    image, label = ImageFolder(tmp_path / "arrays", Preprocessing())[3]
    assert (tuple(image.shape), image.dtype, label) == ((3, 10, 14), torch.float32, 1)
    np.testing.assert_allclose(image.numpy(), np.load(tmp_path / "arrays" / "dog" / "1.npy"), rtol=1e-6)
    assert told("compare", f"{networks}:classifier", "--images", tmp_path / "arrays")["images"] == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [(np.zeros((2, 3, 4, 4)), "an array [2, 3, 4, 4]"), (np.array([{}]), "cannot read the array")],
)
def test_arrays_that_are_no_image_are_named(content: Any, says: str, networks: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    assert says in refused("compare", f"{networks}:classifier", "--images", tmp_path)


# Boxes -------------------------------------------------------------------------------------------------

OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>16</xmax><ymax>8</ymax>"
    "</bndbox></object>"
)


def test_pascal_vocs_files_give_boxes_in_its_order_of_classes(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(f"<annotation>{OBJECT.format('bird', 0)}{OBJECT.format('cat', 1)}</annotation>")
    (tmp_path / "b.xml").write_text("<annotation/>")
    labels = box_labels(tmp_path)
    boxes, classes = labels(tmp_path / "a.jpg", (32, 32))
    assert (boxes.tolist(), classes.tolist()) == ([[8, 0, 16, 8]], [2])
    assert labels(tmp_path / "b.jpg", (32, 32))[0].shape == (0, 4)
    (tmp_path / "c.xml").write_text(f"<annotation>{OBJECT.format('ant', 0)}{OBJECT.format('bird', 0)}</annotation>")
    assert box_labels(tmp_path)(tmp_path / "c.jpg", (32, 32))[1].tolist() == [0, 1]
    (tmp_path / "d.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(InputError, match=r"d\.xml"):
        box_labels(tmp_path)


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_boxes_in_a_letterbox_are_judged_by_map(kind: str, networks: str, tmp_path: Path) -> None:
    """A detector that finds all: each format says that the white square is there."""
    pytest.importorskip("pycocotools")
    names = [f"{n}.png" for n in range(4)]
    images = tmp_path / "images"
    images.mkdir()
    for name in names:
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:8, 8:16] = 255
        Image.fromarray(pixels).save(images / name)
    labels = tmp_path / "labels"
    labels.mkdir()
    for number in range(4):
        if kind == "yolo":
            (labels / f"{number}.txt").write_text("0 0.375 0.125 0.25 0.25\n")
        elif kind == "voc":
            (labels / f"{number}.xml").write_text(f"<annotation>{OBJECT.format('aeroplane', 0)}</annotation>")
    if kind == "coco":
        labels = labels / "boxes.json"
        content = {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": [{"image_id": n, "category_id": 1, "bbox": [8, 0, 8, 8]} for n in range(4)],
        }
        labels.write_text(json.dumps(content))
    words = ["--images", images, "--boxes", labels, "--letterbox", "yolox", "--size", "32", "--minutes", "0.01"]
    found = told("diagnose", f"{networks}:Detector", *words)
    output = found["comparison"]["outputs"]["8-bit"]
    assert output["figure"] == "mAP"
    assert output["float_score"] == pytest.approx(100)
