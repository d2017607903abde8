"""Tensors in nested arguments are found, and exchanged, as torch's own walk does it."""

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from qdiag.tracing.intercept import exchange_tensors, tensors_in

Pair = namedtuple("Pair", "first second")
ONE, TWO, THREE = torch.zeros(1), torch.ones(2), torch.nn.Parameter(torch.full((3,), 2.0))

TREES: dict[str, Any] = {
    "a tensor": ONE,
    "arguments": ((ONE, 3, None, "zeros"), {"weight": THREE, "stride": (1, 1), "dtype": torch.float32}),
    "lists in lists": [[ONE, [TWO]], (), {}, [THREE, ONE]],
    "a named tuple": (Pair(ONE, [TWO]), 1.5),
    "an ordered dict": OrderedDict(last=THREE, first=Pair(TWO, None)),
    "an index": (ONE, (slice(None), Ellipsis, TWO)),
    "a size": (ONE.shape, True, torch.device("cpu")),
    "nothing": None,
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_tensors_are_found_in_torchs_order(tree: Any) -> None:
    assert list(map(id, tensors_in(tree))) == [id(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_only_tensors_are_exchanged(tree: Any) -> None:
    new = {id(tensor): f"number {number}" for number, tensor in enumerate((ONE, TWO, THREE))}
    found = exchange_tensors(tree, lambda tensor: new[id(tensor)])
    expected = tree_map_only(Tensor, lambda tensor: new[id(tensor)], tree)
    assert found == expected
    assert type(found) is type(expected)
