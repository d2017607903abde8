"""Telling whether a file from earlier goes with the model and the data at hand."""

import hashlib
from typing import Any

from torch import nn

from qdiag.contents import contents_of
from qdiag.tracing.batches import Batches


def model_digest(model: nn.Module) -> str:
    """Another one as soon as a parameter or buffer has another name or other values."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return digest([(name, contents_of(tensor)) for name, tensor in tensors])


def data_digest(data: Batches) -> str:
    """Another one as soon as the first batch is another. Raises InputError for data that the model cannot be run on."""
    return digest([(name, contents_of(tensor)) for name, tensor in data.first.inputs.tensors()])


def digest(facts: Any) -> str:
    """Of what the facts' repr tells."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
