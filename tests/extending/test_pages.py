"""Every page on how to add something ends with a file that runs: found by entry points, it does what the page says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qdiag
from qdiag.errors import OptionError
from qdiag.explanation.causes.cause import CAUSES
from qdiag.export.engines.engine import ENGINES
from qdiag.linting.explain import explain_rule
from qdiag.linting.rule import RULES
from qdiag.numerics.metrics.metric import METRICS
from qdiag.planning.targets.target import TARGETS
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.techniques.technique import TECHNIQUES
from qdiag.registry import Registry
from tests.extending.installed import install, place
from tests.models import settle

PAGES = Path(__file__).parents[2] / "docs/extending"
SHOWN: dict[str, tuple[str, dict[Registry[Any], str]]] = {
    "rules": ("large_kernel", {RULES: "LargeKernel"}),
    "metrics": ("peak_sqnr", {METRICS: "PeakSqnr"}),
    "causes": ("coarse_input", {CAUSES: "CoarseInput"}),
    "methods": ("halved_ranges", {TECHNIQUES: "HalvedRanges", METHODS: "Patient"}),
    "targets": ("acme_target", {TARGETS: "Acme"}),
    "engines": ("acme_engine", {ENGINES: "AcmeEngine"}),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_this_very_file_and_its_entry_points(name: str) -> None:
    file, points = SHOWN[name]
    code = Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8")
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in text
    for found, cls in points.items():
        assert f'[project.entry-points."qdiag.{place(found)}"]' in text
        assert f':{cls}"' in text


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in request.param:
        install(*SHOWN[page], tmp_path, monkeypatch)


def with_pages(*pages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("installed", [pages], indirect=True, ids=["-".join(pages)])


@pytest.fixture
def net() -> nn.Module:
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
    return settle(nn.Sequential(*layers), images())


def images() -> Tensor:
    return torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@with_pages("rules")
def test_a_rule_runs_with_the_others_and_explains_itself(installed: None) -> None:
    rule = RULES["HOUSE1"]
    bad, good = rule.bad(), rule.good()
    assert tuple(finding.site for finding in qdiag.lint_model(bad.model, bad.inputs).by_rule("HOUSE1")) == bad.sites
    assert qdiag.lint_model(good.model, good.inputs).by_rule("large-kernel") == ()
    assert "slow core" in str(explain_rule("HOUSE1"))
    linear = qdiag.lint_model(nn.ReLU(), torch.zeros(1, 3))
    assert linear.inapplicable["HOUSE1"] == "the model has no layer with weights"


def test_no_test_leaves_anything_installed() -> None:
    assert "HOUSE1" not in RULES.members
    assert "peak_sqnr_db" not in METRICS.members


@with_pages("metrics")
def test_a_metric_is_a_column_of_every_comparison(installed: None, net: nn.Module) -> None:
    comparison = qdiag.compare(net, images())
    layer = comparison.layer("0").lanes["8-bit"]
    with torch.no_grad():
        reference = net[:3](images())  # type: ignore[index]
    peak, power = reference.abs().max() ** 2, reference.square().mean()
    expected = layer.accumulated["sqnr_db"] + 10 * float(torch.log10(peak / power))  # type: ignore[operator]
    assert layer.accumulated["peak_sqnr_db"] == pytest.approx(expected, abs=0.01)
    assert "peak_sqnr_db" in comparison.to_pandas().columns


@with_pages("causes")
def test_a_cause_convicts_where_its_evidence_is(installed: None, net: nn.Module) -> None:
    data = images() * 0.51  # half a bit of eight, as uint8 from 0 to 1
    data[:, 1:] *= 0.02
    convicted = qdiag.explain(qdiag.compare(net, data, bits=(8,), calibration_data=images() * 40))
    causes = {str(culprit.layer.site): [one.cause for one in culprit.evidence] for culprit in convicted.culprits}
    assert "coarse-input" in causes[":input"]
    fine = qdiag.explain(qdiag.compare(net, images(), bits=(8,)))
    assert all(one.cause != "coarse-input" for culprit in fine.culprits for one in culprit.evidence)


@with_pages("methods")
def test_a_technique_and_a_method_are_called_by_their_names(installed: None, net: nn.Module) -> None:
    data = images()
    data[0, 0, 0, 0] = 40.0  # one value that no network needs
    simple, halved = (qdiag.calibrate(net, data, method) for method in ("simple", ["halved-ranges"]))
    found, before = halved.format(":input"), simple.format(":input")
    assert found is not None
    assert before is not None
    assert found.clip < before.clip
    (applied,) = qdiag.calibration_report(halved).applied
    assert applied.kept
    assert applied.after.output_db > applied.before.output_db
    names = [one.name for one in qdiag.calibration_report(qdiag.calibrate(net, data, "patient")).applied]
    assert names == ["halved-ranges", "gptq"]


@with_pages("targets")
def test_a_target_rounds_and_adds_in_its_own_way(installed: None, net: nn.Module) -> None:
    acme, tidl = (qdiag.calibrate(net, images(), "simple", target=name) for name in ("acme", "tidl"))
    assert [layer.accumulator_bits for layer in acme.plan.layers if layer.is_weighted] == [24, 24]
    format = acme.format("0")
    assert format is not None
    tie = torch.tensor([0.5]) * format.tensor_scale
    assert float(format.rounding(tie / format.tensor_scale)) == 0
    assert format.rounding is not tidl.format("0").rounding  # type: ignore[union-attr]


@with_pages("targets", "engines")
def test_an_engine_gets_its_own_folder(installed: None, net: nn.Module, tmp_path: Path) -> None:
    quantized = qdiag.calibrate(net, images(), "simple", target="acme")
    exported = qdiag.export_target(quantized, tmp_path / "out", images(), target="acme", style="qdq")
    assert list(exported.files) == ["model.onnx", "acme.cfg", "README.txt"]
    assert "calibrate=0  # weights and ranges are final" in (tmp_path / "out/acme.cfg").read_text()
    with pytest.raises(OptionError, match="style='qdq'") as refused:
        qdiag.export_target(quantized, tmp_path / "refused", images(), target="acme")
    assert refused.value.code == "engine-version"
    assert not (tmp_path / "refused").exists()
