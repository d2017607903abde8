"""Every layer of the simulation computed from an integer runtime's own tensors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from torch import Tensor

from qdiag.export.agreement import SiteAgreement, distances
from qdiag.export.device_numerics import DeviceNumerics
from qdiag.export.dumps.dump import Array
from qdiag.export.runtime_layer import RuntimeLayer
from qdiag.numerics.layer_output import LayerOutput
from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs


@final
class LayersAlone:
    """Judges the layers of a runtime, whatever came to them: a difference shows where it arises, and nowhere behind.

    names: the runtime's name of each stored tensor, by address.
    """

    def __init__(self, simulated: QuantizedModel, names: Mapping[str, str]):
        self._simulated, self._names = simulated, names
        self._runtime: Mapping[str, Array] = {}
        self._layers = {site: _Layer() for site in names}
        self._run = InterpreterRun(simulated.change(numerics=self._from_the_runtime).interpreter)

    def run(self, inputs: Inputs, runtime: Mapping[str, Array]) -> Any:
        """The result that the runtime's own integers come to. runtime: its tensors by name, of these inputs."""
        self._runtime = runtime
        return self._run.forward(inputs)

    def differing(self) -> tuple[RuntimeLayer, ...]:
        """The layers that differ from the simulation in any image, in the order of the forward."""
        formats = {str(site): str(qparams) for site, qparams in self._simulated.formats.qparams.items()}
        layers = (
            RuntimeLayer(SiteAgreement.of(site, formats[site], layer.distances), layer.is_exact, layer.beyond_rounding)
            for site, layer in self._layers.items()
        )
        return tuple(layer for layer in layers if layer.differing)

    def _from_the_runtime(self, formats: Formats) -> DeviceNumerics:
        return DeviceNumerics(self._simulated.numerics(formats), formats, self._steps, self._judge)

    def _steps(self, layer: Layer, _: tuple[int, ...]) -> Array | None:
        name = self._names.get(str(layer.site))
        return None if name is None else self._runtime[name].astype(np.float64)

    def _judge(self, layer: Layer, output: LayerOutput, expected: Tensor) -> None:
        self._layers[str(layer.site)].add(output, expected)


@dataclass
class _Layer:
    """What was seen of one layer, over all images."""

    distances: Counter[int] = field(default_factory=Counter)
    is_exact: bool = False
    beyond_rounding: float = 0.0

    def add(self, output: LayerOutput, expected: Tensor) -> None:
        apart = distances(output.found.numpy(force=True), expected.numpy(force=True))
        self.distances.update(apart)
        if apart.keys() != {0}:
            self.is_exact |= output.is_exact
            self.beyond_rounding = float(np.maximum(self.beyond_rounding, output.beyond_rounding))  # NaN stays
