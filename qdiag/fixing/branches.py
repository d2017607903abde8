"""Parallel convolutions of one tensor as one, as RepVGG deploys what it trained (arXiv:2101.03697, 3.3).

A convolution with its BatchNorm is one affine map, a BatchNorm alone is one with a kernel of a single value, and so is
the tensor itself; smaller kernels are set into the middle of the largest. Their sum is a convolution again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qdiag.fixing.edit import Edit, edit_of, new_name
from qdiag.fixing.functions import written
from qdiag.fixing.own_forward import op_of
from qdiag.numerics.merge import NormState, merge
from qdiag.tracing.branches import Branch, ParallelBranches
from qdiag.tracing.trace import Call


def with_merged_branches(
    module: nn.Module, graph: fx.Graph, path: str, model: nn.Module, sums: Sequence[ParallelBranches]
) -> list[Edit]:
    """Put one convolution in the place of every sum of parallel ones; the graph and the module's children change.

    Args:
        module: Whose forward it is.
        graph: Of its own forward.
        path: Of the module.
        model: That the names of weights are of.
        sums: Of the model's trace.
    """
    edits = []
    additions = [node for node in graph.nodes if op_of(node) == "add"]  # in the order of the trace's occurrences
    for one in sums:
        if any(call.site.path != path or call.site.occurrence >= len(additions) for call in one.sums):
            continue
        nodes = [additions[call.site.occurrence] for call in one.sums]
        walked = _walked(module, nodes, one, path)
        if walked is None:
            continue
        source, between = walked
        conv = merged_convolution(model, one)
        name = new_name(module, "merged")
        module.add_module(name, conv.train(module.training))
        with graph.inserting_after(nodes[0]):
            call = graph.call_module(name, (source,))
        call.meta = dict(nodes[0].meta)
        nodes[0].replace_all_uses_with(call)
        _drop(module, graph, [*nodes, *between])
        edits.append(edit_of("branches", path, call, f"self.{name} = {written(conv)}", f"self.{name}({source})"))
    return edits


def merged_convolution(model: nn.Module, one: ParallelBranches) -> nn.Conv2d:
    """The convolution that computes the sum of these branches.

    Args:
        model: Holds their weights.
        one: Of its trace.
    """
    conv = one.convolutions[0]
    largest = max(one.convolutions, key=lambda call: call.inputs[1].shape[2:])
    kernel = largest.inputs[1].shape[2:]
    groups = conv.arguments.get("groups", 1)
    parts = [_affine(model, branch, groups, kernel) for branch in one.branches]
    weight, bias = (sum(part[i] for part in parts) for i in (0, 1))
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    options = {name: largest.arguments[name] for name in ("stride", "padding", "dilation") if name in largest.arguments}
    made = nn.Conv2d(weight.shape[1] * groups, len(weight), (kernel[0], kernel[1]), groups=groups, **options)
    own = model.get_parameter(_name(conv))
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)  # type: ignore[union-attr]
    return made.to(own.device, own.dtype)


def _affine(
    model: nn.Module, branch: Branch, groups: int, kernel: tuple[int, ...]
) -> tuple[Float[Tensor, "out per_group kh kw"], Float[Tensor, " out"]]:
    """Weight and bias of one branch in double precision, its kernel in the middle of one of this size."""
    if branch.conv is None:
        channels = branch.source.shape[1]
        weight = torch.zeros(channels, channels // groups, 1, 1, dtype=torch.float64)
        weight[torch.arange(channels), torch.arange(channels) % (channels // groups)] = 1
        bias = None
    else:
        weight = model.get_parameter(_name(branch.conv)).detach().double().cpu()
        given = branch.conv.tensor("bias")
        bias = None if given is None else model.get_parameter(given.name).detach().double().cpu()
    if branch.norm is not None:
        state = branch.norm.state(model).detached()
        gamma, beta = (None if part is None else part.double().cpu() for part in (state.weight, state.bias))
        exact = NormState(state.mean.double().cpu(), state.variance.double().cpu(), gamma, beta, state.eps)
        weight, bias = merge(weight, bias, exact)
    high, wide = (size - own for size, own in zip(kernel, weight.shape[2:], strict=True))
    weight = F.pad(weight, [wide // 2, wide // 2, high // 2, high // 2])
    return weight, weight.new_zeros(len(weight)) if bias is None else bias


def _name(conv: Call) -> str:
    weight = conv.tensor("weight")
    assert weight is not None
    return weight.name


def _walked(
    module: nn.Module, sums: Sequence[fx.Node], one: ParallelBranches, path: str
) -> tuple[fx.Node, list[fx.Node]] | None:
    """The node that all branches read, and those on the way from the sum to it, the last of the forward first.

    None where a branch does not begin in this forward.
    """
    starts, between = set[fx.Node](), list[fx.Node]()
    prefix = f"{path}." if path else ""
    inside = {site.path.removeprefix(prefix) for branch in one.branches for site in branch.sites}
    for operand in [operand for node in sums for operand in node.all_input_nodes]:
        node = operand
        while node not in sums and _is_in_branch(module, node, inside):
            between.append(node)
            node = node.all_input_nodes[0]
        if node not in sums:
            starts.add(node)
    return (starts.pop(), between) if len(starts) == 1 else None


def _is_in_branch(module: nn.Module, node: fx.Node, inside: set[str]) -> bool:
    """True for the call of a child that runs operations of a branch, or nothing but passes its input on."""
    if node.op != "call_module" or len(node.all_input_nodes) != 1:
        return False
    target = str(node.target)
    return isinstance(module.get_submodule(target), nn.Identity) or any(
        name == target or name.startswith(f"{target}.") for name in inside
    )


def _drop(module: nn.Module, graph: fx.Graph, nodes: Sequence[fx.Node]) -> None:
    """Take out those of these that nobody reads any more, and the children that nobody calls."""
    gone = set()
    for node in reversed([node for node in graph.nodes if node in nodes]):
        if not node.users:
            gone |= {str(node.target)} if node.op == "call_module" else set()
            graph.erase_node(node)
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    for target in gone - called:
        if not any(name.startswith(f"{target}.") for name in called):
            owner, _, name = target.rpartition(".")
            del module.get_submodule(owner)._modules[name]
