"""What every test gets: a fixed seed, its share of the cores, and, on request, the browser and the shared data."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from beartype._check.code import codemain
from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).parents[1]
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

# A test that asks for the fixture carries the mark, so that no selection by marks can miss it.
MARK_OF_FIXTURE = {"browser_type_launch_args": "browser", "shared_data": "data", "built_site": "site"}

# Shapes in signatures are checked at every call, from the first import of these modules on.
# To the checker an int is a float, as it is to mypy.
SHAPED = (
    *("qdiag.numerics", "qdiag.quantization.numerics", "qdiag.linting.layer_weight"),
    *("qdiag.detection.decode", "qdiag.detection.letterbox"),
)
install_import_hook(SHAPED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
# It draws which items of a list it looks at: from numbers of its own, since tests hold that none of Python's are drawn.
codemain.getrandbits = random.Random(0).getrandbits


def pytest_configure() -> None:
    """Shares the cores between the workers; the kernels and commands that tests start keep to the same share.

    Ctrl-C is heard, also where tests run in the background of a shell, which ignores it for them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max(1, (os.cpu_count() or 1) // workers)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in MARK_OF_FIXTURE.keys() & getattr(item, "fixturenames", ()):
            item.add_marker(MARK_OF_FIXTURE[fixture])
        if item.get_closest_marker("browser") or item.get_closest_marker("site"):
            # two browsers at once would be slow and unsteady; and the site is built once
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of image data sets, too large to keep here: $QDIAG_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("QDIAG_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no image data in {folder}; name its folder in $QDIAG_DATA")
    return folder


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    """The system's own Chromium, for pytest-playwright."""
    name = os.environ.get("CHROMIUM", "chromium")
    chromium = shutil.which(name)
    if chromium is None:
        reason = f"no browser {name!r}; install Chromium, or name one in $CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return {"executable_path": chromium, "args": CHROMIUM_OPTIONS}
