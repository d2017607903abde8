"""What tensors and containers hold, as a short text that tells it from any other.

May import: errors.
"""

from collections.abc import Mapping
from typing import Any

import torch
import xxhash
from torch import Tensor


def contents_of(tensor: Tensor) -> str:
    """Digest of a tensor's type, shape and values in their order: 128 bits of XXH3, on every device the same.

    Args:
        tensor: [...] of any type; on a GPU it is copied to the CPU first.

    >>> image = torch.tensor([[1.0, 2.0, 3.0]])
    >>> contents_of(image) == contents_of(image.clone()), contents_of(image) == contents_of(image.flip(1))
    (True, False)
    """
    seen = xxhash.xxh3_128(f"{tensor.dtype} {list(tensor.shape)}".encode())
    seen.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return seen.hexdigest()


SEAL = "seal"
"""The entry of a saved container that holds the digest of all the others."""


def contents_of_tree(tree: Any) -> str:
    """Digest of tensors and plain values in nested containers; lists and tuples are alike, and keys in any order.

    Args:
        tree: Of dicts, lists, tuples, tensors, numbers, texts and None.

    >>> contents_of_tree({"a": [1, 2.0]}) == contents_of_tree({"a": (1, 2.0)})
    True
    >>> contents_of_tree([1]) == contents_of_tree([1.0])
    False
    """
    seen = xxhash.xxh3_128()
    _see(tree, seen)
    return seen.hexdigest()


def sealed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The contents with their digest beside them, for `is_unchanged` to find whether any of it was changed.

    Args:
        contents: As for `contents_of_tree`; a seal that is in it is made anew.

    >>> is_unchanged(sealed({"images": 8})), is_unchanged(sealed({"images": 8}) | {"images": 9})
    (True, False)
    """
    return {**contents, SEAL: _seal_of(contents)}


def is_unchanged(contents: Mapping[str, Any]) -> bool:
    """True where the contents are those that were sealed, and where there is no seal, as in files of older versions.

    Args:
        contents: As they were read.
    """
    return SEAL not in contents or contents[SEAL] == _seal_of(contents)


def _seal_of(contents: Mapping[str, Any]) -> str:
    return contents_of_tree({name: value for name, value in contents.items() if name != SEAL})


def _see(tree: Any, seen: Any) -> None:
    if isinstance(tree, Tensor):
        seen.update(f"tensor {contents_of(tree)};".encode())
    elif isinstance(tree, Mapping):
        seen.update(f"mapping {len(tree)};".encode())
        for key in sorted(tree, key=lambda key: (type(key).__name__, str(key))):
            seen.update(f"{type(key).__name__} {key!r}:".encode())
            _see(tree[key], seen)
    elif isinstance(tree, list | tuple):
        seen.update(f"list {len(tree)};".encode())
        for one in tree:
            _see(one, seen)
    else:
        seen.update(f"{type(tree).__name__} {tree!r};".encode())
