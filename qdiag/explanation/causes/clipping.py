"""Values outside the format."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

CLIPPED_PERCENT = 0.1
MANY_PERCENT = 1.0


class Clipping(Cause):
    """More than one value in a thousand lies outside the range: calibration saw other images than these."""

    name = "clipping"
    title = "values are clipped"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        clipped = error.accumulated.get("clipped_percent") or 0.0
        if clipped <= CLIPPED_PERCENT:
            return None
        unlike = ": the range was calibrated on other images than these" if clipped > MANY_PERCENT else ""
        return cls.evidence(
            error.clipped_share,
            f"{clipped:.2f} % of the float values lie outside {error.format}, which causes {error.clipped_share:.0%} "
            f"of the noise this layer adds{unlike}",
            "calibrate on more images, or on images like these",
        )
