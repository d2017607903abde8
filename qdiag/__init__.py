"""qdiag: why does a CNN that works in float fail in 8-bit fixed point, and what mends it?

The names below are in the order in which a user meets them; everything else is an inner room's own. docs/glossary.md
says which word stands for which thing, in here as on the pages.
"""

from importlib.metadata import version
from typing import Any

from qdiag.blocks import AddBlock, CatBlock, MulBlock, ResizeWith, resize_with
from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.inspect import inspect
from qdiag.demo.load import load_demo
from qdiag.errors import InputError, ModelError, OptionError, QdiagError, QdiagWarning, SiteNotFound
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.explain import explain
from qdiag.export.compare_dump import compare_dump
from qdiag.export.device_errors import DumpComparison
from qdiag.export.export_onnx import export_onnx
from qdiag.export.export_target import export_target
from qdiag.export.exported_model import ExportedModel
from qdiag.export.repair_file import repair_file
from qdiag.export.repaired_file import RepairedFile
from qdiag.export.target_files import TargetExport
from qdiag.export.verification import Verification
from qdiag.export.verify import verify
from qdiag.fixing.fix_model import fix_model
from qdiag.fixing.fixed_model import FixedModel
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.loading.load_model import load_model
from qdiag.numerics.pact2 import PACT2
from qdiag.pipeline import diagnose
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Widths
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.calibration_report import calibration_report
from qdiag.quantization.equalize import equalize
from qdiag.quantization.load_formats import GivenVersion, load_formats
from qdiag.quantization.modules import QuantCalibrateModule, QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.sensitivity import sensitivity
from qdiag.quantization.sensitivity_result import Sensitivity
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.quantization.what_if import what_if
from qdiag.subject import Subject
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Trace
from qdiag.tracing.tracer import trace
from qdiag.training.recipe import Recipe
from qdiag.training.training_result import TrainingResult
from qdiag.weights import load_weights

__version__ = version("qdiag")

__all__ = [
    "load_demo",
    "load_model",
    "load_formats",
    "trace",
    "lint_model",
    "fix_model",
    "calibrate",
    "calibration_report",
    "what_if",
    "equalize",
    "compare",
    "inspect",
    "sensitivity",
    "explain",
    "diagnose",
    "train",
    "Recipe",
    "export_onnx",
    "verify",
    "repair_file",
    "export_target",
    "compare_dump",
    "Workbench",
    "QuantTrainModule",
    "QuantCalibrateModule",
    "QuantTestModule",
    "PACT2",
    "AddBlock",
    "CatBlock",
    "MulBlock",
    "ResizeWith",
    "resize_with",
    "load_weights",
    "MacBudget",
    "Widths",
    "Subject",
    "Inputs",
    "Site",
    "Trace",
    "LintReport",
    "FixedModel",
    "QuantizedModel",
    "GivenVersion",
    "Comparison",
    "Sensitivity",
    "Diagnosis",
    "TrainingResult",
    "ExportedModel",
    "Verification",
    "RepairedFile",
    "TargetExport",
    "DumpComparison",
    "QdiagError",
    "InputError",
    "ModelError",
    "OptionError",
    "SiteNotFound",
    "QdiagWarning",
]


def __getattr__(name: str) -> Any:
    """`Workbench` and `train` on first use: what they need takes seconds to load, which a script need not wait for."""
    if name == "Workbench":
        from qdiag.workbench.workbench import Workbench

        return Workbench
    if name == "train":
        from qdiag.training.train import train

        return train
    raise AttributeError(f"module 'qdiag' has no attribute {name!r}")
