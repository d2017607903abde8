"""QD102."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call, ModuleUse


class ReusedModule(Rule):
    """A module that runs more than once in one forward.

    **Why it hurts.** A range is kept for each module: two uses share it, and the one with the smaller values loses bits
    to the other. A ReLU used after a convolution and again after a sum is the common case. qdiag itself gives every use
    an address and a range of its own, so that nothing is computed wrongly here; tools that hook modules do not, and on
    them the ranges of such a module are a mixture.

    **Fix.** Make one module for each use; `fix_model` does it on a copy. State-free modules have no keys in the
    state_dict, so that pretrained weights load as before. Modules with weights that are shared on purpose, as a head
    over the levels of a pyramid, can stay: look at the ranges of each use in a comparison. Modules that keep the range
    (max pooling, Flatten, Dropout) are harmless.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md): the same module should not
    be re-used, as in torchvision's ResNet.
    """

    code = "QD102"
    name = "reused-module"
    title = "module that runs more than once"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        calls = _calls_within(context)
        for path, uses in _reused(context.trace.uses).items():
            if any(call.kind is not OperationKind.SAME_RANGE for call in calls[path]):
                yield self._changing(context, path, uses)
            else:
                why = f"A {uses[0].type.__name__} that runs {len(uses)} times; harmless, as it keeps the range."
                yield self.finding(
                    path, why, _fix(context, path, uses), severity="note", source=uses[1].source, cause="same range"
                )

    def _changing(self, context: LintContext, path: str, uses: list[ModuleUse]) -> Finding:
        kind = uses[0].type.__name__
        if not any(name.startswith(path + ".") for name in context.parameters):
            lines = ", ".join(dict.fromkeys(str(use.source) for use in uses if use.source))
            why = f"One {kind} runs {len(uses)} times ({lines}): its uses share one range."
            return self.finding(path, why, _fix(context, path, uses), source=uses[1].source, cause=f"uses at {lines}")
        why = (
            f"A {kind} with weights runs {len(uses)} times. Sharing weights is fine; its tensors have a range for each "
            "use, which a tool that keeps one for each module mixes."
        )
        fix = f"cmp = compare(model, loader)  # and look at {path}, {path}#1 …: are their ranges alike?"
        return self.finding(
            path, why, fix, severity="note", source=uses[1].source, cause=f"{len(uses)} uses with weights"
        )

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.relu = nn.ReLU()

            def forward(self, x: Tensor) -> Tensor:
                x = self.relu(self.bn1(self.conv1(x)))
                return self.relu(self.bn2(self.conv2(x)))  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("relu",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.relu1 = nn.ReLU()
                self.relu2 = nn.ReLU()

            def forward(self, x: Tensor) -> Tensor:
                x = self.relu1(self.bn1(self.conv1(x)))
                return self.relu2(self.bn2(self.conv2(x)))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


def _reused(uses: tuple[ModuleUse, ...]) -> dict[str, list[ModuleUse]]:
    """The uses of each module that runs more often than the module around it."""
    by_path: dict[str, list[ModuleUse]] = defaultdict(list)
    for use in uses:
        if "<" not in use.path:  # made in the forward: another module each time
            by_path[use.path].append(use)
    return {path: found for path, found in by_path.items() if len(found) > _runs_of_parent(path, by_path)}


def _runs_of_parent(path: str, by_path: dict[str, list[ModuleUse]]) -> int:
    """How often the nearest module around this one ran; containers that only hold modules (ModuleList) never do."""
    parent = path.rpartition(".")[0]
    while parent and parent not in by_path:
        parent = parent.rpartition(".")[0]
    return len(by_path[parent]) if parent else 1


def _calls_within(context: LintContext) -> dict[str, list[Call]]:
    """The operations on features that ran in each module or in a module inside it."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in context.features:
        parts = call.site.path.split(".")
        for end in range(1, len(parts) + 1):
            found[".".join(parts[:end])].append(call)
    return found


def _fix(context: LintContext, path: str, uses: list[ModuleUse]) -> str:
    module, name = context.modules[path], path.rpartition(".")[2]
    is_torchs = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    made = f"nn.{module!r}" if is_torchs else f"{type(module).__name__}(…)"
    stem = type(module).__name__.lower() if name.isdigit() else name
    lines = [f"self.{stem}{i} = {made}" for i in range(1, len(uses) + 1)]
    return "\n".join(["# in __init__, one for each use in forward:", *lines])
