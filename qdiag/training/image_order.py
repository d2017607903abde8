"""The images to train with, in an order that each epoch has of its own."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from qdiag.errors import InputError, OptionError
from qdiag.tracing.batches import Batch, Batches, batches
from qdiag.tracing.fixed_batch import fixed_batch
from qdiag.tracing.inputs import floating_leaves
from qdiag.training.own_losses import are_dicts
from qdiag.training.recipe import Recipe
from qdiag.training.seeding import seed_all, seed_of

BATCH_SIZE = 64
_ORDER, _IMAGE = 0, 1  # what a seed is for

_READING = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context")


@dataclass(frozen=True)
class Share:
    """One process's part of each batch: every n-th image, from its own number on."""

    process: int = 0
    processes: int = 1

    def of(self, rows: Sequence[int]) -> Sequence[int]:
        return rows[self.process :: self.processes]


class OrderedImages:
    """A data set, read as the user's DataLoader reads it (workers, collate_fn), but in an order by seed and epoch.

    data: made of a DataLoader over a Dataset, or of the Dataset; of a tensor [N, ...], or a list of batches of tensors.
    What augmentation draws for an image depends on the seed, the epoch and the image, in whatever process or worker it
    is read, and whenever a run goes on.

    Raises InputError for data that is streamed, or that a sampler of the user's own picks from.
    """

    def __init__(self, data: Batches, recipe: Recipe):
        self.recipe = recipe
        self.dataset = _dataset(data.source)
        loader = data.source if isinstance(data.source, DataLoader) else None
        fixed = fixed_batch(data.model)
        if fixed and recipe.batch_size not in (None, fixed):
            raise OptionError(
                f"Recipe(batch_size={recipe.batch_size}): the network takes {fixed} images at a time. Leave it out, or "
                f"give {fixed}.",
                code="option-value",
            )
        self.batch_size = (
            fixed or recipe.batch_size or (loader.batch_size if loader is not None else None) or BATCH_SIZE
        )
        self.reading = {name: getattr(loader, name) for name in _READING} if loader is not None else {}
        if loader is None and isinstance(self.dataset, _Samples):
            self.reading["collate_fn"] = _in_lists
        if data.images is not None:
            self.dataset = Subset(self.dataset, range(min(data.images, len(self))))
        count = len(self)
        if not count:
            raise InputError("the data set is empty: there is no image to train with.", code="empty-data")
        self.drawn = max(1, int(count * recipe.epoch_size))

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def batch_images(self, share: Share) -> int:
        """In one batch of all processes, which have equally many each."""
        size = min(self.batch_size, self.drawn)
        if size < share.processes:
            raise OptionError(
                f"a batch of {size} for {share.processes} processes: each needs an image at least.",
                code="too-few-images",
            )
        return size - size % share.processes

    def steps(self, share: Share) -> int:
        """Whole batches in an epoch; what is left over waits for another epoch's order."""
        return self.drawn // self.batch_images(share)

    def loader(self, epoch: int, share: Share, first: int = 0) -> DataLoader[Any]:
        """An epoch's batches from the one with the number `first` on."""
        sampler = [[(epoch, row) for row in rows] for rows in self._rows(epoch, share)[first:]]
        return DataLoader(_Seeded(self.dataset, self.recipe.seed), batch_sampler=sampler, **self.reading)

    def read(self, model: nn.Module, epoch: int, share: Share, first: int = 0) -> Iterator[Batch]:
        """The same as a model's batches. Raises InputError that names images with NaN by their place in the data."""
        step = first
        try:
            for batch in batches(self.loader(epoch, share, first), model):
                yield batch
                step += 1
        except InputError as error:
            if error.code != "data-not-finite":
                raise
            raise self._named(error, epoch, self._rows(epoch, share)[step]) from error

    def _rows(self, epoch: int, share: Share) -> list[Sequence[int]]:
        """The places in the data of each batch's images."""
        order = torch.randperm(
            len(self), generator=torch.Generator().manual_seed(seed_of(self.recipe.seed, _ORDER, epoch))
        )
        size, rows = self.batch_images(share), order.tolist()
        return [share.of(rows[step * size : (step + 1) * size]) for step in range(self.steps(share))]

    def _named(self, error: InputError, epoch: int, rows: Sequence[int]) -> InputError:
        """The error, with the images that it is of; itself where they cannot be told, as what a collate_fn makes."""
        images = _Seeded(self.dataset, self.recipe.seed)
        broken = sorted(row for row in rows if not _is_finite(images[epoch, row]))
        if not broken:
            return error
        which = f"image {broken[0]} of the data to train with holds"
        if len(broken) > 1:
            which = f"images {', '.join(map(str, broken[:8]))} of the data to train with hold"
        return InputError(
            f"{which} NaN or infinity, counted from 0 in the order of the data set. Check how the images are loaded "
            "and normalised.",
            code="data-not-finite",
        )

    def in_order(self, share: Share) -> DataLoader[Any]:
        """All of it once, as it lies, for evaluation."""
        if len(self) < share.processes:
            raise OptionError(
                f"{len(self)} image(s) to measure with for {share.processes} processes: each needs one.",
                code="too-few-images",
            )
        rows = share.of(range(len(self)))
        return DataLoader(Subset(self.dataset, rows), batch_size=self.batch_size, **self.reading)


class _Seeded(Dataset[Any]):
    """The same data set, by (epoch, number)."""

    def __init__(self, dataset: Dataset[Any], seed: int):
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        seed_all(self.seed, _IMAGE, *key)
        return self.dataset[key[1]]


def _is_finite(sample: Any) -> bool:
    """Of an image, not of its label, which may mean by NaN that it is not known."""
    image = sample[0] if isinstance(sample, tuple | list) and sample else sample
    return all(bool(tensor.isfinite().all()) for tensor in floating_leaves(image))


def _dataset(data: Any) -> Dataset[Any]:
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset):
            raise InputError(
                "the data is streamed. Training needs a Dataset whose images can be read in any order.",
                code="data-order",
            )
        if data.batch_size is None or type(data.sampler) not in (RandomSampler, SequentialSampler):
            raise InputError(
                "the DataLoader has a sampler of its own, which training would not follow: it orders images by seed "
                "and epoch, so that a stopped run goes on with the same ones. Make the choice in the Dataset, as with "
                "Subset.",
                code="data-order",
            )
        return data.dataset
    if isinstance(data, Tensor) and data.ndim:
        return cast(Dataset[Any], data)  # it has a length, and items
    if isinstance(data, Dataset) and isinstance(data, Sized):
        return data
    if isinstance(data, list) and data and all(map(_is_of_dicts, data)):
        return _Samples([pair for images, targets in data for pair in zip(images, targets, strict=True)])
    if isinstance(data, list) and data:
        return ConcatDataset([_samples(batch) for batch in data])
    raise InputError(
        f"the data is a {type(data).__name__}. Pass a DataLoader over a Dataset, a Dataset, a tensor [N, ...], or a "
        "list of batches.",
        code="data-type",
    )


def _is_of_dicts(batch: Any) -> bool:
    """A batch as detectors take it: a list of images and a list of dicts."""
    if not isinstance(batch, tuple | list) or len(batch) != 2 or isinstance(batch[0], Mapping):
        return False
    images, targets = batch
    return isinstance(targets, list | tuple) and are_dicts(targets) and len(images) == len(targets)


class _Samples(Dataset[Any]):
    """Images of any size, each with a dict of what is in it."""

    def __init__(self, samples: Sequence[tuple[Any, Any]]):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Any:
        return self.samples[number]


def _in_lists(samples: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [image for image, _ in samples], [target for _, target in samples]


def _samples(batch: Any) -> Dataset[Any]:
    parts = batch if isinstance(batch, (tuple, list)) else [batch]
    if not all(isinstance(part, Tensor) and part.ndim and len(part) == len(parts[0]) for part in parts):
        raise InputError(
            "a list of batches to train with holds tensors, or (images, labels). Pass a Dataset instead.",
            code="data-type",
        )
    return _dataset(parts[0]) if len(parts) == 1 else TensorDataset(*parts)
