"""An error that does not average out."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

SHIFT = 0.05
LEAST_SHARE = 0.1


class MeanShift(Cause):
    """Channels' means are off, so that every later layer inherits a bias (arXiv:1906.04721, section 4.2)."""

    name = "mean-shift"
    title = "the mean is shifted"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        share = min(1.0, error.shift_noise / error.added_noise) if error.added_noise else 0.0
        if abs(error.shift) < SHIFT or share < LEAST_SHARE:
            return None
        return cls.evidence(
            share * 0.8,
            f"this layer alone moves the mean of channel {error.shifted_channel} by {error.shift:+.2f} of its standard "
            f"deviations, and such shifts are {share:.0%} of the noise it adds",
            "bias correction",
        )
