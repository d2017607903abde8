"""The modules that torch's own operators are recorded from."""

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import fx, nn

from qdiag.blocks import AddBlock
from qdiag.loading.modules import Cat, Interpolate, Reshape, operation
from qdiag.tracing.operations import canonical

Layer = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
Converter = Callable[[dict[str, Any]], Layer | None]
Tensors = Callable[[Any], Any]
"""The program's own tensor that an argument stands for; None for anything else."""


class Overload(nn.Module):
    """An operator as it was recorded."""

    def __init__(self, target: Any):
        super().__init__()
        self.target = target

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return overload, (self.target,), self.__dict__


def overload(target: Any) -> Overload:
    """A module that is named after the operator, so that an address is its path alone."""
    return _class_for(canonical(target.__name__))(target)


@cache
def _class_for(name: str) -> type[Overload]:
    return type(name.title().replace("_", ""), (Overload,), {"__doc__": f"`{name}` as it was recorded."})


def layer(node: fx.Node, tensors: Tensors) -> Layer | None:
    """The module for an operator, and what it is called with; None for one that has no module."""
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    arguments = _bound(node)
    if name in _WITH_WEIGHTS:
        return _WITH_WEIGHTS[name](arguments, tensors)
    make = _PLAIN.get(name)
    return None if make is None else make(arguments)


def _bound(node: fx.Node) -> dict[str, Any]:
    """Arguments by the operator's own names, defaults among them."""
    schema = node.target._schema  # type: ignore[union-attr]
    found = {arg.name: arg.default_value for arg in schema.arguments if arg.has_default_value()}
    found |= {arg.name: value for arg, value in zip(schema.arguments, node.args, strict=False)}
    return found | dict(node.kwargs)


def _own(arguments: dict[str, Any], tensors: Tensors, *names: str) -> list[Any] | None:
    """Tensors of the program by their arguments' names, None for what is not given; nothing where one is computed."""
    found = []
    for name in names:
        given = arguments.get(name)
        tensor = tensors(given)
        if given is not None and tensor is None:
            return None
        found.append(tensor)
    return found


def _parameter(tensor: Any) -> Any:
    return tensor if tensor is None or isinstance(tensor, nn.Parameter) else nn.Parameter(tensor.detach())


def _holding(module: Any, weight: Any, bias: Any, call: tuple[Any, ...]) -> Layer:
    module.weight, module.bias = _parameter(weight), _parameter(bias)
    return module, call, {}


def _convolution(make: Callable[..., nn.Module]) -> Callable[[dict[str, Any], Tensors], Layer | None]:
    def convert(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
        own = _own(arguments, tensors, "weight", "bias")
        if own is None:
            return None
        weight, bias = own
        groups = arguments["groups"]
        transposed = "output_padding" in arguments
        channels = (
            (weight.shape[0], weight.shape[1] * groups) if transposed else (weight.shape[1] * groups, len(weight))
        )
        names = ("stride", "padding", "dilation", *(("output_padding",) if transposed else ()))
        options = {name: _lengths(arguments[name], weight.ndim - 2) for name in names}
        module = make(*channels, tuple(weight.shape[2:]), groups=groups, bias=bias is not None, **options)
        return _holding(module, weight, bias, (arguments["input"],))

    return convert


def _lengths(value: Any, axes: int) -> Any:
    """One number for each axis, or the rule "same" or "valid"."""
    if isinstance(value, str):
        return value
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return numbers * axes if len(numbers) == 1 else numbers


def _linear(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
    own = _own(arguments, tensors, "weight", "bias")
    if own is None:
        return None
    weight, bias = own
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return _holding(module, weight, bias, (arguments["input"],))


def _batch_norm(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
    own = _own(arguments, tensors, "weight", "bias", "running_mean", "running_var")
    if own is None or own[2] is None or arguments["training"]:
        return None
    weight, bias, mean, variance = own
    axes = arguments["input"].meta["val"].ndim
    make = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[axes]
    module: Any = make(len(mean), arguments["eps"], arguments["momentum"], affine=weight is not None)
    module.running_mean, module.running_var = mean, variance
    return _holding(module, weight, bias, (arguments["input"],))


def _layer_norm(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
    own = _own(arguments, tensors, "weight", "bias")
    if own is None:
        return None
    module = nn.LayerNorm(list(arguments["normalized_shape"]), arguments["eps"])
    return _holding(module, own[0], own[1], (arguments["input"],))


def _group_norm(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
    own = _own(arguments, tensors, "weight", "bias")
    if own is None or own[0] is None:
        return None
    module = nn.GroupNorm(arguments["num_groups"], len(own[0]), arguments["eps"])
    return _holding(module, own[0], own[1], (arguments["input"],))


def _prelu(arguments: dict[str, Any], tensors: Tensors) -> Layer | None:
    own = _own(arguments, tensors, "weight")
    if own is None:
        return None
    module = nn.PReLU(own[0].numel())
    module.weight = _parameter(own[0])
    return module, (arguments["self"],), {}


_WITH_WEIGHTS: dict[str, Callable[[dict[str, Any], Tensors], Layer | None]] = {
    "conv1d": _convolution(nn.Conv1d),
    "conv2d": _convolution(nn.Conv2d),
    "conv3d": _convolution(nn.Conv3d),
    "conv_transpose1d": _convolution(nn.ConvTranspose1d),
    "conv_transpose2d": _convolution(nn.ConvTranspose2d),
    "conv_transpose3d": _convolution(nn.ConvTranspose3d),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "prelu": _prelu,
}


def _plain(make: Callable[..., nn.Module], *options: str, inplace: bool | None = None) -> Converter:
    """A module made of some of the operator's arguments; `inplace` for those that write to their input or may."""

    def convert(arguments: dict[str, Any]) -> Layer:
        given = [arguments[name] for name in options]
        module = make(*given) if inplace is None else make(*given, inplace=inplace)
        return module, (arguments.get("self", arguments.get("input")),), {}

    return convert


def _add(arguments: dict[str, Any]) -> Layer | None:
    a, b = arguments["self"], arguments["other"]
    if arguments.get("alpha", 1) != 1 or not isinstance(b, fx.Node):
        return None
    both_computed = all(each.op != "get_attr" for each in (a, b))
    return (AddBlock() if both_computed else operation("add")), (a, b), {}


def _binary(name: str) -> Converter:
    def convert(arguments: dict[str, Any]) -> Layer | None:
        if arguments.get("alpha", 1) != 1 or arguments.get("rounding_mode") is not None:
            return None
        return operation(name), (arguments["self"], arguments["other"]), {}

    return convert


def _hardtanh(inplace: bool) -> Converter:
    def convert(arguments: dict[str, Any]) -> Layer:
        low, high = arguments["min_val"], arguments["max_val"]
        module = nn.ReLU6(inplace) if (low, high) == (0, 6) else nn.Hardtanh(low, high, inplace=inplace)
        return module, (arguments["self"],), {}

    return convert


def _resize(mode: str) -> Converter:
    def convert(arguments: dict[str, Any]) -> Layer | None:
        if "scale_factors" not in arguments:
            return None
        module = Interpolate(mode, arguments.get("align_corners"))
        return module, (arguments["input"], arguments["output_size"], arguments["scale_factors"]), {}

    return convert


def _reshape(arguments: dict[str, Any]) -> Layer:
    shape = arguments.get("size", arguments.get("shape"))
    return Reshape(keeps_zero=False), (arguments["self"], shape), {}


def _flatten(arguments: dict[str, Any]) -> Layer:
    return nn.Flatten(arguments["start_dim"], arguments["end_dim"]), (arguments["self"],), {}


def _cat(arguments: dict[str, Any]) -> Layer:
    return Cat(arguments["dim"]), tuple(arguments["tensors"]), {}


def _mean(arguments: dict[str, Any]) -> Layer | None:
    if arguments.get("dim") is None:
        return None
    return operation("mean"), (arguments["self"], arguments["dim"], arguments["keepdim"]), {}


def _gelu(arguments: dict[str, Any]) -> Layer:
    return nn.GELU(arguments["approximate"]), (arguments["self"],), {}


def _bends() -> dict[str, Converter]:
    """Activations that exist in two forms, the second of which writes to its input."""
    made: dict[str, Converter] = {}
    modules: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
        "relu": (nn.ReLU, ()), "relu6": (nn.ReLU6, ()), "silu": (nn.SiLU, ()), "hardswish": (nn.Hardswish, ()),
        "hardsigmoid": (nn.Hardsigmoid, ()), "mish": (nn.Mish, ()), "selu": (nn.SELU, ()),
        "leaky_relu": (nn.LeakyReLU, ("negative_slope",)),
    }  # fmt: skip
    for name, (make, options) in modules.items():
        made[name] = _plain(make, *options, inplace=False)
        made[f"{name}_"] = _plain(make, *options, inplace=True)
    return made


_PLAIN: dict[str, Converter] = {
    **_bends(),
    "hardtanh": _hardtanh(False),
    "hardtanh_": _hardtanh(True),
    "sigmoid": _plain(nn.Sigmoid),
    "tanh": _plain(nn.Tanh),
    "gelu": _gelu,
    "softmax": _plain(nn.Softmax, "dim"),
    "log_softmax": _plain(nn.LogSoftmax, "dim"),
    "dropout": _plain(nn.Dropout, "p"),
    "adaptive_avg_pool1d": _plain(nn.AdaptiveAvgPool1d, "output_size"),
    "adaptive_avg_pool2d": _plain(nn.AdaptiveAvgPool2d, "output_size"),
    "avg_pool2d": _plain(
        nn.AvgPool2d, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"
    ),
    "add": _add,
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div"),
    "matmul": _binary("matmul"),
    "cat": _cat,
    "mean": _mean,
    "view": _reshape,
    "reshape": _reshape,
    "_unsafe_view": _reshape,
    "flatten": _flatten,
    "upsample_bilinear2d": _resize("bilinear"),
    "upsample_nearest2d": _resize("nearest"),
    "upsample_bicubic2d": _resize("bicubic"),
}
