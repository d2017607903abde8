"""Whether the user's own figure can tell anything: before any word on what is lost of it."""

import math
from collections.abc import Mapping

from qdiag.comparison.output_error import OutputError
from qdiag.explanation.trouble import Trouble

NOTHING = 0.02
"""Of the best of the user's figure, below which float does not do what the figure is of."""


def figure_trouble(outputs: Mapping[str, OutputError]) -> Trouble | None:
    """The first that applies; None without such a figure, and where it can be trusted. outputs: by lane."""
    scored = {name: output for name, output in outputs.items() if output.score is not None}
    found = [_no_number(name, output) for name, output in scored.items()]
    found += [_low(output) for output in list(scored.values())[-1:]]
    found += [_not_own(name, output) for name, output in scored.items()]
    return next((one for one in found if one is not None), None)


def _no_number(name: str, output: OutputError) -> Trouble | None:
    """NaN, and an infinite one, but that of a version which loses everything, as a logarithm of nothing does."""
    reached, own = output.float_score, output.score
    assert reached is not None, "of outputs with a figure"
    assert own is not None, "of outputs with a figure"
    if math.isfinite(reached) and (math.isfinite(own) or own == -math.inf):
        return None
    who, figure = ("Float itself", reached) if not math.isfinite(reached) else (name, own)
    text = (
        "It can be held against nothing. Does it divide by how many were found, or take a logarithm? Let it give a "
        "number for every model: the worst one, where nothing was found."
    )
    return Trouble("cannot-judge", f"{who} reaches {figure:g} in {output.figure}.", text)


def _low(output: OutputError) -> Trouble | None:
    """Where float's own figure is so low that nothing can be lost of it."""
    reached, best = output.float_score, output.score_best
    assert reached is not None, "of outputs with a figure"
    told = f"Float itself reaches {reached:.2g} in {output.figure}"
    if best is not None and reached < NOTHING * best and best > 0:
        text = (
            "Other labels, other classes, boxes of another format, weights that were not loaded, or images prepared in "
            "another way than in training do that. What 8 bits change cannot be told from a network that does not work."
        )
        return Trouble("float-is-wrong", f"{told}, of {best:g}.", text)
    if reached == 0 == output.score and best != 0:
        text = (
            "Does it see what the network gives, and are there labels of all images? What 8 bits change cannot be told "
            "by a figure that is 0; of an error, of which 0 is the best, say so by evaluate.best = 0."
        )
        return Trouble("cannot-judge", f"{told}, and so does every version.", text)
    return None


def _not_own(name: str, output: OutputError) -> Trouble | None:
    """Where the function never called the version: another model's figure says nothing of it."""
    if output.score_is_own:
        return None
    text = (
        "It was given the version as its argument, and gave float's figure without a call of that. Let it call what it "
        "is given, as in evaluate=lambda version: accuracy(version(images)), and neither the model itself nor the "
        "version's .module or .forward."
    )
    return Trouble(
        "cannot-judge", f"{output.figure[:1].upper()}{output.figure[1:]} is not of the {name} version.", text
    )
