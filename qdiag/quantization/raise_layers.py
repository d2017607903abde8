"""Layers that are to have more bits, chosen within a budget."""

from typing import Any

from qdiag.planning.cost import operations
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.plan import QuantPlan
from qdiag.progress import Steps
from qdiag.quantization.alone_errors import alone_errors_steps
from qdiag.quantization.quantized_model import QuantizedModel


def raised_steps(model: QuantizedModel, data: Any, budget: MacBudget) -> Steps[QuantPlan]:
    """The model's plan with those layers raised that gain most for their cost, as many as the budget allows."""
    plan = model.plan
    errors = yield from alone_errors_steps(model, data)
    costs = {layer.site: operations(plan, layer) for layer in plan.layers}
    left = budget.percent / 100 * sum(costs.values())
    chosen = []
    for site in sorted(errors, key=lambda site: -errors[site] / max(1, costs[site])):
        if errors[site] > 0 and costs[site] <= left:
            chosen.append(site)
            left -= costs[site]
    return plan.with_bits(chosen, budget.raised, str(budget))
