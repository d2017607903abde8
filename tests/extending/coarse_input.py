"""The network's input is stored coarsely: a cause of our own."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

POOR_DB = 35.0


class CoarseInput(Cause):
    """Images fill their format badly: their noise is there before the first layer, and no calibration mends it."""

    name = "coarse-input"
    title = "images are stored coarsely"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        sqnr = suspect.error.added.get("sqnr_db")
        if suspect.layer.site.op != "input" or sqnr is None or sqnr >= POOR_DB:
            return None
        return cls.evidence(
            suspect.error.rounded_share,
            f"as {suspect.error.format} the images themselves are at {sqnr:.0f} dB",
            "normalize images so that they fill a power of two, or give the input 16 bits",
        )
