"""A module of its own for every use of one without weights."""

import copy

from torch import fx, nn

from qdiag.fixing.edit import Edit, edit_of, new_name
from qdiag.fixing.functions import written


def with_own_modules(module: nn.Module, graph: fx.Graph, path: str) -> list[Edit]:
    """Give each further call of a child without weights a copy of it; the graph and the module's children change.

    Args:
        module: Whose forward it is.
        graph: Of its own forward.
        path: Of the module.
    """
    edits, seen = [], set()
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        child = module.get_submodule(str(node.target))
        if id(child) in seen and is_stateless(child):
            name = new_name(module, str(node.target).replace(".", "_") + "2")
            module.add_module(name, copy.deepcopy(child))
            node.target = name
            now = f"self.{name}({', '.join(map(str, node.args))})"
            edits.append(edit_of("reuse", path, node, f"self.{name} = {written(child)}", now))
        seen.add(id(child))
    return edits


def part_shared(model: nn.Module) -> list[Edit]:
    """Give each place of a module without weights that stands at several a copy of it; the model changes."""
    edits, seen = [], set[int]()
    for path, parent in list(model.named_modules()):
        for name, child in list(parent._modules.items()):
            if child is None or not is_stateless(child):
                continue
            if id(child) in seen:
                parent._modules[name] = copy.deepcopy(child)
                edits.append(Edit("reuse", path, None, f"self.{name} = {written(child)}", f"self.{name}(…)"))
            seen.add(id(child))
    return edits


def is_stateless(module: nn.Module) -> bool:
    """True for a module without parameters and buffers."""
    return not any(True for _ in module.parameters()) and not any(True for _ in module.buffers())
