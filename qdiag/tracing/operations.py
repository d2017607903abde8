"""What kind of thing an operation does to a tensor's range: the one table that planning and linting read."""

import enum
from collections.abc import Callable
from typing import Any

import torch


class OperationKind(enum.Enum):
    """How an operation matters to fixed point."""

    WEIGHTED = "multiplies by weights and accumulates"
    NORM = "batch normalization"
    CLIP = "activation that bounds or bends the range, computed in the layer before it"
    ACTIVATION = "activation function that stands alone"
    ELEMENTWISE = "elementwise arithmetic"
    CONCAT = "concatenation"
    POOL = "average over values"
    RESIZE = "interpolation"
    NORMALIZE = "normalization over values of the same input"
    PRODUCT = "product of two computed tensors"
    SAME_RANGE = "moves or selects values, so that the format stays"
    OTHER = "not an operation that fixed-point inference engines run as a layer"


_KINDS = {
    OperationKind.WEIGHTED: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear",
    OperationKind.NORM: "batch_norm",
    OperationKind.CLIP: "relu hardtanh relu6 clamp clip clamp_min clamp_max leaky_relu prelu",
    OperationKind.ACTIVATION: (
        "sigmoid silu hardswish hardsigmoid gelu elu selu celu tanh softplus mish softsign logsigmoid rrelu "
        "hardshrink softshrink tanhshrink threshold glu softmax log_softmax swish"
    ),
    OperationKind.ELEMENTWISE: "add sub mul div true_divide maximum minimum neg addcmul lerp",
    OperationKind.CONCAT: "cat concat concatenate stack",
    OperationKind.POOL: (
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean "
        "lp_pool1d lp_pool2d"
    ),
    OperationKind.RESIZE: "interpolate upsample upsample_bilinear grid_sample roi_align ps_roi_align deform_conv2d",
    OperationKind.NORMALIZE: "layer_norm group_norm instance_norm local_response_norm normalize rms_norm",
    OperationKind.PRODUCT: (
        "matmul bmm mm einsum baddbmm addmm scaled_dot_product_attention multi_head_attention_forward"
    ),
    OperationKind.SAME_RANGE: (
        "view reshape flatten unflatten permute transpose movedim swapaxes contiguous clone detach getitem chunk "
        "split tensor_split unbind squeeze unsqueeze expand expand_as repeat tile narrow select dropout dropout1d "
        "dropout2d dropout3d alpha_dropout feature_dropout max_pool1d max_pool2d max_pool3d "
        "max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d pixel_shuffle "
        "pixel_unshuffle channel_shuffle pad roll flip to float t data rearrange unfold fold max_unpool2d "
        "roi_pool view_as reshape_as type_as cpu cuda positive constant_pad_nd index_select"
    ),
}
_KIND_OF = {op: kind for kind, ops in _KINDS.items() for op in ops.split()}

_SPELLINGS = {
    "truediv": "div", "itruediv": "div", "rtruediv": "div", "rdiv": "div", "iadd": "add", "radd": "add",
    "isub": "sub", "rsub": "sub", "imul": "mul", "rmul": "mul", "multiply": "mul", "subtract": "sub", "divide": "div",
    "T": "transpose", "mT": "transpose", "H": "transpose", "mH": "transpose", "rmatmul": "matmul", "ipow": "pow",
    "hardtanh_": "hardtanh", "convolution": "conv2d",
}  # fmt: skip

# Names of arguments in torch's positional order, for the operations whose options qdiag reads.
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_SIGNATURES: dict[str, tuple[str, ...]] = {
    **{f"conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": _CONV_TRANSPOSE for d in (1, 2, 3)},
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "hardtanh": ("input", "min_val", "max_val", "inplace"),
    "clamp": ("input", "min", "max"),
    "clip": ("input", "min", "max"),
    "leaky_relu": ("input", "negative_slope", "inplace"),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), ("input", "p", "training", "inplace")),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), ("input", "p", "training", "inplace")),
    "interpolate": (
        "input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias",
    ),
    "add": ("input", "other"),
    "sub": ("input", "other"),
    "mul": ("input", "other"),
    "div": ("input", "other"),
    "cat": ("tensors", "dim"),
    "stack": ("tensors", "dim"),
    "pad": ("input", "pad", "mode", "value"),
    "constant_pad_nd": ("input", "pad", "value"),
}  # fmt: skip


_SPELLINGS_OF_ARGUMENTS = {"self": "input", "train": "training"}
_BUILTIN_BATCH_NORM = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")


# Operations that draw at random, at least in training.
RANDOM = {
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"),
    *("rand_like", "randn_like", "randint_like", "bernoulli", "multinomial", "poisson", "normal", "uniform", "random"),
    *("exponential", "rrelu", "gumbel_softmax", "scaled_dot_product_attention", "multi_head_attention_forward"),
}


def kind_of(op: str) -> OperationKind:
    """The kind of an operation by its canonical name; OTHER for one that the table does not hold."""
    return _KIND_OF.get(op, OperationKind.OTHER)


def canonical(name: str) -> str:
    """One name for an operation's spellings: `relu_`, `__iadd__`, `add.Tensor` become relu, add, add.

    >>> canonical("__iadd__"), canonical("relu_"), canonical("conv2d.default"), canonical("__getitem__")
    ('add', 'relu', 'conv2d', 'getitem')
    """
    name = name.partition(".")[0].strip("_") or name
    return _SPELLINGS.get(name, name)


def bind(
    op: str, args: tuple[Any, ...], kwargs: dict[str, Any], function: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Arguments by name, as far as the operation's signature is in the table; positions past it are "arg0" ….

    function: that was called; some of one name take their arguments in another order than torch.nn.functional's.

    >>> bind("hardtanh", ("x", 0.0, 6.0), {"inplace": True})
    {'input': 'x', 'min_val': 0.0, 'max_val': 6.0, 'inplace': True}
    """
    schema = getattr(function, "_schema", None)  # an operator of an exported graph, as torch.ops.aten.conv2d.default
    if schema is not None:
        own = [_SPELLINGS_OF_ARGUMENTS.get(argument.name, argument.name) for argument in schema.arguments]
        kwargs = {_SPELLINGS_OF_ARGUMENTS.get(name, name): value for name, value in kwargs.items()}
        return dict(zip(own, args, strict=False)) | kwargs
    names = _BUILTIN_BATCH_NORM if function is torch.batch_norm else _SIGNATURES.get(op, ("input",))
    named = {names[i] if i < len(names) else f"arg{i}": value for i, value in enumerate(args)}
    return named | kwargs


def replace_arguments(
    op: str, args: tuple[Any, ...], kwargs: dict[str, Any], new: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with some arguments exchanged by name, in the place where each was given."""
    names = _SIGNATURES[op]
    positional = [new.get(name, value) for name, value in zip(names, args, strict=False)]
    by_name = {name: value for name, value in new.items() if name not in names[: len(args)]}
    return (*positional, *args[len(names) :]), kwargs | by_name
