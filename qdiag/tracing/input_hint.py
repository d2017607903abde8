"""What may be wrong with inputs that a model raised an error on."""

from collections.abc import Sequence

from torch import Tensor, nn


def input_hint(model: nn.Module, inputs: Sequence[tuple[str, Tensor]]) -> str:
    """A sentence to end the error with. inputs: by name."""
    integer = [name for name, tensor in inputs if not tensor.is_floating_point()]
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if integer and dtypes:
        return f" {integer[0]} is of an integer type: convert it to float and normalise it as in training."
    given = {tensor.dtype for _, tensor in inputs}
    if dtypes and not given <= dtypes:
        return f" The model's weights are {', '.join(map(str, dtypes))}: convert the inputs to that type."
    if inputs and all(tensor.ndim == 3 for _, tensor in inputs):
        return (
            " Each was one image without a batch: pass [N, C, H, W]; for a model that takes lists of images, "
            "each batch is such a list, as in [[image, image], [image, image]]."
        )
    return " Does the model run on these inputs without qdiag?"
