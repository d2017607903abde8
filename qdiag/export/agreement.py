"""How two sides' integers of one stored tensor agree."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdiag.report.cells import Code
from qdiag.report.table import Column


@dataclass(frozen=True)
class SiteAgreement:
    """How far the integers stored at one address lie apart, counted in steps of its format.

    values = equal + off_by_one + off_by_more. largest: the greatest distance.
    """

    site: str
    format: str
    values: int
    equal: int
    off_by_one: int
    off_by_more: int
    largest: int

    @classmethod
    def of(cls, site: str, format: str, distances: Counter[int]) -> "SiteAgreement":
        """distances: in steps, with how often each was met."""
        values, equal, by_one = distances.total(), distances[0], distances[1]
        return cls(site, format, values, equal, by_one, values - equal - by_one, max(distances, default=0))

    @property
    def cells(self) -> tuple[Code | str | int, ...]:
        """A row of `AGREEMENT_COLUMNS`."""
        counts = self.values, self.equal, self.off_by_one, self.off_by_more, self.largest
        return Code(self.site), self.format, *counts


AGREEMENT_COLUMNS = (
    Column("site", "stored tensor"),
    Column("format", "format"),
    Column("values", "values", align="right"),
    Column("equal", "equal", align="right"),
    Column("off_by_one", "off by one", align="right"),
    Column("off_by_more", "off by more", align="right"),
    Column("largest_steps", "largest", "steps", align="right"),
)


def first_differing(sites: Iterable[SiteAgreement]) -> SiteAgreement | None:
    """The first site in the forward's order where a value differs."""
    return next((site for site in sites if site.equal < site.values), None)


def distances(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> Counter[int]:
    """How often each distance in whole steps occurs; a fraction counts as the nearest whole one."""
    apart = np.rint(np.abs(found.astype(np.float64) - expected)).astype(np.int64)
    sizes, counts = np.unique(apart, return_counts=True)
    return Counter(dict(zip(sizes.tolist(), counts.tolist(), strict=True)))
