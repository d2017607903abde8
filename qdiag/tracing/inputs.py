"""What a model is called with, and where it comes from: one batch, or a data set."""

import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only
from torch.utils.data import DataLoader, Dataset

from qdiag.errors import InputError, ModelError, QdiagError
from qdiag.tracing.input_hint import input_hint
from qdiag.tracing.random_state import kept_random_state

if TYPE_CHECKING:
    from qdiag.tracing.intercept import Interceptor


class Inputs:
    """Positional and keyword arguments of one forward.

    >>> Inputs(torch.zeros(2, 3), scale=2.0).batch_size
    2
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self.args, self.kwargs = args, kwargs

    @classmethod
    def of(cls, example: Any, model: nn.Module) -> "Inputs":
        """A tensor, a tuple of arguments, a dict of keyword arguments, or one argument of any other type."""
        if isinstance(example, Inputs):
            return example
        if isinstance(example, tuple) and not hasattr(example, "_fields"):
            return cls(*example)
        if isinstance(example, Mapping) and set(map(str, example)) <= set(_parameters(model)):
            return cls(**example)
        return cls(example)

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Every tensor with its name: `input` for the first positional one, else the keyword or position."""
        named = [(f"input{i}" if i else "input", value) for i, value in enumerate(self.args)]
        return [
            (name + suffix, tensor)
            for name, value in itertools.chain(named, self.kwargs.items())
            for suffix, tensor in named_leaves(value)
        ]

    @property
    def batch_size(self) -> int:
        """Images in this batch: the length of the first argument where that is a list, else of its first axis."""
        first = next(itertools.chain(self.args, self.kwargs.values()), None)
        if isinstance(first, (list, tuple)) and all(isinstance(item, Tensor) and item.ndim == 3 for item in first):
            return len(first)
        tensors = self.tensors()
        return len(tensors[0][1]) if tensors and tensors[0][1].ndim else 1

    def map(self, change: Any) -> "Inputs":
        args, kwargs = tree_map_only(Tensor, change, (self.args, self.kwargs))
        return Inputs(*args, **kwargs)

    def to_device_of(self, model: nn.Module) -> "Inputs":
        """On the model's device, where all of the model lies on one."""
        devices = {p.device for p in itertools.chain(model.parameters(), model.buffers())}
        if len(devices) != 1:
            return self
        device = devices.pop()
        return self.map(lambda tensor: tensor.to(device))

    def check_finite(self, where: str) -> None:
        """Raises InputError where a floating-point input holds NaN or infinity."""
        for name, tensor in self.tensors():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"{where}: {name} holds NaN or infinity. Check how the images are loaded and normalised.",
                    code="data-not-finite",
                )

    def describe(self) -> str:
        return ", ".join(f"{n}: {str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for n, t in self.tensors())


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs and, where the data has them, targets."""

    inputs: Inputs
    targets: Any = None

    def split(self, size: int) -> list["Batch"]:
        """Batches of at most `size` images; [self] where it is not plain which axis counts the images."""
        images = self.inputs.batch_size
        if images <= size or not self.is_divisible:
            return [self]
        starts = range(0, images, size)
        return [Batch(self.inputs.map(lambda t, i=i: t[i : i + size]), self._targets(i, size)) for i in starts]

    @property
    def is_divisible(self) -> bool:
        """True where the first axis of everything counts the images."""
        values = [*self.inputs.args, *self.inputs.kwargs.values(), *([] if self.targets is None else [self.targets])]
        return all(isinstance(v, Tensor) and v.ndim > 0 and len(v) == self.inputs.batch_size for v in values)

    def _targets(self, start: int, size: int) -> Any:
        return None if self.targets is None else self.targets[start : start + size]


def batches(data: Any, model: nn.Module, batch_size: int = 16) -> Iterable[Batch]:
    """The data as batches that can be read more than once.

    data: a DataLoader or list of batches; a Dataset; one tensor of images [N, ...]. A batch is what the model takes
    (see `trace`), or a pair (inputs, targets) where the model needs only one argument.

    Raises InputError for what can be read only once, for no data, for what is none of these, and where the data raises.
    """
    if isinstance(data, (_Batches, _First)):
        return data
    if isinstance(data, Tensor):
        if data.ndim == 0 or len(data) == 0:
            raise InputError(
                f"the data is a tensor of shape {list(data.shape)}: there is no image in it.", code="empty-data"
            )
        return _Batches(list(data.split(batch_size)), model)
    if isinstance(data, (Inputs, Mapping)):
        return _Batches([data], model)
    if isinstance(data, Dataset):  # also one that streams: it gives single samples
        data = DataLoader(data, batch_size=batch_size)
    if isinstance(data, Iterator):
        raise InputError(
            "the data is an iterator, which can be read only once; calibration and comparison each read it. "
            "Pass the DataLoader itself, or list(...) of the batches.",
            code="data-read-once",
        )
    if not isinstance(data, Iterable) or isinstance(data, str):
        raise InputError(
            f"the data is a {type(data).__name__}. Pass a DataLoader, a list of batches, or a tensor [N, ...].",
            code="data-type",
        )
    return _Batches(data, model)


def first_images(data: Any, model: nn.Module, images: int | None) -> Iterable[Batch]:
    """The data as `batches` gives it, up to the batch that completes so many images; None for all of them."""
    everything = batches(data, model)
    return everything if images is None else _First(everything, images, first_batch(data, model).inputs.batch_size)


def joined_images(data: Any, model: nn.Module, most_values: int) -> Inputs:
    """As many of the first images as hold so many values, in one batch; images of another size are left out.

    The first batch alone where it is not plain which axis counts the images.
    """
    parts: list[Inputs] = []
    for batch in batches(data, model):
        shapes = [tensor.shape[1:] for _, tensor in batch.inputs.tensors()]
        if parts and (not batch.is_divisible or shapes != [tensor.shape[1:] for _, tensor in parts[0].tensors()]):
            continue
        most_images = max(1, most_values // max(1, sum(shape.numel() for shape in shapes)))
        room = most_images - sum(part.batch_size for part in parts)
        parts.append(batch.split(room)[0].inputs)
        if room <= batch.inputs.batch_size or not batch.is_divisible:
            break
    trees = [(part.args, part.kwargs) for part in parts]
    args, kwargs = tree_map(lambda *tensors: torch.cat(tensors), *trees) if len(trees) > 1 else trees[0]
    return Inputs(*args, **kwargs)


def first_batch(data: Any, model: nn.Module) -> Batch:
    """The first batch. Raises InputError where there is none."""
    with kept_random_state():  # a loader that shuffles draws a seed as soon as it is asked
        return next(iter(batches(data, model)))


def example(data: Any, model: nn.Module) -> Inputs:
    """Two images of the first batch, or all of it where it cannot be split: enough to see how a forward goes."""
    return first_batch(data, model).split(2)[0].inputs


class _Batches:
    def __init__(self, data: Iterable[Any], model: nn.Module):
        self.data, self.model = data, model
        self.required = [p for p in _parameters(model).values() if _is_required(p)]

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        number = -1
        for number, item in enumerate(self._items()):
            inputs, targets = self._split(item)
            batch = Batch(Inputs.of(inputs, self.model).to_device_of(self.model), targets)
            batch.inputs.check_finite(f"batch {number} of the data")
            yield batch
        if number < 0:
            raise InputError(
                "the data is empty: not one batch came out of it. Check the folder, the split, the filter.",
                code="empty-data",
            )

    def _items(self) -> Iterator[Any]:
        try:
            yield from self.data
        except Exception as error:  # the user's data may raise anything; its error stays attached
            raise InputError(
                f"the data raised {type(error).__name__}: {error}. Does it run by itself, as in `for batch in data`?",
                code="data-raised",
            ) from error

    def _split(self, item: Any) -> tuple[Any, Any]:
        """(inputs, targets): a pair is inputs and targets unless the model needs two arguments."""
        if isinstance(item, (tuple, list)) and not hasattr(item, "_fields"):
            if len(self.required) >= 2 and len(item) >= len(self.required):
                rest = item[len(self.required) :]
                return tuple(item[: len(self.required)]), rest[0] if rest else None
            if len(item) == 2 and not _are_images(item):
                return item[0], item[1]
            if len(item) == 1 and isinstance(item[0], Tensor) and item[0].ndim != 3:
                return item[0], None
        return item, None


@dataclasses.dataclass(frozen=True)
class _First:
    everything: Iterable[Batch]
    images: int
    batch_size: int

    def __len__(self) -> int:
        return min(len(self.everything), -(-self.images // self.batch_size))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        seen = 0
        for batch in self.everything:
            yield batch
            seen += batch.inputs.batch_size
            if seen >= self.images:
                return


def forward(model: nn.Module, inputs: Inputs, interceptor: "Interceptor | None" = None) -> Any:
    """Call the model. Raises ModelError with the last address reached where it raises an error of its own."""
    try:
        return model(*inputs.args, **inputs.kwargs)
    except QdiagError:
        raise
    except Exception as error:  # the user's model may raise anything; its error stays attached
        where = ""
        if interceptor is not None and interceptor.last_site is not None:
            at = f" ({interceptor.last_source})" if interceptor.last_source else ""
            where = f" at or after site {str(interceptor.last_site)!r}{at}"
        hint = input_hint(model, inputs.tensors())
        raise ModelError(
            f"the model raised {type(error).__name__}{where}: {error}. It was called with ({inputs.describe()}).{hint}",
            code="model-raised",
        ) from error


def named_leaves(tree: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """Every tensor in nested tuples, lists, mappings and dataclasses, with a path such as `.out[0]`."""
    if isinstance(tree, Tensor):
        return [(name, tree)]
    if isinstance(tree, Mapping):
        children = [(f"{name}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, (tuple, list)):
        fields = getattr(tree, "_fields", None) or [None] * len(tree)
        children = [
            (f"{name}.{f}" if f else f"{name}[{i}]", v) for i, (f, v) in enumerate(zip(fields, tree, strict=True))
        ]
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        children = [(f"{name}.{f.name}", getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    else:
        return []
    return [leaf for child_name, child in children for leaf in named_leaves(child, child_name)]


def floating_leaves(tree: Any) -> list[Tensor]:
    """Every floating-point tensor in it."""
    return [tensor for _, tensor in named_leaves(tree) if tensor.is_floating_point()]


def _parameters(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):  # a forward without a readable signature takes anything
        return {}


def _is_required(parameter: inspect.Parameter) -> bool:
    positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return positional and parameter.default is parameter.empty


def _are_images(items: Any) -> bool:
    """A list of images [C, H, W], as detectors take it, rather than a pair of inputs and targets."""
    return all(isinstance(item, Tensor) and item.ndim == 3 and item.is_floating_point() for item in items)
