"""Values outside the format."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

CLIPPED_PERCENT = 0.1


class Clipping(Cause):
    """More than one value in a thousand lies outside the range: calibration saw other images than these."""

    name = "clipping"
    title = "values are clipped"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        clipped = suspect.error.accumulated.get("clipped_percent") or 0.0
        if clipped <= CLIPPED_PERCENT:
            return None
        share = 1.0 - suspect.error.weight_share
        return cls.evidence(
            share * 0.9,
            f"{clipped:.2f} % of the float values lie outside {suspect.error.format}",
            "calibrate on more images, or on images like these",
        )
