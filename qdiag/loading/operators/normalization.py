"""Normalizations, with the file's weights as their own."""

from typing import Any

import torch
from torch import nn

from qdiag.loading.conversion import Converter, Operands, Step
from qdiag.loading.modules import operation

BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE_NORMS = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def _batch_norm(node: Operands) -> Step:
    """By the running statistics that the file holds."""
    is_training = node.get("training_mode") or sum(bool(name) for name in node.node.outputs) > 1
    if is_training and node.constant(0) is not None:
        return _standardized_weight(node)
    tensors = [node.constant(i) for i in range(1, 5)]
    if any(tensor is None for tensor in tensors):
        node.refuse("has weights or statistics that are computed")
    if is_training:
        node.refuse("normalizes by the batch, as in training", "Export the network in eval mode")
    _, _, mean, variance = tensors
    assert mean is not None, "asked above"
    assert variance is not None, "asked above"
    # ONNX's momentum is what the old statistics count for; torch's is what the new ones do.
    module: Any = BATCH_NORMS[node.rank()](len(mean), node.get("epsilon", 1e-5), 1 - node.get("momentum", 0.9))
    module.weight, module.bias = node.parameter(1), node.parameter(2)
    module.running_mean, module.running_var = mean.clone(), variance.clone()
    return node.step(module, node.tensor(0))


def _standardized_weight(node: Operands) -> Step:
    """By the statistics of a constant: how networks without BatchNorm standardize their weights."""
    rest = [node.tensor(1), node.tensor(2), True, 0.0, node.get("epsilon", 1e-5)]
    args = (node.tensor(0), None, None, *rest)
    return Step(node.node.output, node.node, operation("batch_norm"), args, node.node.outputs[:1])


def _instance_norm(node: Operands) -> Step:
    module: Any = INSTANCE_NORMS[node.rank()](node.shape()[1], node.get("epsilon", 1e-5), affine=True)
    return node.step(_affine(module, node), node.tensor(0))


def _layer_norm(node: Operands) -> Step:
    """Over the last axes, from `axis` on."""
    if sum(bool(name) for name in node.node.outputs) > 1:
        node.refuse("gives its mean or deviation beside its result")
    shape = node.shape()[node.get("axis", -1) % node.rank() :]
    module: Any = nn.LayerNorm(shape, node.get("epsilon", 1e-5))
    return node.step(_affine(module, node), node.tensor(0))


def _group_norm(node: Operands) -> Step:
    """With a weight for each channel, as from opset 21 on; before, there is one for each group."""
    groups, channels = node.get("num_groups"), node.shape()[1]
    module: Any = nn.GroupNorm(groups, channels, node.get("epsilon", 1e-5))
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or bias is None:
        node.refuse("has weights that are computed")
    if len(weight) == channels:
        return node.step(_affine(module, node), node.tensor(0))
    repeats = channels // groups
    module.weight = nn.Parameter(weight.repeat_interleave(repeats))
    module.bias = nn.Parameter(bias.repeat_interleave(repeats))
    return node.step(module, node.tensor(0))


def _affine(module: Any, node: Operands) -> nn.Module:
    module.weight = node.parameter(1)
    if module.weight is None:
        node.refuse("has weights that are computed")
    bias = node.parameter(2) if node.has(2) else None
    module.bias = bias if bias is not None or isinstance(module, nn.LayerNorm) else None
    return module


def _local_response_norm(node: Operands) -> Step:
    module = nn.LocalResponseNorm(
        node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    )
    return node.step(module, node.tensor(0))


def _lp_normalization(node: Operands) -> Step:
    return node.step(operation("normalize"), node.tensor(0), float(node.get("p", 2)), node.get("axis", -1))


def _rms_norm(node: Operands) -> Step:
    shape = node.shape()[node.get("axis", -1) % node.rank() :]
    module = nn.RMSNorm(shape, node.get("epsilon", 1e-5))
    module.weight = node.parameter(1) or node.refuse("has weights that are computed")
    return node.step(module, node.tensor(0))


def _dropout(node: Operands) -> Step:
    """In inference the values themselves; trained on, it is a Dropout again."""
    if len(node.node.outputs) > 1 and node.node.outputs[1]:
        node.refuse("gives its mask beside its result")
    ratio = node.constant(1)
    share = float(ratio if ratio is not None else torch.tensor(node.get("ratio", 0.5)))
    return node.step(nn.Dropout(share), node.tensor(0))


OPERATORS: dict[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "LRN": _local_response_norm,
    "LpNormalization": _lp_normalization,
    "Dropout": _dropout,
}
