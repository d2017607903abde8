"""How many images a forward takes at once."""

import math

from qdiag.tracing.trace import Trace

# Values of the largest tensor that are worked on at once: what a processor's cache and allocator handle without
# going to the system for every tensor (measured: half the time of batches of 16 images at 224 x 224).
VALUES_AT_ONCE = 4_000_000


def images_at_once(traced: Trace) -> int:
    """As many images as keep the largest tensor small; a trace is of one or two images."""
    shapes = [value.shape for call in traced.calls for value in call.outputs if value.is_floating]
    largest = max((math.prod(shape) for shape in shapes), default=1)
    images = max((shape[0] for shape in shapes if len(shape) > 1), default=1)
    return max(1, VALUES_AT_ONCE * min(images, 2) // max(largest, 1))
