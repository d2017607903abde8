"""What a calibration technique is, and where all of them are found."""

from typing import Any, ClassVar

from qdiag.progress import Steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.registry import Registry


class Technique:
    """One way to make a quantized model better without labels; it can be used alone.

    Attributes:
        name: As the user writes it.
        title: What it does, in words that go on from "it".
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        """The better model, as a generator of Progress. The model and its module stay as they are.

        Args:
            model: With ranges of all stored tensors, and what the techniques before this one found.
            data: Images; labels are not used.
        """
        raise NotImplementedError


def _is_technique(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Technique) and value is not Technique


TECHNIQUES: Registry[type[Technique]] = Registry(
    "qdiag.quantization.techniques", _is_technique, lambda technique: technique.name
)
