"""The report in every face, and what it leaves behind: nothing."""

import json
import random

import numpy as np
import pytest
import torch
from torch import nn

from qdiag.demo.load import load_demo
from qdiag.errors import ModelError
from qdiag.linting.finding import SEVERITIES
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.tracing.site import Site


@pytest.fixture(scope="module")
def wild() -> LintReport:
    demo = load_demo("wild")
    return lint_model(demo.model, torch.zeros(1, 1, 16, 16), demo.optimizer)


def test_wild_demo_shows_what_was_built_into_it(wild: LintReport) -> None:
    assert [f.site for f in wild.by_rule("missing-batchnorm")] == ["stem"]
    assert [f.sites for f in wild.by_rule("reused-module")] == [tuple(f"block{i}.relu" for i in (1, 2, 3, 4))]
    assert ("block2:add", "block4:add") in [f.sites for f in wild.by_rule("functional-operation")]
    (decay,) = wild.by_rule("small-weight-decay")
    assert decay.why == "Group 1 of this SGD has a weight decay of 0: 4 depthwise weights."
    (stretched,) = wild.by_rule("uneven-channels")
    assert (stretched.site, stretched.severity) == ("block3.depthwise", "error")


def test_healthy_demo_has_no_warning() -> None:
    demo = load_demo("healthy")
    report = lint_model(demo.model, torch.zeros(1, 1, 16, 16), demo.optimizer)
    assert [(finding.severity, finding.name) for finding in report.findings] == [("note", "depthwise-convolution")]
    assert report.exit_code == 0


def test_findings_are_sorted_by_severity(wild: LintReport) -> None:
    ranks = [SEVERITIES.index(finding.severity) for finding in wild.findings]
    assert ranks == sorted(ranks)
    assert [wild.count(severity) for severity in SEVERITIES] == [ranks.count(0), ranks.count(1), ranks.count(2)]


def test_exit_code_follows_fail_on() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    codes = [lint_model(net, torch.zeros(1, 3, 4, 4), fail_on=severity).exit_code for severity in SEVERITIES]
    assert codes == [0, 1, 1]


def test_text_names_the_line_the_reason_and_the_fix(wild: LintReport) -> None:
    text = str(wild)
    assert "1 error, " in text
    assert "demo/networks.py:" in text
    assert "self.stem_bn = nn.BatchNorm2d(16)" in text
    assert "Group 1 of this SGD has a weight decay of 0: 4 depthwise weights." in text


def test_pandas_has_one_row_a_finding(wild: LintReport) -> None:
    frame = wild.to_pandas()
    assert list(frame.columns) == ["severity", "code", "name", "site", "places", "source"]
    assert len(frame) == len(wild.findings)
    assert frame[frame.code == "QD102"].places.item() == 4


def test_json_has_every_site_and_line(wild: LintReport) -> None:
    data = json.loads(wild.to_json())["data"]
    assert data["counts"] == {severity: wild.count(severity) for severity in SEVERITIES}
    reused = next(finding for finding in data["findings"] if finding["code"] == "QD102")
    assert reused["sites"] == [f"block{i}.relu" for i in (1, 2, 3, 4)]
    assert reused["file"].endswith("networks.py")
    assert isinstance(reused["line"], int)


def test_html_is_written(wild: LintReport) -> None:
    page = wild.to_html()
    assert "missing-batchnorm" in page
    assert "nn.BatchNorm2d(16)" in page


def test_findings_of_a_site_are_those_of_its_operation_module_and_tensors(wild: LintReport) -> None:
    assert {f.code for f in wild.by_site("block3.depthwise")} == {"QD201", "QD305", "QD405"}
    assert [f.site for f in wild.by_site("block3.depthwise")] == [
        "block3.depthwise",
        "block3.depthwise.weight",
        "block3.depthwise",
    ]
    assert [f.code for f in wild.by_site(Site("block1.relu", "relu", 1, True))] == ["QD102"]
    assert [f.code for f in wild.by_site("block2:add")] == ["QD103"]
    assert wild.by_site("block2") == ()


def test_clean_report_says_so() -> None:
    report = lint_model(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2))
    assert report.findings == ()
    assert "Nothing found by" in str(report)


def test_model_is_left_as_it_was() -> None:
    demo = load_demo("wild")
    model = demo.model.train()
    model.get_submodule("block1.relu").eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)

    lint_model(model, torch.zeros(1, 1, 16, 16), demo.optimizer)

    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_model_that_does_not_run_says_where() -> None:
    with pytest.raises(ModelError, match=r"expected input.* channels"):
        lint_model(nn.Sequential(nn.Conv2d(3, 8, 3)), torch.zeros(1, 4, 8, 8))
