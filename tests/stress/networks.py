"""Random networks from a small grammar: modules, functions, in place, reused, branching, with many inputs and outputs.

All their numbers are sums of few powers of two, so that float32 computes with them exactly: where the simulation and
`tests.stress.integers` differ, it is no matter of the order of additions.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 16
EPS = 2.0**-10
VIEWS = ("chunk",)


@dataclass(frozen=True)
class Step:
    """One operation. reads: numbers of the values it takes; its own value has the next number.

    layer: the name of its weights. act: what bounds its result. style: how the forward writes it.
    """

    op: str
    reads: tuple[int, ...]
    layer: str = ""
    act: str = ""
    style: str = "module"


@dataclass
class Program:
    """What a network computes. inputs: channels of each. outputs: numbers of the values it returns; form: in what."""

    seed: int
    inputs: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    form: str = "tensor"


class Unit(nn.Module):
    """A convolution or linear layer, and a BatchNorm or none."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None):
        super().__init__()
        self.layer, self.norm = layer, norm


class Network(nn.Module):
    """Carries a program out."""

    def __init__(self, program: Program, units: dict[str, Unit]):
        super().__init__()
        self.program, self.units = program, nn.ModuleDict(units)
        self.relu, self.relu6, self.relu_in_place = nn.ReLU(), nn.ReLU6(), nn.ReLU(inplace=True)
        self.pool, self.mean = nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)

    def forward(self, *images: Tensor) -> Any:
        values = list(images)
        for step in self.program.steps:
            values.append(self.run(step, [values[number] for number in step.reads]))
        found = [values[number] for number in self.program.outputs]
        if self.program.form == "dict":
            return {f"out{number}": value for number, value in enumerate(found)}
        return found[0] if self.program.form == "tensor" else tuple(found)

    def run(self, step: Step, x: list[Tensor]) -> Tensor:
        if step.op in ("conv", "linear"):
            return self.act(step, self.weighted(step, x[0]))
        return self.act(step, _plain(step, x, self))

    def weighted(self, step: Step, x: Tensor) -> Tensor:
        unit: Any = self.units[step.layer]
        layer, norm = unit.layer, unit.norm
        if step.op == "linear":
            x = x.flatten(1)
            return layer(x) if step.style == "module" else F.linear(x, layer.weight, layer.bias)
        if step.style == "module":
            x = layer(x)
            return x if norm is None else norm(x)
        x = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
        if norm is None:
            return x
        mean, variance = norm.running_mean, norm.running_var
        return F.batch_norm(x, mean, variance, norm.weight, norm.bias, norm.training, 0.1, EPS)

    def act(self, step: Step, x: Tensor) -> Tensor:
        if not step.act:
            return x
        if step.style == "functional":
            return F.relu(x) if step.act == "relu" else x.clamp(0, 6)
        if step.style == "in place":
            return self.relu_in_place(x) if step.act == "relu" else F.relu6(x)
        return self.relu(x) if step.act == "relu" else self.relu6(x)


def _plain(step: Step, x: list[Tensor], network: Network) -> Tensor:
    """Operations without weights."""
    if step.op == "add" and step.style == "in place":
        x[0] += x[1]
        return x[0]
    if step.op == "relu":
        return F.relu_(x[0]) if step.style == "in place" else F.relu(x[0])
    if step.op == "pool":
        return network.pool(x[0]) if step.style == "module" else F.avg_pool2d(x[0], 2)
    if step.op == "mean":
        return network.mean(x[0]) if step.style == "module" else x[0].mean((2, 3), keepdim=True)
    return {
        "add": lambda: x[0] + x[1] if step.style == "module" else torch.add(x[0], x[1]),
        "mul": lambda: x[0] * x[1],
        "cat": lambda: torch.cat(x, 1),
        "max": lambda: F.max_pool2d(x[0], 2),
        "up": lambda: F.interpolate(x[0], scale_factor=2.0, mode="nearest"),
        "chunk": lambda: x[0].chunk(2, 1)[1],
    }[step.op]()


def generated(seed: int) -> tuple[Network, Program]:
    """A network in eval mode."""
    draws = random.Random(seed)
    program = Program(seed, tuple(draws.choice((1, 2, 3)) for _ in range(draws.choice((1, 1, 2)))))
    writer = _Writer(program, draws)
    for _ in range(draws.randint(3, 11)):
        writer.step()
    writer.end()
    torch.manual_seed(seed)
    units = {name: _unit(*shape) for name, shape in writer.layers.items()}
    return Network(program, units).eval(), program


def images_for(program: Program, seed: int, count: int = 4, scale: float = 1.0) -> tuple[Tensor, ...]:
    """One tensor for each input, of multiples of 2^-7."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(count, channels, SIZE, SIZE) for channels in program.inputs]
    return tuple((scale * torch.randn(shape, generator=generator) * 128).round() / 128 for shape in shapes)


Layer = tuple[str, int, int, int, int, int, bool, bool]
"""What it is, channels in and out, kernel, stride, groups, whether it has a bias, and a BatchNorm."""


class _Writer:
    """Writes a program step by step. known: channels and size of each value that may still be read."""

    def __init__(self, program: Program, draws: random.Random):
        self.program, self.draws = program, draws
        self.known = {number: (channels, SIZE) for number, channels in enumerate(program.inputs)}
        self.layers: dict[str, Layer] = {}
        self.viewed: set[int] = set()

    def step(self) -> None:
        op = self.draws.choice(
            ("conv",) * 8 + ("add",) * 4 + ("cat", "mul", "relu", "relu", "pool", "max", "up", "chunk")
        )
        number = self.draws.choice(list(self.known)[-4:])
        channels, size = self.known[number]
        if op == "conv":
            self.convolution(number)
        elif op in ("add", "mul", "cat"):
            self.join(op, number)
        elif op == "relu":
            in_place = self.may_be_overwritten(number) and self.draws.random() < 0.5
            self.write(Step(op, (number,), style="in place" if in_place else "functional"), self.known[number])
            self.forget(number, in_place)
        elif op == "chunk" and channels % 2 == 0:
            self.viewed.add(number)
            self.write(Step(op, (number,)), (channels // 2, size))
            self.viewed.add(self.last)
        elif (op in ("pool", "max") and size > 4) or (op == "up" and size < SIZE):
            style = self.draws.choice(("module", "functional"))
            self.write(Step(op, (number,), style=style), (channels, size * 2 if op == "up" else size // 2))

    @property
    def last(self) -> int:
        return len(self.program.inputs) + len(self.program.steps) - 1

    def write(self, step: Step, shape: tuple[int, int]) -> None:
        self.program.steps.append(step)
        self.known[self.last] = shape

    def may_be_overwritten(self, number: int) -> bool:
        return number >= len(self.program.inputs) and number not in self.viewed

    def forget(self, number: int, is_overwritten: bool) -> None:
        if is_overwritten:
            del self.known[number]

    def convolution(self, number: int) -> None:
        channels, size = self.known[number]
        again = [name for name, layer in self.layers.items() if layer[1] == channels and (layer[4] == 1 or size > 4)]
        if again and self.draws.random() < 0.2:
            name = self.draws.choice(again)
        else:
            name = f"layer{len(self.layers)}"
            outputs, stride = self.draws.choice((4, 6, 8)), self.draws.choice((1, 1, 2)) if size > 4 else 1
            groups = channels if self.draws.random() < 0.25 and channels > 1 else 1
            kernel, has_norm = self.draws.choice((1, 3)), self.draws.random() < 0.6
            outputs = channels if groups > 1 else outputs
            self.layers[name] = ("conv", channels, outputs, kernel, stride, groups, self.draws.random() < 0.5, has_norm)
        _, _, outputs, _, stride, *_ = self.layers[name]
        act, style = self.draws.choice(("", "relu", "relu", "relu6")), self.draws.choice(STYLES)
        self.write(Step("conv", (number,), name, act, style), (outputs, size // stride))

    def join(self, op: str, number: int) -> None:
        channels, size = self.known[number]
        others = [
            other
            for other, shape in self.known.items()
            if other != number and (shape[1] == size if op == "cat" else shape == (channels, size))
        ]
        if not others:
            return self.convolution(number)
        other, act = self.draws.choice(others), self.draws.choice(("", "", "relu"))
        in_place = op == "add" and self.may_be_overwritten(number) and self.draws.random() < 0.4
        style = "in place" if in_place else self.draws.choice(("module", "functional"))
        total = channels + self.known[other][0] if op == "cat" else channels
        self.write(Step(op, (number, other), act=act, style=style), (total, size))
        return self.forget(number, in_place)

    def end(self) -> None:
        """What is returned: a classifier's scores, or one to three of the latest values."""
        if self.draws.random() < 0.5:
            number = list(self.known)[-1]
            channels = self.known[number][0]
            self.write(Step("mean", (number,), style=self.draws.choice(("module", "functional"))), (channels, 1))
            self.layers["head"] = ("linear", channels, 5, 1, 1, 1, True, False)
            self.write(Step("linear", (self.last,), "head", style=self.draws.choice(("module", "functional"))), (5, 1))
        ends = [number for number in self.known if number >= len(self.program.inputs)]
        if not ends:
            self.convolution(0)
            ends = [self.last]
        self.program.outputs = tuple(ends[-self.draws.choice((1, 1, 2, 3)) :])
        several = self.draws.choice(("tuple", "dict"))
        self.program.form = "tensor" if len(self.program.outputs) == 1 else several


STYLES = ("module", "functional", "in place")


@torch.no_grad()
def _unit(kind: str, inputs: int, outputs: int, kernel: int, stride: int, groups: int, bias: bool, norm: bool) -> Unit:
    """With numbers of few bits: products with a BatchNorm's factor, a quarter's multiple, are exact."""
    layer: nn.Conv2d | nn.Linear
    if kind == "linear":
        layer = nn.Linear(inputs, outputs)
    else:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    fan_in = layer.weight[0].numel()
    layer.weight.copy_((torch.randn_like(layer.weight) / fan_in**0.5 * 256).round().clamp(-512, 512) / 256)
    if layer.bias is not None:
        layer.bias.copy_((torch.randn_like(layer.bias) * 4).round() / 16)
    if not norm:
        return Unit(layer, None)
    after = nn.BatchNorm2d(outputs, eps=EPS)
    assert after.running_mean is not None
    assert after.running_var is not None
    after.weight.copy_(torch.randint(-8, 9, (outputs,)) / 4)
    after.bias.copy_((torch.randn(outputs) * 4).round() / 16)
    after.running_mean.copy_((torch.randn(outputs) * 4).round() / 16)
    after.running_var.copy_(4.0 ** torch.randint(-1, 2, (outputs,)) - EPS)
    return Unit(layer, after)
