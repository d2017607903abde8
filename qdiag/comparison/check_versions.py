"""Whether versions that a user brings can stand beside a model."""

from collections.abc import Mapping

from qdiag.errors import OptionError
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.same_network import is_same_network


def checked_versions(subject: Subject, quantized: Mapping[str, QuantizedModel] | None) -> Mapping[str, QuantizedModel]:
    """The versions by name. Raises OptionError where there is none, or one was made from another model."""
    if not quantized:
        raise OptionError(
            "no version to hold beside float: give quantized={name: calibrated model}.", code="no-versions"
        )
    for name, version in quantized.items():
        if not is_same_network(version.module, subject.model):
            raise OptionError(
                f"the version {name!r} was made from another model than the one given.", code="other-model"
            )
    return quantized
