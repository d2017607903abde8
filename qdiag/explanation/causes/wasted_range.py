"""A range far wider than anything in the data."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

WASTED_BITS = 2.5
"""A power of two wastes up to one bit by itself, an unused sign one more."""


class WastedRange(Cause):
    """The format's upper bits are never used: the range was calibrated on brighter images, or on a few extremes."""

    name = "wasted-range"
    title = "the range is far wider than the data"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        wasted = error.accumulated.get("wasted_bits") or 0.0
        if wasted < WASTED_BITS or error.rounded_share < 0.3:
            return None
        return cls.evidence(
            error.rounded_share,
            f"the largest value in the data leaves {wasted:.1f} bits of {error.format} unused: the range was "
            "calibrated on other images than these",
            "calibrate on images like these, prepared in the same way",
        )
