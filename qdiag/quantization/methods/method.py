"""What a calibration method is, and where all of them are found."""

from typing import Any, ClassVar

from qdiag.planning.formats import PerChannelOption
from qdiag.registry import Registry


class Method:
    """Techniques in the order in which they are applied, after ranges by minimum and maximum.

    Attributes:
        name: As the user writes it.
        techniques: By their names.
        per_channel: What the method is made for, where the user does not say.
    """

    name: ClassVar[str]
    techniques: ClassVar[tuple[str, ...]] = ()
    per_channel: ClassVar[PerChannelOption] = None


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method) and value is not Method


METHODS: Registry[type[Method]] = Registry("qdiag.quantization.methods", _is_method, lambda method: method.name)
