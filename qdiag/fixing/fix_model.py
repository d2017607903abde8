"""`fix_model()`: a copy of a model in which what lint finds is mended, where a machine can."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from qdiag.errors import ModelError
from qdiag.fixing.branches import with_merged_branches
from qdiag.fixing.edit import Edit
from qdiag.fixing.fixed_model import FixedModel, Left
from qdiag.fixing.functions import with_modules
from qdiag.fixing.observed import Seen, difference, observed
from qdiag.fixing.own_forward import know_shapes, own_graph, with_graph
from qdiag.fixing.reuse import part_shared, with_own_modules
from qdiag.fixing.unmendable import Unmendable
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.branches import ParallelBranches, parallel_branches
from qdiag.tracing.forward import forward
from qdiag.tracing.trace import Trace

SAME = 1e-4
"""Relative difference up to which outputs are equal: merged weights are rounded once more in float."""
MENDED = ("QD102", "QD103", "QD108")
"""The rules whose findings can be mended mechanically."""


def fix_model(model: nn.Module | Subject, data: Any = None) -> FixedModel:
    """A copy of the model in which what lint finds is mended where a machine can; outputs stay, held against float.

    Sums, products, concats, activations and poolings that are written as functions become modules of their own
    (QD103), a module without weights that runs twice gets one for each use (QD102), and parallel convolutions of one
    tensor become one (QD108). `state_dict` keys stay, but for merged branches. A block that is changed becomes a
    `torch.fx.GraphModule` of the same class name, with the same children, attributes and hooks; what only its author
    can change is left, with the line and the edit.

    Args:
        model: Left as it was; or a `Subject`, which holds the data as well.
        data: As for `compare`; two images of it run.

    Raises:
        ModelError: Where the model does not run, and where the copy does not compute what the model does.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    >>> fix_model(net, torch.zeros(1, 3, 8, 8)).edits
    ()
    >>> from qdiag.linting.rules.qd103_functional_operation import FunctionalOperation
    >>> bad = FunctionalOperation.bad()
    >>> fixed = fix_model(bad.model, bad.inputs)
    >>> [(edit.made, edit.now) for edit in fixed.edits]
    [('self.add = AddBlock()', 'self.add(x, bn)'), ('self.relu = nn.ReLU()', 'self.relu(add)')]
    """
    subject = Subject.of(model, data)
    found = lint_model(subject, select=MENDED)
    changed = copied(subject.model)
    edits, left = part_shared(changed), list[Left]()
    paths = _paths(subject.trace, found)
    seen, sums = observed(subject.model, subject.example, paths), parallel_branches(subject.trace)
    for path in paths:
        try:
            changed, more = _fixed(subject.model, changed, path, seen[path], sums)
            edits += more
        except Unmendable as error:
            left.append(Left(path, str(error)))
    apart = _difference(subject, changed)
    if apart > SAME:
        raise ModelError(
            f"the mended model's outputs differ from the model's by {apart:.1e} of their size, though each of its "
            "blocks computes what it did. Two blocks work on one tensor in place: mend what lint names by hand.",
            code="fix-changed-outputs",
        )
    remaining = lint_model(changed, subject.data, select=MENDED)
    return FixedModel(changed, tuple(edits), tuple(left), remaining, apart)


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model, hooks and all.

    Args:
        model: A module.

    Raises:
        ModelError: For a model that cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever the user's objects raise
        raise ModelError(
            f"the model cannot be copied: {error}. Detach tensors that a forward has left on it.", code="model-copy"
        ) from error


def _paths(trace: Trace, found: LintReport) -> list[str]:
    """The modules whose own forward has what is to be mended, the innermost first."""
    called = {use.path for use in trace.uses} | {""}
    paths = set()
    for finding in [one for group in found.findings for one in group.each() if one.severity != "note"]:
        path = trace[finding.site].site.path if finding.site in trace else finding.site
        if finding.code == "QD102" or path not in called:
            path = _nearest(path.rpartition(".")[0], called)
        paths.add(path)
    return sorted(paths, key=lambda path: (-len(path.split(".")) if path else 1, path))


def _nearest(path: str, called: set[str]) -> str:
    while path not in called:
        path = path.rpartition(".")[0]
    return path


def _fixed(
    original: nn.Module, model: nn.Module, path: str, seen: Seen, sums: Sequence[ParallelBranches]
) -> tuple[nn.Module, list[Edit]]:
    """The model with one module's forward mended, and how; unchanged where an error passes.

    original: holds the weights of the branches. sums: of its trace.
    """
    module = model.get_submodule(path)
    held = [(part, dict(part._modules)) for part in module.modules()]
    try:
        graph = own_graph(module)
        know_shapes(module, graph, seen)
        edits = with_merged_branches(module, graph, path, original, sums)
        edits += with_own_modules(module, graph, path)
        edits += with_modules(module, graph, path)
        made = with_graph(module, graph)
        args, kwargs = seen.copies()
        with borrow(made):
            apart = difference(seen.outputs, made.forward(*args, **kwargs))
        if apart > SAME:
            raise Unmendable("written with modules it does not compute the same, as it works in place")
    except Unmendable:
        for part, children in held:
            part._modules = children
        raise
    if not edits:
        return model, []
    return _exchanged(model, module, made), edits


def _exchanged(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with a module exchanged, wherever it stands."""
    if model is old:
        return new
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
    return model


def _difference(subject: Subject, changed: nn.Module) -> float:
    results = []
    for model in (subject.model, changed):
        with borrow(model):
            results.append(forward(model, subject.example.to_device_of(model).map(torch.clone)))
    return difference(*results)
