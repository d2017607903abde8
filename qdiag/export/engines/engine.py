"""What `export_target` asks of an inference engine, and where all of them are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from qdiag.export.engines.file_versions import FileVersion
from qdiag.export.styles import Style
from qdiag.registry import Registry

Calibration = Literal["qdiag", "target"]


@dataclass(frozen=True)
class Setting:
    """An option of the engine's importer or compiler, and why it has this value.

    Attributes:
        key: As the importer calls it.
        value: As the importer takes it.
        why: The reason, for people.
    """

    key: str
    value: int | str
    why: str


@dataclass(frozen=True)
class Delivery:
    """What is asked for, before any file is written.

    Attributes:
        version: Of the engine, major and minor.
        runtime: The program that the engine's importer is called from.
        style: Of the ONNX file.
        calibration: Whose ranges count.
        bits: Of the tensors that no list names.
        wide: Addresses of layers with 16 bits in a network of 8.
        wide_weights: The same of layers whose weights alone have 16 bits.
        is_per_channel: Whether weights have a scale for each output channel.
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

    Attributes:
        name: Of its `Target`.
        runtimes: What `runtime` may be, the usual one first.
        default_version: Taken if none is given.
        model_file: Name in the folder.
        range_file: Name in the folder.
        file_versions: The ONNX files that its versions read, the oldest first; empty where any is read.
        unverified: What only the engine's own tools can show.
    """

    name: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]
    default_version: ClassVar[str]
    model_file: ClassVar[str] = "model.onnx"
    range_file: ClassVar[str] = "ranges.prototxt"
    file_versions: ClassVar[tuple[FileVersion, ...]] = ()
    unverified: ClassVar[str]

    @staticmethod
    def check(delivery: Delivery) -> None:
        """Complain of what the engine does not take.

        Args:
            delivery: What is asked for.

        Raises:
            OptionError: With what to ask for instead.
        """
        raise NotImplementedError

    @staticmethod
    def reads_ranges(delivery: Delivery) -> bool:
        """True where the engine takes the ranges from a file of their own.

        Args:
            delivery: What is asked for.
        """
        raise NotImplementedError

    @staticmethod
    def settings(delivery: Delivery, wide: Sequence[str], wide_weights: Sequence[str]) -> tuple[Setting, ...]:
        """Every option with its reason.

        Args:
            delivery: What is asked for.
            wide: Those of the delivery, as the ONNX file names them.
            wide_weights: Those of the delivery, as the ONNX file names them.
        """
        raise NotImplementedError

    @staticmethod
    def settings_file(delivery: Delivery, settings: Sequence[Setting]) -> tuple[str, str]:
        """The name and the text of the file that the importer reads, or that its caller passes on.

        Args:
            delivery: What is asked for.
            settings: Every option.
        """
        raise NotImplementedError

    @staticmethod
    def layer_type(op_type: str) -> str:
        """The engine's word for the layer that an ONNX operator becomes; "" where it is not known.

        Args:
            op_type: The operator; "data" for what the network is given.
        """
        raise NotImplementedError


def _is_engine(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Engine) and value is not Engine


ENGINES: Registry[type[Engine]] = Registry("qdiag.export.engines", _is_engine, lambda engine: engine.name)
