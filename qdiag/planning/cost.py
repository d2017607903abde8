"""What a layer costs the target."""

import math
from collections.abc import Iterable

from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.site import Site


def operations(plan: QuantPlan, layer: Layer) -> int:
    """Multiply-accumulates of a weighted layer; one for each value that another one stores. Of the traced images."""
    if layer.is_input:
        return math.prod(plan.trace.inputs[layer.site.occurrence].shape)
    call = plan.trace[layer.site]
    stored = math.prod(call.outputs[0].shape)
    weight = call.tensor("weight") if layer.is_weighted else None
    if weight is None:
        return stored
    # Each weight that leads to an output, or away from an input of a transposed convolution, is used once for it.
    ends = math.prod(call.inputs[0].shape) if layer.is_transposed else stored
    return ends * math.prod(weight.shape[1:])


def share_percent(plan: QuantPlan, sites: Iterable[Site]) -> float:
    """These layers' part in the operations of the whole network, in percent."""
    costs = {layer.site: operations(plan, layer) for layer in plan.layers}
    return 100 * sum(costs[site] for site in sites) / max(1, sum(costs.values()))
