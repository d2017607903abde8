"""The pages of the API reference: which names stand where. What they say is in the docstrings."""

import inspect
from dataclasses import dataclass
from typing import Any

import qdiag
from qdiag.comparison.layer_error import LayerComparison, LayerError, WeightError
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.site_detail import SiteDetail
from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.next_step import NextStep
from qdiag.explanation.verdict import Verdict
from qdiag.export.engines.engine import Delivery, Engine, Setting
from qdiag.fixing.edit import Edit
from qdiag.fixing.fixed_model import Left
from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.planning.targets.target import Target
from qdiag.progress import LongWork, Progress
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.calibration_report import CalibrationReport
from qdiag.quantization.methods.method import Method
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.sensitivity_result import LayerSensitivity
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.registry import Registry
from qdiag.report.displayable import Displayable
from qdiag.tracing.trace import Call, Value
from qdiag.workbench.session import Session
from qdiag.workbench.version import Version


@dataclass(frozen=True)
class ReferencePage:
    """One page. values: functions and classes, in the order in which a reader meets them."""

    path: str
    title: str
    text: str
    values: tuple[Any, ...]


def public(*names: str) -> tuple[Any, ...]:
    """Of the package, by name."""
    return tuple(getattr(qdiag, name) for name in names)


PAGES = (
    ReferencePage(
        "data",
        "Models and data",
        "What goes in: a model, from Python or from a file, and the data that it is judged on.",
        (
            *public("Subject", "load_model", "load_formats", "GivenVersion", "load_weights", "load_demo"),
            *public("trace", "Trace", "Site", "Inputs"),
        ),
    ),
    ReferencePage(
        "lint",
        "Lint",
        "Reading a model.",
        (*public("lint_model", "LintReport", "fix_model", "FixedModel"), Finding, Edit, Left),
    ),
    ReferencePage(
        "calibration",
        "Calibration",
        "A float model and unlabeled images in, a model in fixed point out.",
        (
            *public("calibrate", "calibration_report", "what_if", "equalize", "MacBudget", "Widths", "QuantizedModel"),
            *(CalibrationReport, QuantPlan),
        ),
    ),
    ReferencePage(
        "diagnosis",
        "Comparison and diagnosis",
        "Where the error enters, and why.",
        (
            *public(
                "diagnose", "compare", "inspect", "sensitivity", "explain", "Comparison", "Sensitivity", "Diagnosis"
            ),
            *(
                LayerSensitivity,
                LayerComparison,
                LayerError,
                WeightError,
                OutputError,
                SiteDetail,
                Verdict,
                Culprit,
                NextStep,
            ),
        ),
    ),
    ReferencePage(
        "training",
        "Training",
        "Weights trained in fixed point, in a loop of your own or by `train`.",
        (
            *public("train", "Recipe", "TrainingResult"),
            *public("QuantTrainModule", "QuantCalibrateModule", "QuantTestModule"),
            *(QuantBaseModule, *public("PACT2")),
        ),
    ),
    ReferencePage(
        "export",
        "Export",
        "Files for the target, and what comes back from it. With the extra `qdiag[onnx]`.",
        public(
            *("export_onnx", "verify", "repair_file", "export_target", "compare_dump"),
            *("ExportedModel", "Verification", "RepairedFile", "TargetExport", "DumpComparison"),
        ),
    ),
    ReferencePage(
        "workbench", "Workbench", "The page, and its headless core.", (*public("Workbench"), Session, Version)
    ),
    ReferencePage(
        "blocks",
        "Blocks",
        "To build models with.",
        public("AddBlock", "MulBlock", "CatBlock", "ResizeWith", "resize_with"),
    ),
    ReferencePage(
        "results", "Results", "What every result can do, and how long work is run.", (Displayable, LongWork, Progress)
    ),
    ReferencePage(
        "errors",
        "Errors",
        "Each has a code: see [Errors](../errors.md).",
        public("QdiagError", "InputError", "ModelError", "OptionError", "SiteNotFound", "QdiagWarning"),
    ),
    ReferencePage(
        "extending",
        "To build on",
        "What the pages of [Build on it](../extending/index.md) tell of.",
        (
            *(
                Registry,
                Rule,
                Example,
                LintContext,
                Call,
                Value,
                Metric,
                Moments,
                FormatFacts,
                Cause,
                Suspect,
                Evidence,
            ),
            *(Method, Technique, Target, Engine, Delivery, Setting, Numerics, OwnWeights, Operands, Watchers, Layer),
        ),
    ),
)


def canonical(value: Any) -> str:
    """Where a name is defined, by which its place in the reference is known."""
    return f"{value.__module__}.{value.__name__}"


def reference_pages() -> dict[str, str]:
    """Text by path, the list of all public names first."""
    return {"reference/index.md": _index()} | {f"reference/{page.path}.md": _page(page) for page in PAGES}


def _page(page: ReferencePage) -> str:
    parts = [f"# {page.title}", page.text]
    return "\n\n".join([*parts, *(f"::: {canonical(value)}" for value in page.values)]) + "\n"


def _index() -> str:
    lines = ["# Reference", "", "`from qdiag import …` gives the names on the left."]
    for page in PAGES:
        rows = [value for value in page.values if value.__name__ in qdiag.__all__]
        if rows:
            lines += ["", f"## [{page.title}]({page.path}.md)", "", "| | |", "|---|---|"]
            lines += [f"| [`{v.__name__}`][{canonical(v)}] | {_first_sentence(v)} |" for v in rows]
    return "\n".join(lines) + "\n"


def _first_sentence(value: Any) -> str:
    paragraph = " ".join(inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0].split())
    return paragraph.replace("|", r"\|")
