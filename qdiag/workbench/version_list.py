"""Every version of a session beside float: what it loses, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.export.verification import Verification
from qdiag.planning.cost import PlanCost, plan_cost
from qdiag.report.chart import Chart
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report
from qdiag.report.table import Table
from qdiag.workbench.history import History
from qdiag.workbench.session_parts import cost_chart, history_table


@dataclass(frozen=True, repr=False)
class VersionList(Displayable):
    """Versions side by side, the pinned ones first.

    Attributes:
        model_name: The model's class.
        names: Of the versions, in the order of the table, which has float before them.
        called: Their titles, or names where they have none.
        table: One row for each: its figures with their intervals, its cost, and what the user wrote beside it.
        chart: What each loses over what it costs; None where nothing was measured.
        costs: By name.
    """

    model_name: str
    names: tuple[str, ...]
    called: tuple[str, ...]
    table: Table
    chart: Chart | None
    costs: Mapping[str, PlanCost]

    def report(self) -> Report:
        """The table, and accuracy against cost."""
        blocks: list[Block] = [self.table]
        if self.chart is not None:
            blocks.append(self.chart)
        return Report(f"Versions of {self.model_name}", tuple(blocks), "versions")


def version_list(
    model_name: str, history: History, verifications: Mapping[str, Verification], float_score: float | None
) -> VersionList:
    """All versions of a history. Raises OptionError where there is none. float_score: see `history_table`."""
    applied = history.current if history else history.start
    versions = sorted(history.values(), key=lambda version: not version.is_pinned)
    costs = {version.name: plan_cost(version.quantized.plan) for version in versions}
    table = history_table(versions, applied, verifications, float_score, costs)
    names, called = (tuple(words) for words in zip(*((one.name, one.called) for one in versions), strict=True))
    return VersionList(model_name, names, called, table, cost_chart(versions, costs, float_score), costs)
