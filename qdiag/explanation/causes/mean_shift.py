"""An error that does not average out."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

SHIFT = 0.05


class MeanShift(Cause):
    """The quantized tensor's mean is off, so that every later layer inherits a bias (arXiv:1906.04721, section 4.2)."""

    name = "mean-shift"
    title = "the mean is shifted"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        shift = suspect.error.added.get("mean_shift") or 0.0
        noise = suspect.error.added_noise
        if abs(shift) < SHIFT or not noise:
            return None
        return cls.evidence(
            min(1.0, shift**2 / noise) * 0.8,
            f"this layer alone moves the mean of its output by {shift:+.2f} standard deviations",
            "bias correction",
        )
