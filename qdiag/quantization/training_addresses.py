"""Which operation of the traced forward one of a forward in train mode is."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import final

from qdiag.errors import QdiagWarning
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.operations import OperationKind, kind_of
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source

Place = tuple[str, str]
"""A module's path and an operation."""


@final
class TrainingAddresses:
    """Finds functional operations by their line of code, where a forward in train mode is another than in eval mode.

    Their addresses count them: one that runs in training alone, as on a detector's targets, shifts those after it. The
    first forward tells whether there are such; without any, addresses are taken as they come, which costs nothing.

    are_known: after the first forward. are_traced: addresses are the trace's own.
    """

    def __init__(self, plan: QuantPlan):
        self.sites: dict[tuple[Place, Source | None], list[Site]] = defaultdict(list)
        self.ends: Counter[Place] = Counter()
        for call in plan.trace.calls:
            place = call.site.path, call.site.op
            self.ends[place] = max(self.ends[place], call.site.occurrence + 1)
            if not call.site.named_by_module:
                self.sites[place, call.source].append(call.site)
        self.stored = {layer.sites[-1] for layer in plan.layers if layer.output is not None}
        self.are_known = self.are_traced = False

    def forward(self) -> "AddressesOfForward | None":
        """For one forward; None where there is nothing to find."""
        return None if self.are_traced else AddressesOfForward(self)

    def learn(self, found: "AddressesOfForward", unplanned: Collection[Site]) -> None:
        """Take up what the first forward told, and warn of what training computes otherwise than inference.

        unplanned: sites that ran and are in no plan.
        """
        self.are_known, self.are_traced = True, not found.moved
        missed = {
            str(site)
            for (place, source), sites in self.sites.items()
            if place in found.beyond and (place, source) not in found.seen
            for site in sites
            if site in self.stored and site not in found.claimed
        }
        if missed:
            _warn(
                f"{len(missed)} operation(s) stand on other lines in train mode than in eval mode, and are trained in "
                f"float: {_some(missed)}. Where that is the network, and no loss, use the same lines in both modes."
            )
        extra = {str(site) for site in unplanned if kind_of(site.op) is OperationKind.WEIGHTED}
        if extra:
            _warn(
                f"{len(extra)} layer(s) with weights run in train mode alone, and are trained in float: {_some(extra)}."
            )


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:3])


def _warn(text: str) -> None:
    warnings.warn(text, QdiagWarning, stacklevel=4)


@final
class AddressesOfForward:
    """Gives each operation of one forward the address that it has in the trace; else one beyond all of the trace's.

    A line that runs more often than it was traced, as for further images, goes on with its last address.
    """

    def __init__(self, known: TrainingAddresses):
        self.known, self.moved = known, False
        self.seen: Counter[tuple[Place, Source | None]] = Counter()
        self.beyond: Counter[Place] = Counter()
        self.claimed: set[Site] = set()

    def __call__(self, site: Site, source: Callable[[], Source | None], expected: Site | None) -> Site:
        """The address. source: tells where the operation stands. expected: what the layer under way goes on with."""
        if site.named_by_module:
            return site
        place, place_of_expected = (site.path, site.op), expected and (expected.path, expected.op)
        key = place, source()
        number, traced = self.seen[key], self.known.sites.get(key, ())
        self.seen[key] += 1
        if expected is not None and place == place_of_expected:
            found = expected
        elif traced:
            found = traced[min(number, len(traced) - 1)]
        else:
            found = Site(*place, self.known.ends[place] + self.beyond[place])
            self.beyond[place] += 1
        self.claimed.add(found)
        self.moved |= found != site
        return found
