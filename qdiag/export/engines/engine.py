"""What `export_target` asks of an inference engine, and where all of them are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from qdiag.export.export_onnx import Style
from qdiag.registry import Registry

Calibration = Literal["qdiag", "target"]


@dataclass(frozen=True)
class Setting:
    """An option of the engine's importer or compiler, and why it has this value."""

    key: str
    value: int | str
    why: str


@dataclass(frozen=True)
class Delivery:
    """What is asked for, before any file is written.

    version: of the engine, major and minor. runtime: the program that the engine's importer is called from.
    style: of the ONNX file. calibration: whose ranges count. bits: of the tensors that no list names.
    wide, wide_weights: addresses of layers with 16 bits in a network of 8, all of the layer or its weights alone.
    """

    version: tuple[int, int]
    runtime: str
    style: Style
    calibration: Calibration
    bits: int
    wide: tuple[str, ...] = ()
    wide_weights: tuple[str, ...] = ()
    is_per_channel: bool = False


class Engine:
    """An inference engine, as far as what it is told changes.

    name: of its `Target`. runtimes: what `runtime` may be, the usual one first. default_version: taken if none is
    given. model_file, range_file: names in the folder.
    """

    name: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]
    default_version: ClassVar[str]
    model_file: ClassVar[str] = "model.onnx"
    range_file: ClassVar[str] = "ranges.prototxt"
    unverified: ClassVar[str]
    """What only the engine's own tools can show."""

    @staticmethod
    def check(delivery: Delivery) -> None:
        """Raises OptionError for what the engine does not take."""
        raise NotImplementedError

    @staticmethod
    def reads_ranges(delivery: Delivery) -> bool:
        """True where the engine takes the ranges from a file of their own."""
        raise NotImplementedError

    @staticmethod
    def settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> tuple[Setting, ...]:
        """Every option with its reason. wide, wide_weights: those of the delivery, as the ONNX file names them."""
        raise NotImplementedError

    @staticmethod
    def settings_file(delivery: Delivery, settings: Sequence[Setting]) -> tuple[str, str]:
        """The name and the text of the file that the importer reads, or that its caller passes on."""
        raise NotImplementedError

    @staticmethod
    def layer_type(op_type: str) -> str:
        """The engine's word for the layer that an ONNX operator becomes; "" where it is not known."""
        raise NotImplementedError


def _is_engine(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Engine) and value is not Engine


ENGINES: Registry[type[Engine]] = Registry("qdiag.export.engines", _is_engine, lambda engine: engine.name)
