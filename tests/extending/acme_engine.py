"""An engine of our own: what the Acme compiler wants to be told."""

from collections.abc import Sequence

from qdiag.errors import OptionError
from qdiag.export.engines.engine import Delivery, Engine, Setting


class AcmeEngine(Engine):
    """Reads ONNX files of 8-bit integers, from version 2.0 on; settings are lines of text."""

    name = "acme"
    runtimes = ("acmec",)
    default_version = "2.0"
    unverified = "The compiler has not read what is written here."

    @staticmethod
    def check(delivery: Delivery) -> None:
        if delivery.version < (2, 0):
            raise OptionError("acmec reads ONNX files from version 2.0 on.", code="engine-version")
        if delivery.style != "qdq":
            raise OptionError("acmec reads files of integers alone. Give style='qdq'.", code="engine-version")
        if delivery.bits != 8 or delivery.wide or delivery.wide_weights:
            raise OptionError("acmec computes in 8 bits alone.", code="bits-unsupported")

    @staticmethod
    def reads_ranges(delivery: Delivery) -> bool:
        return False  # the file of integers brings its scales along

    @staticmethod
    def settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> tuple[Setting, ...]:
        return (
            Setting("network", AcmeEngine.model_file, "integers with their scales"),
            Setting("calibrate", 0, "weights and ranges are final"),
        )

    @staticmethod
    def settings_file(delivery: Delivery, settings: Sequence[Setting]) -> tuple[str, str]:
        return "acme.cfg", "".join(f"{setting.key}={setting.value}  # {setting.why}\n" for setting in settings)

    @staticmethod
    def layer_type(op_type: str) -> str:
        return ""  # asked for range files alone
