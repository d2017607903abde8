"""What an exported file and a verification show: in a terminal, on a page, as JSON and as a table."""

import dataclasses
import math
from pathlib import Path

import pytest

from qdiag.export.agreement import SiteAgreement
from qdiag.export.device_errors import DumpComparison
from qdiag.export.dumped_site import DumpedSite
from qdiag.export.dumps.dump import DumpProblem
from qdiag.export.engines.engine import Setting
from qdiag.export.exported_model import ExportedModel
from qdiag.export.layer_alone import LayerAlone
from qdiag.export.range_file import TargetLayer
from qdiag.export.repaired_file import ChangedTensor, RepairedFile
from qdiag.export.runtime_layer import RuntimeLayer
from qdiag.export.target_files import TargetExport
from qdiag.export.verification import Verification
from qdiag.numerics.look_alikes import LookAlike
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.report.displayable import Displayable
from qdiag.report.to_html import render_fragment
from qdiag.report.to_text import render_text
from tests.report.golden import assert_golden
from tests.report.test_to_html import stripped

EXPORTED = ExportedModel(
    path=Path("model.onnx"),
    style="qdq",
    opset=18,
    inputs=("input",),
    outputs=("output",),
    names={":input": ":input int8", "conv": "conv uint8"},
    formats={":input": "int8 · 2^-5", "conv": "uint8 · 2^-4"},
    dynamic_batch=True,
)
EQUAL = Verification(
    model_name="Net",
    images=2,
    target="onnxruntime",
    is_rounding_exchanged=False,
    sites=(
        SiteAgreement(":input", "int8 · 2^-5", 6000, 6000, 0, 0, 0),
        SiteAgreement("conv", "uint8 · 2^-4", 16000, 16000, 0, 0, 0),
    ),
    output_values=16000,
    output_equal=16000,
    alone=(),
    alone_output_differing=0,
    watching_changes=0,
    kernels={"QLinearConv": 1, "QuantizeLinear": 1, "DequantizeLinear": 1},
    runtime="1.15.1",
)
DIFFERING = dataclasses.replace(
    EQUAL,
    target="tidl",
    is_rounding_exchanged=True,
    sites=(EQUAL.sites[0], SiteAgreement("conv", "uint8 · 2^-4", 16000, 15900, 96, 4, 17)),
    output_equal=15900,
    alone=(
        RuntimeLayer(
            SiteAgreement("conv", "uint8 · 2^-4", 16000, 15900, 96, 4, 17), is_exact=True, beyond_rounding=16.5
        ),
    ),
)


CONV = QParams(QType(8, signed=False), -4)
TARGET = TargetExport(
    model_name="Net",
    target="tidl",
    version="9.2",
    runtime="onnxruntime",
    folder=Path("for_tidl"),
    files={"model.onnx": "the network", "ranges.prototxt": "the range of every layer"},
    settings=(Setting("accuracy_level", 0, "no further calibration"),),
    exported=dataclasses.replace(EXPORTED, style="clips", names={":input": ":input", "conv": "output"}),
    layers=(
        TargetLayer("input", "TIDL_DataLayer", ":input", QParams(QType(8, signed=True), -5)),
        TargetLayer("output", "TIDL_ConvolutionLayer", "conv", CONV, QParams(QType(8, signed=True), -7)),
    ),
    wide=(),
    unlisted=("gelu_1",),
    floating={":cumsum": "cumsum is not a layer of the target"},
    simulated="onnxruntime",
    unverified="No tool of the engine has read it.",
)
DUMPED = DumpComparison(
    model_name="Net",
    images=1,
    simulation="8-bit",
    sites=(
        DumpedSite(
            EQUAL.sites[0],
            "input.npy",
            {"16-bit": 90.0, "8-bit": 40.0, "device": 40.0},
            math.inf,
            LayerAlone(EQUAL.sites[0]),
        ),
        DumpedSite(
            DIFFERING.sites[1],
            "conv.npy",
            {"16-bit": 88.0, "8-bit": 38.5, "device": 21.25},
            22.0,
            LayerAlone(
                SiteAgreement("conv", "uint8 · 2^-4", 16000, 15910, 86, 4, 16),
                LookAlike("bias lost", "the bias is not added", 97.5),
                is_wrong=True,
                output_percent=88.0,
                judged_with=("stem",),
            ),
        ),
        DumpedSite(
            dataclasses.replace(DIFFERING.sites[1], site="fc"),
            "fc.npy",
            {"16-bit": 88.0, "8-bit": 38.5, "device": 21.25},
            22.0,
            LayerAlone(
                SiteAgreement("fc", "uint8 · 2^-4", 16000, 15990, 10, 0, 1),
                LookAlike("rounding", "rounds half to even, and the simulation half up", 100.0),
                output_percent=2.5,
            ),
        ),
    ),
    problems=(
        DumpProblem("missing", "head", "was not dumped, or under a name that is not known here"),
        DumpProblem("mis-sized", "pool.npy", "is [1, 8], and the simulation stores [1, 16] here"),
    ),
    beside=("view_1.npy",),
    rounding="half to even",
    simulated_rounding="half up",
)
REPAIRED = RepairedFile(
    path=Path("repaired.onnx"),
    source=Path("model.onnx"),
    changes=(
        ChangedTensor("conv.weight", (8, 3, 3, 3), 0.25, 12.5, "conv", "weight", False, "equalization, gptq"),
        ChangedTensor("conv bias", (8,), 0.0625, None, "conv", "bias", True, "equalization, gptq"),
    ),
    output_difference=2e-6,
)
SHOWN = {
    "exported_model": EXPORTED,
    "verification": DIFFERING,
    "target_files": TARGET,
    "device_errors": DUMPED,
    "repaired_file": REPAIRED,
}


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
def test_every_face(name: str, shown: Displayable) -> None:
    assert_golden(f"{name}.txt", render_text(shown.report(), 100, everything=True))
    assert_golden(f"{name}.html", stripped(render_fragment(shown.report())))
    assert_golden(f"{name}.json", shown.to_json())


def test_tables_have_a_row_for_each_stored_tensor() -> None:
    table = DIFFERING.to_pandas()
    assert list(table["site"]) == list(EXPORTED.to_pandas()["site"]) == [":input", "conv"]
    assert list(table["equal"]) == [6000, 15900]
    assert list(table["largest_steps"]) == [0, 17]
    assert list(DIFFERING.to_pandas("kernels")["is_integer"]) == [True, False, False]


def headline(**changes: object) -> tuple[str, str, str]:
    callout = dataclasses.replace(EQUAL, **changes).report().blocks[0]  # type: ignore[arg-type]
    return callout.level, callout.headline, callout.text  # type: ignore[union-attr]


def one_off(*, is_exact: bool = False, beyond_rounding: float = 1e-5) -> dict[str, object]:
    """One integer differs, by one step, and that layer alone."""
    agreement = dataclasses.replace(EQUAL.sites[1], equal=15999, off_by_one=1, largest=1)
    return {"sites": (EQUAL.sites[0], agreement), "alone": (RuntimeLayer(agreement, is_exact, beyond_rounding),)}


def test_the_callout_is_as_grave_as_what_was_found() -> None:
    assert headline()[:2] == ("ok", "Every stored integer is the same.")
    level, text, why = headline(**one_off())
    assert (level, text) == ("note", "The same network: 1 integer falls to the other side of a rounding.")
    assert "1 of 2 layers differ" in why
    for wrong in (one_off(is_exact=True), one_off(beyond_rounding=0.03), one_off(beyond_rounding=math.nan)):
        assert headline(**wrong)[:2] == ("error", "1 of 2 layers compute other integers from the same inputs.")
        assert "The first is `conv`: 1 of 16,000 differ, by up to 1." in headline(**wrong)[2]
    assert headline(output_equal=15999)[:2] == ("error", "1 of the results' values differ.")
    assert headline(**one_off(), alone_output_differing=3)[0] == "error"


def test_sums_over_all_sites_and_the_exit_code() -> None:
    assert (DIFFERING.values, DIFFERING.equal, DIFFERING.off_by_one, DIFFERING.off_by_more) == (22000, 21900, 96, 4)
    assert DIFFERING.first_differing == DIFFERING.site("conv")
    assert DIFFERING.wrong == DIFFERING.alone
    assert EQUAL.first_differing is None
    assert (EQUAL.exit_code, DIFFERING.exit_code) == (0, 1)
    assert dataclasses.replace(EQUAL, **one_off()).exit_code == 0  # type: ignore[arg-type]
    assert dataclasses.replace(EQUAL, **one_off(is_exact=True)).exit_code == 1  # type: ignore[arg-type]
    assert dataclasses.replace(EQUAL, output_equal=15999).exit_code == 1  # its text says that results differ
    assert EQUAL.integer_kernels == 1


def test_wrong_layers_are_a_table_of_their_own() -> None:
    table = DUMPED.to_pandas("alone")
    assert list(table["site"]) == ["conv", "fc"]
    assert list(table["kind"]) == ["bias lost", "rounding"]
    assert list(table["output_percent"]) == [88.0, 2.5]
    assert [site.agreement.site for site in DUMPED.wrong] == ["conv"]
