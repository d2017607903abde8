"""The optimizers that the demo's two networks are trained with; the lint reads their parameter groups."""

from torch import nn
from torch.optim import SGD

LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4


def healthy_optimizer(model: nn.Module) -> SGD:
    """The same weight decay on every parameter, which keeps the channels of a layer within one scale."""
    return SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def wild_optimizer(model: nn.Module) -> SGD:
    """A common recipe: weight decay on everything but the depthwise convolutions, whose weights may then grow."""
    depthwise = [module.weight for module in model.modules() if _is_depthwise(module)]
    taken = {id(parameter) for parameter in depthwise}
    others = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    groups = [{"params": others, "weight_decay": WEIGHT_DECAY}, {"params": depthwise, "weight_decay": 0.0}]
    return SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
