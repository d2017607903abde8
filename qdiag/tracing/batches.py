"""Where inputs come from: a data set in any form, as batches that can be read more than once."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset

from qdiag.errors import InputError, QdiagWarning
from qdiag.tracing.fixed_batch import fixed_batch
from qdiag.tracing.inputs import Inputs, parameters_of_forward
from qdiag.tracing.random_state import kept_random_state

Adapt = Callable[[Any], Any]
"""Takes a batch as the data gives it; gives what the model takes, or a pair (inputs, targets)."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs and, where the data has them, targets. is_whole: the network takes just so many images at a time."""

    inputs: Inputs
    targets: Any = None
    is_whole: bool = False

    def split(self, size: int) -> list["Batch"]:
        """Batches of at most `size` images; [self] where it is not plain which axis counts the images."""
        images = self.inputs.batch_size
        if images <= size or not self.is_divisible:
            return [self]
        starts = range(0, images, size)
        return [Batch(self.inputs.map(lambda t, i=i: t[i : i + size]), self._targets(i, size)) for i in starts]

    @property
    def is_divisible(self) -> bool:
        """True where the first axis of everything counts the images, and the network takes any number of them."""
        return not self.is_whole and self.counts_images

    @property
    def counts_images(self) -> bool:
        """True where the first axis of everything counts the images."""
        values = [*self.inputs.args, *self.inputs.kwargs.values(), *([] if self.targets is None else [self.targets])]
        return all(isinstance(v, Tensor) and v.ndim > 0 and len(v) == self.inputs.batch_size for v in values)

    def in_fixed(self, size: int) -> list["Batch"]:
        """Batches of just `size` images, without those that are left over at the end."""
        if self.inputs.batch_size == size or not self.counts_images:
            return [dataclasses.replace(self, is_whole=True)]
        parts = dataclasses.replace(self, is_whole=False).split(size)
        return [dataclasses.replace(part, is_whole=True) for part in parts if part.inputs.batch_size == size]

    def _targets(self, start: int, size: int) -> Any:
        return None if self.targets is None else self.targets[start : start + size]


class Batches:
    """A data set as batches for one model, which can be read as often as wanted.

    Made by `batches`. images: it ends with the batch that completes so many; None for all of them. source: what the
    user gave, for whoever reads it in an order of its own. adapt: the user's own, see `batches`. images_read: how many
    the latest reading came to.
    """

    def __init__(
        self,
        data: Iterable[Any],
        model: nn.Module,
        source: Any,
        images: int | None = None,
        adapt: Adapt | None = None,
    ):
        self.data, self.model, self.source, self.images, self.adapt = data, model, source, images, adapt
        self.images_read = 0
        self.required = [p for p in parameters_of_forward(model).values() if _is_required(p)]

    @property
    def first(self) -> Batch:
        """The first batch, read once; as many images as a network of fixed batch takes. Raises InputError for none."""
        size = fixed_batch(self.model)
        return self._first if size is None else self._in_fixed(self._first, size, 0)[0]

    @cached_property
    def _first(self) -> Batch:
        with kept_random_state():  # a loader that shuffles draws a seed as soon as it is asked
            return next(iter(self))

    @property
    def example(self) -> Inputs:
        """Two images of the first batch, or all of it where it cannot be split: enough to see how a forward goes."""
        return self.first.split(2)[0].inputs

    def upto(self, images: int | None) -> "Batches":
        """The same data up to the batch that completes so many images; None for all of them."""
        if images is None or images == self.images:
            return self
        shorter = Batches(self.data, self.model, self.source, images, self.adapt)
        shorter._first = self._first
        return shorter

    def of(self, model: nn.Module) -> "Batches":
        """The same data for another model that takes the same inputs."""
        other = Batches(self.data, model, self.source, self.images, self.adapt)
        other._first = self._first
        return other

    def joined(self, most_values: int) -> Inputs:
        """As many of the first images as hold so many values, in one batch; images of another size are left out.

        The first batch alone where it is not plain which axis counts the images.
        """
        parts: list[Inputs] = []
        for batch in self:
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

    def __len__(self) -> int:
        size, read = fixed_batch(self.model), self._first.inputs.batch_size
        whole = len(self.data) * (read // size if size and read > size else 1)  # type: ignore[arg-type]
        return whole if self.images is None else min(whole, -(-self.images // self.first.inputs.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        number, seen = -1, 0
        for number, item in enumerate(self._items()):
            inputs, targets = self._split(self._adapted(item, number))
            batch = Batch(Inputs.of(inputs, self.model).to_device_of(self.model), targets)
            batch.inputs.check_finite(f"batch {number} of the data")
            if batch.inputs.batch_size == 0:
                raise InputError(f"batch {number} of the data holds no image. Leave it out.", code="empty-data")
            seen += batch.inputs.batch_size
            self.images_read = seen
            size = fixed_batch(self.model)
            yield from [batch] if size is None else self._in_fixed(batch, size, number)
            if self.images is not None and seen >= self.images:
                return
        if number < 0:
            raise InputError(
                "the data is empty: not one batch came out of it. Check the folder, the split, the filter.",
                code="empty-data",
            )

    def _in_fixed(self, batch: Batch, size: int, number: int) -> list[Batch]:
        """Of the size that the network takes; what is left over is left out, and that is said."""
        parts, images = batch.in_fixed(size), batch.inputs.batch_size
        if not parts and not number:
            raise InputError(
                f"the network takes {size} images at a time, and a batch of the data holds {images}. Give batches of "
                f"{size}.",
                code="batch-size",
            )
        left = images - sum(part.inputs.batch_size for part in parts)
        if left:
            warnings.warn(
                f"the network takes {size} images at a time: {left} of the {images} in batch {number} of the data are "
                f"left out. Give batches of {size}, as with DataLoader(…, batch_size={size}, drop_last=True).",
                QdiagWarning,
                stacklevel=2,
            )
        return parts

    def _items(self) -> Iterator[Any]:
        try:
            yield from self.data
        except Exception as error:  # the user's data may raise anything; its error stays attached
            raise InputError(
                f"the data raised {type(error).__name__}: {error}. Does it run by itself, as in `for batch in data`?",
                code="data-raised",
            ) from error

    def _adapted(self, item: Any, number: int) -> Any:
        """What the user's own function makes of a batch."""
        if self.adapt is None:
            return item
        try:
            return self.adapt(item)
        except Exception as error:  # the user's function may raise anything; its error stays attached
            raise InputError(
                f"batch=… raised {type(error).__name__}: {error}. It was given batch {number} of the data, "
                f"{_described(item)}.",
                code="data-raised",
            ) from error

    def _split(self, item: Any) -> tuple[Any, Any]:
        """(inputs, targets): a pair is inputs and targets unless the model needs two arguments."""
        if isinstance(item, (tuple, list)) and not hasattr(item, "_fields"):
            if len(self.required) >= 2 and len(item) >= len(self.required):
                rest = item[len(self.required) :]
                return tuple(item[: len(self.required)]), rest[0] if rest else None
            if len(item) == 2 and not _are_images(item):
                images, targets = item
                is_list = isinstance(images, tuple) and isinstance(targets, tuple | list) and _are_images(images)
                return list(images) if is_list and len(images) == len(targets) else images, targets
            if len(item) == 1 and isinstance(item[0], Tensor) and item[0].ndim != 3:
                return item[0], None
        return item, None


def batches(data: Any, model: nn.Module, batch_size: int = 16, adapt: Adapt | None = None) -> Batches:
    """The data as batches that can be read more than once.

    data: a DataLoader or list of batches; a Dataset; one tensor of images [N, ...]. A batch is what the model takes
    (see `trace`), or a pair (inputs, targets) where the model needs only one argument. adapt: makes such a batch of
    what the data gives, as of dicts.

    Raises InputError for what can be read only once, for no data, for what is none of these, and where the data raises.
    """
    if isinstance(data, Batches):
        return data
    if isinstance(data, Tensor):
        if data.ndim == 0 or len(data) == 0:
            raise InputError(
                f"the data is a tensor of shape {list(data.shape)}: there is no image in it.", code="empty-data"
            )
        return Batches(list(data.split(batch_size)), model, data, adapt=adapt)
    if isinstance(data, (Inputs, Mapping)):
        return Batches([data], model, data, adapt=adapt)
    source = data
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
    return Batches(data, model, source, adapt=adapt)


def _described(item: Any) -> str:
    """As "a dict of image, label", "a tuple of 3"."""
    kind = type(item).__name__
    if isinstance(item, Mapping):
        return f"a {kind} of {', '.join(map(str, item))}"
    return f"a {kind} of {len(item)}" if isinstance(item, (tuple, list)) else f"a {kind}"


def first_inputs(data: Any, model: nn.Module) -> Inputs:
    """What one forward is called with: the first batch of a DataLoader, a Dataset or batches; all else as it stands.

    Raises InputError as `batches` does.
    """
    if isinstance(data, (Batches, DataLoader, Dataset)):
        return batches(data, model).first.inputs
    return Inputs.of(data, model)


def _is_required(parameter: Parameter) -> bool:
    positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return positional and parameter.default is parameter.empty


def _are_images(items: Any) -> bool:
    """A list of images [C, H, W], as detectors take it, rather than a pair of inputs and targets."""
    return all(isinstance(item, Tensor) and item.ndim == 3 and item.is_floating_point() for item in items)
