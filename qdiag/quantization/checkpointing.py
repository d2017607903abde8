"""Gradient checkpointing inside a model, which cannot be followed."""

import sys
from types import FrameType

from torch.utils import checkpoint

from qdiag.errors import ModelError
from qdiag.tracing.site import Site
from qdiag.tracing.source import is_caller


def refuse_checkpointing(site: Site) -> None:
    """Raises ModelError for a forward that runs a layer under `torch.utils.checkpoint`.

    The backward would run it a second time, in float and with no address: gradients would be of another network.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_caller(frame):
        if frame.f_code.co_filename == checkpoint.__file__:
            raise ModelError(
                f"site {str(site)!r} runs under torch.utils.checkpoint, whose second run in the backward cannot be "
                "rounded as the first. Switch gradient checkpointing off for this training, as with "
                "model.set_grad_checkpointing(False) in timm; smaller batches save memory too.",
                code="gradient-checkpointing",
            )
        frame = frame.f_back
