"""What a network stores, read off torch.fx's graph of it: a second opinion, which shares no code with the library."""

import copy
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from qdiag.blocks import AddBlock, CatBlock
from qdiag.loading.modules import Cat

WEIGHTED = (nn.Conv2d, nn.Linear)
NORM = (nn.BatchNorm1d, nn.BatchNorm2d)
CLAMPS = (nn.ReLU, nn.ReLU6)
POOLS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
CURVES = (nn.SiLU, nn.Sigmoid)
BLOCKS = {AddBlock: "add", CatBlock: "cat", Cat: "cat"}
LEAVES = (*WEIGHTED, *NORM, *CLAMPS, *POOLS, *CURVES, *BLOCKS, nn.MaxPool2d, nn.Upsample)
FROM_FILES = Cat.__module__
"""What loaded files are made of beside torch's own."""
SUMS = {operator.add: "add", operator.iadd: "add", torch.add: "add", operator.mul: "mul", torch.cat: "cat"}
MEANS = (F.adaptive_avg_pool2d, F.avg_pool2d, torch.mean)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_leaf = isinstance(module, LEAVES) or type(module).__module__ == FROM_FILES
        return is_leaf or super().is_leaf_module(module, name)


@dataclass(frozen=True)
class Stored:
    """A tensor that fixed point rounds: what computes it first, the BatchNorm in it, and where it is whole.

    name: the module's path, or the owner's with the operation after a colon.
    """

    name: str
    first: fx.Node
    norm: fx.Node | None
    end: fx.Node


def graph_of(model: nn.Module) -> fx.GraphModule:
    """A copy of the model as a graph, in eval mode."""
    model = copy.deepcopy(model).eval()
    return fx.GraphModule(model, _Tracer().trace(model))


def stored(net: fx.GraphModule) -> tuple[Stored, ...]:
    """In the order of the forward; the input leads."""
    return tuple(_stored(net))


def _stored(net: fx.GraphModule) -> Iterator[Stored]:
    for node in net.graph.nodes:
        module = module_of(net, node)
        if node.op == "placeholder":
            yield Stored(":input", node, None, node)
        elif isinstance(module, WEIGHTED):
            then = only_user(node)
            norm = then if isinstance(module_of(net, then), NORM) else None
            yield Stored(str(node.target), node, norm, _after_clamp(net, norm or node))
        elif isinstance(module, POOLS):
            yield Stored(f"{node.target}:pool", node, None, node)
        elif isinstance(module, CURVES):
            yield Stored(str(node.target), node, None, node)
        elif type(module) in BLOCKS:
            yield Stored(f"{node.target}:{BLOCKS[type(module)]}", node, None, _after_clamp(net, node))
        elif node.op == "call_function" and node.target in SUMS:
            yield Stored(f"{owner(node)}:{SUMS[node.target]}", node, None, _after_clamp(net, node))
        elif node.target in MEANS or (node.op == "call_method" and node.target == "mean"):
            yield Stored(f"{owner(node)}:pool", node, None, node)


def owner(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def module_of(net: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    return net.get_submodule(str(node.target)) if node is not None and node.op == "call_module" else None


def only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def is_clamp(net: fx.GraphModule, node: fx.Node | None) -> bool:
    if node is None:
        return False
    functions = (F.relu, F.relu6, torch.relu, F.hardtanh, "relu", "relu_")
    return isinstance(module_of(net, node), CLAMPS) or node.target in functions


def _after_clamp(net: fx.GraphModule, node: fx.Node) -> fx.Node:
    then = only_user(node)
    return then if then is not None and is_clamp(net, then) else node


@torch.no_grad()
def fold(net: fx.GraphModule) -> fx.GraphModule:
    """BatchNorms put into the convolutions before them, in place; the forward is the same function."""
    for one in stored(net):
        layer, norm = module_of(net, one.first), module_of(net, one.norm)
        if not isinstance(layer, nn.Conv2d) or not isinstance(norm, NORM):
            continue
        assert norm.running_mean is not None
        assert norm.running_var is not None
        ones, zeros = torch.ones_like(norm.running_var), torch.zeros_like(norm.running_mean)
        gain = (ones if norm.weight is None else norm.weight) / (norm.running_var + norm.eps).sqrt()
        before = zeros if layer.bias is None else layer.bias
        bias: Tensor = (before - norm.running_mean) * gain + (zeros if norm.bias is None else norm.bias)
        layer.weight.copy_(layer.weight * gain.view(-1, 1, 1, 1))
        layer.bias = nn.Parameter(bias, requires_grad=False)
        assert one.norm is not None
        net.set_submodule(str(one.norm.target), getattr(norm, "act", nn.Identity()))  # timm's holds its activation
    return net
