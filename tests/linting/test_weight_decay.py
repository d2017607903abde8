"""QD201 and QD202 on the recipes that people write."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from qdiag.errors import OptionError
from qdiag.linting.lint import lint_model

IMAGE = torch.zeros(1, 4, 8, 8)


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )


def reason(model: nn.Module, optimizer: Optimizer) -> str:
    """Why the one finding; "" where there is none."""
    report = lint_model(model, IMAGE, optimizer, select="QD201")
    assert len(report.findings) <= 1
    return report.findings[0].why if report.findings else ""


def test_every_kind_of_parameter_is_counted_for_itself() -> None:
    model = net()
    assert reason(model, SGD(model.parameters(), lr=0.1)) == (
        "Group 0 of this SGD has a weight decay of 0: 1 depthwise weights, 1 BatchNorm scales (γ), "
        "1 BatchNorm shifts (β), 1 weights, 1 biases."
    )


def test_one_ten_thousandth_is_enough_and_less_is_not() -> None:
    model = net()
    assert reason(model, SGD(model.parameters(), lr=0.1, weight_decay=1e-4)) == ""
    why = reason(model, SGD(model.parameters(), lr=0.1, weight_decay=1e-5))
    assert "of 1e-05, under the recommended 0.0001" in why


def test_groups_are_told_apart() -> None:
    model = net()
    groups: list[dict[str, Any]] = [
        {"params": model[4].parameters(), "weight_decay": 1e-4},
        {"params": [model[0].weight, model[1].weight]},
    ]
    report = lint_model(model, IMAGE, SGD(groups, lr=0.1), select="QD201")
    (finding,) = report.findings
    assert finding.sites == ("0.weight", "1.weight")
    assert finding.why.startswith("Group 1 of")
    assert finding.fix.startswith("optimizer.param_groups[1]['weight_decay'] = 1e-4")


def test_frozen_parameters_are_skipped() -> None:
    model = net().requires_grad_(False)
    model[4].requires_grad_(True)
    assert reason(model, SGD(model.parameters(), lr=0.1)).endswith("of 0: 1 weights, 1 biases.")


def test_adamw_is_told_that_its_decay_is_decoupled() -> None:
    model = net()
    assert "AdamW multiplies it by the learning rate" in reason(model, AdamW(model.parameters(), weight_decay=0.0))


@pytest.mark.parametrize(("decay", "found"), [(1e-4, True), (5e-3, True), (1e-2, False)])
def test_adamw_is_judged_by_what_its_decay_does(decay: float, found: bool) -> None:
    model = net()
    for optimizer in (AdamW(model.parameters(), weight_decay=decay), _decoupled_adam(model, decay)):
        assert bool(lint_model(model, IMAGE, optimizer, select="QD201").findings) is found


def _decoupled_adam(model: nn.Module, decay: float) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), weight_decay=decay, decoupled_weight_decay=True)


def test_without_an_optimizer_the_report_says_what_was_not_checked() -> None:
    report = lint_model(net(), IMAGE)
    assert set(report.inapplicable) == {"QD201", "QD202"}
    assert "no optimizer was given" in str(report)


def test_optimizer_of_another_model_is_one_error() -> None:
    report = lint_model(net(), IMAGE, SGD(net().parameters(), lr=0.1), select="QD202")
    (finding,) = report.findings
    assert (finding.severity, report.exit_code) == ("error", 1)
    assert "none of this model's 5 parameters" in finding.why


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(OptionError, match="dict, without param_groups"):
        lint_model(net(), IMAGE, {"weight_decay": 1e-4})  # type: ignore[arg-type]
