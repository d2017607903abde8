"""A JupyterLab of the tests' own, sealed off from the user's, and how to drive it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "test"
# JupyterLab's news pop-up would cover a corner of the page.
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}

READY = """async () => { const a = window.jupyterapp; await a.restored; const w = a.shell.currentWidget;
  await w.revealed; await w.sessionContext.ready; await w.sessionContext.session.kernel.info; }"""
RUN_ALL = """async () => { const a = window.jupyterapp; await a.commands.execute('notebook:run-all-cells');
  return a.shell.currentWidget.content.model.sharedModel.cells.flatMap(c => c.cell_type == 'code'
    ? c.toJSON().outputs.filter(o => o.output_type == 'error').map(o => o.ename + ': ' + o.evalue) : []); }"""


LATE = "[anywidget] Failed to initialize model."
"""What anywidget raises two seconds after a widget begins, whether its script comes later or not: a busy machine."""


def page_errors(page: Any) -> list[str]:
    """Errors of the page's own scripts, as they come."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)) if LATE not in str(error) else None)
    return found


@dataclass(frozen=True)
class Lab:
    """A running server. home: the folder that it serves."""

    home: Path
    url: str

    def open(self, page: Any, notebook: str) -> list[str]:
        """Open a notebook alone, with a live kernel. Returns the list that outside requests will be added to."""
        outside: list[str] = []
        inside = (self.url, self.url.replace("http", "ws"), "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(inside) else outside.append(r.url))
        page.set_default_timeout(180_000)
        page.goto(f"{self.url}/doc/tree/{notebook}?token={TOKEN}")
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
        page.evaluate(READY)
        return outside

    def show(self, page: Any, selector: str) -> None:
        """Scroll until something lies wholly in the window: the notebook lays out cells only as they come near."""
        for _ in range(60):
            page.locator(selector).first.evaluate("e => e.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(300)
            box = page.locator(selector).first.bounding_box()
            if box is not None and 0 <= box["y"] <= page.viewport_size["height"] - min(box["height"], 900):
                return
        raise AssertionError(f"{selector} did not come into view")

    def run_all(self, page: Any) -> list[str]:
        """Run every cell to its end; returns the errors, which Run All itself does not raise."""
        errors: list[str] = page.evaluate(RUN_ALL)
        return errors


@contextmanager
def jupyterlab(home: Path, settings: Mapping[str, object] | None = None) -> Iterator[Lab]:
    for name, value in {**SETTINGS, **(settings or {})}.items():
        file = home / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    folders = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    folders |= {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(home / folder) for name, folder in folders.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        f"--port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={home}",
    ]
    options += [f"--IdentityProvider.token={TOKEN}", "--no-browser", "--allow-root"]
    options += ["--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
    log = home / "lab.log"
    with log.open("w") as stream:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield _started(server, Lab(home, f"http://127.0.0.1:{port}"), log)
        finally:
            server.terminate()
            server.wait(30)


def _started(server: subprocess.Popen[bytes], lab: Lab, log: Path) -> Lab:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{lab.url}/api/status?token={TOKEN}").close()
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        else:
            return lab
