"""What may be wrong with inputs that a model raised an error on."""

from collections.abc import Mapping

from torch import nn

from qdiag.tracing.inputs import Inputs, parameters_of_forward


def input_hint(model: nn.Module, given: Inputs) -> str:
    """A sentence to end the error with."""
    parts = _parts_of_a_batch(model, given)
    if parts:
        return f" If these are parts of a batch, say which are the images and which the labels: {parts}."
    inputs = given.tensors()
    integer = [name for name, tensor in inputs if not tensor.is_floating_point()]
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if integer and dtypes:
        return f" {integer[0]} is of an integer type: convert it to float and normalise it as in training."
    if dtypes and not {tensor.dtype for _, tensor in inputs} <= dtypes:
        return f" The model's weights are {', '.join(map(str, dtypes))}: convert the inputs to that type."
    if inputs and all(tensor.ndim == 3 for _, tensor in inputs):
        return (
            " Each was one image without a batch: pass [N, C, H, W]; for a model that takes lists of images, "
            "each batch is such a list, as in [[image, image], [image, image]]."
        )
    return " Does the model run on these inputs without qdiag?"


def _parts_of_a_batch(model: nn.Module, given: Inputs) -> str:
    """How to take a batch apart, where the model got a dict, or more than its forward takes; "" elsewhere."""
    first = given.args[0] if given.args else None
    if isinstance(first, Mapping) and len(first) > 1:
        image, label, *_ = (repr(name) for name in first)
        return f"batch=lambda batch: (batch[{image}], batch[{label}])"
    parameters = parameters_of_forward(model).values()
    takes_any = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if parameters and not takes_any and len(given.args) > len(parameters):
        images = next((n for n, one in enumerate(given.args) if getattr(one, "ndim", 0) == 4), 0)
        labels = images + 1 if images + 1 < len(given.args) else 0
        return f"batch=lambda batch: (batch[{images}], batch[{labels}])"
    return ""
