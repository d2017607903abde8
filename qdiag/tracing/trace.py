"""What happened in one forward pass: values, calls, and the edges between them."""

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch

from qdiag.errors import SiteNotFound
from qdiag.tracing.operations import OperationKind, kind_of
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source

ValueKind = Literal["input", "parameter", "buffer", "constant", "unseen", "computed"]


@dataclass(frozen=True)
class Value:
    """One tensor of the forward: the network's input, a parameter, or what an operation computed.

    Attributes:
        number: Of the tensor, in this trace.
        kind: "constant" was made inside the forward from no tensor (torch.zeros); "unseen" came from outside of what
            can be seen (NumPy, a custom kernel, a plain attribute of a module).
        shape: Of the tensor.
        dtype: Of the tensor.
        name: The input's or parameter's own name, else "".
        producer: The operation that computed it; None for inputs, parameters and constants.
    """

    number: int
    kind: ValueKind
    shape: tuple[int, ...]
    dtype: torch.dtype
    name: str = ""
    producer: Site | None = None

    @property
    def is_floating(self) -> bool:
        return self.dtype.is_floating_point


@dataclass(frozen=True)
class Call:
    """One operation of the forward, with everything that lint and planning ask about it.

    Attributes:
        site: Its address.
        function: Torch's dotted name of it.
        module: Path of the innermost module that runs it.
        module_type: Class of that module.
        source: The user's line.
        inputs: Every tensor that it takes.
        outputs: Every tensor that it gives, or overwrites.
        arguments: By name where torch's signature is known; tensors appear as `Value`.
        in_place: Whether the operation overwrote its first input.
    """

    site: Site
    function: str
    module: str
    module_type: type
    source: Source | None
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    arguments: dict[str, Any] = field(compare=False)
    in_place: bool = False

    @property
    def op(self) -> str:
        return self.site.op

    @property
    def kind(self) -> OperationKind:
        return kind_of(self.op)

    @property
    def is_functional(self) -> bool:
        """True where the operation was written as a function or operator, not as a module named after it."""
        return not self.site.named_by_module

    @property
    def activations(self) -> tuple[Value, ...]:
        """Inputs that are floating-point and neither parameters nor buffers."""
        return tuple(v for v in self.inputs if v.is_floating and v.kind not in ("parameter", "buffer"))

    def tensor(self, name: str) -> Value | None:
        """The tensor given for an argument; None where it was not given, or is not a tensor.

        Args:
            name: The argument's name in torch's signature.
        """
        value = self.arguments.get(name)
        return value if isinstance(value, Value) else None

    @property
    def is_depthwise(self) -> bool:
        """A convolution with one input channel in each group, and more than one group."""
        weight = self.tensor("weight")
        if self.kind is not OperationKind.WEIGHTED or weight is None or len(weight.shape) < 3:
            return False
        groups = self.arguments.get("groups", 1)
        per_group = weight.shape[0] // groups if "transpose" in self.op else weight.shape[1]
        return groups > 1 and per_group == 1


@dataclass(frozen=True)
class ModuleUse:
    """One call of a module: which, from where."""

    path: str
    type: type
    source: Source | None


@dataclass(frozen=True, repr=False)
class Trace:
    """One forward pass of a model.

    Attributes:
        model_name: The model's class.
        calls: Every operation on tensors, in order.
        inputs: The network's own.
        outputs: The network's own, by name.
        uses: Every call of a module, in order.
    """

    model_name: str
    calls: tuple[Call, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[tuple[str, Value], ...]
    uses: tuple[ModuleUse, ...]

    def __repr__(self) -> str:
        return f"Trace of {self.model_name}: {len(self.calls)} operations, {len(self.outputs)} output(s)"

    def sites(self) -> tuple[Site, ...]:
        """The address of every operation, in order."""
        return tuple(call.site for call in self.calls)

    @cached_property
    def _by_site(self) -> dict[Site, Call]:
        return {call.site: call for call in self.calls}

    @cached_property
    def _by_name(self) -> dict[str, Call]:
        named = {str(site): call for site, call in self._by_site.items()}
        return {f"{name}#0": call for name, call in named.items() if "#" not in name} | named

    def __getitem__(self, site: Site | str) -> Call:
        """The call at an address, given as a Site or in its text form.

        Raises SiteNotFound, which names the nearest addresses.
        """
        found = self._by_name.get(site) if isinstance(site, str) else self._by_site.get(site)
        if found is None:
            near = difflib.get_close_matches(str(site), [str(s) for s in self.sites()], n=3, cutoff=0.4)
            hint = f"Nearest: {', '.join(map(repr, near))}. " if near else ""
            raise SiteNotFound(
                f"no site {str(site)!r} in this trace. {hint}List them with trace.sites().", code="no-site"
            )
        return found

    def __contains__(self, site: object) -> bool:
        return site in self._by_site or site in self._by_name

    @cached_property
    def _consumers(self) -> dict[int, list[Call]]:
        found: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            for number in dict.fromkeys(value.number for value in call.inputs):
                found[number].append(call)
        return found

    def consumers(self, value: Value) -> tuple[Call, ...]:
        """The calls that take this tensor, in order.

        Args:
            value: Of this trace.
        """
        return tuple(self._consumers.get(value.number, ()))

    def producer(self, value: Value) -> Call | None:
        """The call that computed this tensor; None for inputs, parameters and constants.

        Args:
            value: Of this trace.
        """
        return self._by_site[value.producer] if value.producer is not None else None

    def is_output(self, value: Value) -> bool:
        """True where the model returns this tensor.

        Args:
            value: Of this trace.
        """
        return any(value.number == output.number for _, output in self.outputs)
