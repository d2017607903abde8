"""Pictures of the workbench on the demo network, light, dark and in a narrow window, as the README shows them.

python -m tests.browser.screenshots docs
"""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.lab import jupyterlab
from tests.conftest import CHROMIUM_OPTIONS

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_workbench.ipynb"
SHOTS = {
    "workbench": ("JupyterLab Light", 1440, 900),
    "workbench_dark": ("JupyterLab Dark", 1160, 900),
    "workbench_narrow": ("JupyterLab Light", 700, 900),
}
"""By file name: theme, and width and height of the window in pixels. At 1160 the page has 993, as beside a file browser
at 1440."""
COLOURS = 128
"""In the file: enough for flat colours, and a quarter of its size."""


def take(browser: Any, theme: str, width: int, height: int) -> bytes:
    """The workbench, after the checks and one what-if."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copy(NOTEBOOK, home)
        with jupyterlab(home, {"@jupyterlab/apputils-extension/themes": {"theme": theme}}) as lab:
            page = browser.new_page(viewport={"width": width, "height": height})
            lab.open(page, NOTEBOOK.name)
            errors = lab.run_all(page)
            if errors:
                raise SystemExit(f"the notebook fails: {errors}")
            page.locator(".qd-effect", has_text="→").wait_for()
            page.locator(".qd-overview .js-plotly-plot").wait_for()
            page.locator(".qd-workbench").evaluate("e => e.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(2000)  # plotly's last redraw
            shot: bytes = page.locator(".qd-workbench").screenshot()
            page.close()
            return shot


def main(folder: Path) -> None:
    with sync_playwright() as playwright:
        chromium = shutil.which(os.environ.get("CHROMIUM", "chromium"))
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        for name, (theme, width, height) in SHOTS.items():
            picture = Image.open(io.BytesIO(take(browser, theme, width, height))).convert("RGB").quantize(COLOURS)
            picture.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
