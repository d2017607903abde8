"""Pictures of the workbench, light, dark and in a narrow window, as the README and the docs show them.

python -m tests.browser.screenshots docs [name …]
"""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.lab import jupyterlab
from tests.browser.test_workbench import notebook
from tests.conftest import CHROMIUM_OPTIONS

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "notebooks" / "04_workbench.ipynb"
DEEP = f"""
import sys
import torch
sys.path.insert(0, {str(REPOSITORY / "examples")!r})
from imagenet_efficientnet_lite0 import build
from qdiag import Workbench
torch.manual_seed(0)
bench = Workbench(build(), torch.rand(8, 3, 64, 64) * 2 - 1, folder=None)
bench
"""
"""A network of 61 layers with its real weights; noise in place of images, which is enough to draw it."""


TRIED = """
from qdiag import MacBudget, Workbench, load_demo
demo = load_demo("wild")
bench = Workbench(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader, folder=None)
session = bench.session
session.diagnose()
session.what_if("block3.depthwise", bits=16)
session.what_if("block3.depthwise", per_channel=True)
session.calibrate("simple", bits=MacBudget(percent=20))
session.calibrate("advanced")
session.calibrate("simple", bits=16)
session.annotate("advanced", note="needs no wider formats", pinned=True)
session.annotate("block3.depthwise: 16-bit", title="one wide layer", note="ask for the cycles")
bench.refresh()
bench
"""


@dataclass(frozen=True)
class Shot:
    """theme: of JupyterLab. width: of the window; at 1160 the page has 993, as beside a file browser at 1440.

    notebook: a file, or the code of its only cell. clicks: what is pressed after the checks. seen: waited for, last.
    """

    theme: str
    width: int
    notebook: Path | str = DEMO
    clicks: tuple[str, ...] = ()
    seen: str = ".qd-overview .js-plotly-plot"


LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
GRAPH = Shot(LIGHT, 1440, DEEP, (".qd-form button:nth-child(2)",), ".qd-box")
IMAGES = Shot(LIGHT, 1440, DEMO, (".qd-view button:nth-child(3)", ".qd-look"), ".qd-images .qd-pictures")
VERSIONS = Shot(LIGHT, 1440, TRIED, (".qd-view button:nth-child(5)",), ".qd-costs .js-plotly-plot")
SHOTS = {
    "workbench": Shot(LIGHT, 1440),
    "workbench_dark": Shot(DARK, 1160),
    "workbench_narrow": Shot(LIGHT, 700),
    "workbench_graph": GRAPH,
    "workbench_graph_dark": replace(GRAPH, theme=DARK, width=1160),
    "workbench_images": IMAGES,
    "workbench_images_dark": replace(IMAGES, theme=DARK, width=1160),
    "workbench_versions": VERSIONS,
    "workbench_versions_dark": replace(VERSIONS, theme=DARK, width=1160),
}
"""By file name."""
HEIGHT = 900
COLOURS = 256
"""In the file: enough for flat colours, and a third of its size."""


def take(browser: Any, shot: Shot) -> bytes:
    """The workbench after the checks."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if isinstance(shot.notebook, Path):
            shutil.copy(shot.notebook, home / "shot.ipynb")
        else:
            notebook(home / "shot.ipynb", shot.notebook)
        with jupyterlab(home, {"@jupyterlab/apputils-extension/themes": {"theme": shot.theme}}) as lab:
            page = browser.new_page(viewport={"width": shot.width, "height": HEIGHT})
            lab.open(page, "shot.ipynb")
            errors = lab.run_all(page)
            if errors:
                raise SystemExit(f"the notebook fails: {errors}")
            if isinstance(shot.notebook, str):
                page.locator(".qd-run").click()
            page.locator(".qd-verdict-line").wait_for()
            page.locator(".qd-run:enabled").wait_for()
            for css in shot.clicks:
                page.locator(css).click()
            page.locator(shot.seen).first.wait_for()
            page.locator(".qd-run:enabled").wait_for()
            page.locator(".qd-workbench").evaluate("e => e.scrollIntoView({block: 'start'})")
            page.mouse.move(0, 0)
            page.wait_for_timeout(2000)  # plotly's last redraw
            taken: bytes = page.locator(".qd-workbench").screenshot()
            page.close()
            return taken


def main(folder: Path, wanted: Sequence[str]) -> None:
    with sync_playwright() as playwright:
        chromium = shutil.which(os.environ.get("CHROMIUM", "chromium"))
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        for name in wanted or SHOTS:
            picture = (
                Image.open(io.BytesIO(take(browser, SHOTS[name])))
                .convert("RGB")
                .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, 1)
            )
            picture.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
