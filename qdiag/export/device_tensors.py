"""A device's tensors by the address of what they are in the simulation."""

from collections.abc import Mapping, Sequence

from qdiag.export.dumps.dump import Array, DumpedTensor, DumpProblem, UnfitTensor
from qdiag.export.dumps.in_steps import in_steps
from qdiag.export.tensor_names import TensorNames
from qdiag.numerics.qparams import QParams
from qdiag.planning.layer import Layer
from qdiag.tracing.site import Site


class DeviceTensors:
    """Reads each tensor once, when the forward comes to it.

    names: what the tensors may be called. qparams: the formats of what the simulation stores. problems: of tensors that
    cannot be compared. beside: files of tensors that the simulation does not store.
    """

    def __init__(self, tensors: Sequence[DumpedTensor], names: TensorNames, qparams: Mapping[Site, QParams]):
        self.qparams = qparams
        self.problems: list[DumpProblem] = []
        self.beside: list[str] = []
        self.files: dict[Site, str] = {}
        self._steps: dict[Site, Array | None] = {}
        self._dumped: dict[str, list[DumpedTensor]] = {}
        for tensor in tensors:
            if tensor.name in names.sites:
                self._dumped.setdefault(names.sites[tensor.name], []).append(tensor)
            elif tensor.name in names.inner:
                self.beside.append(tensor.file)
            else:
                text = f"{tensor.name!r} is no tensor that the simulation stores"
                self.problems.append(DumpProblem("unmatched", tensor.file, text))

    def steps(self, layer: Layer, shape: tuple[int, ...]) -> Array | None:
        """What the device stored of a layer, in steps of its format; None, and a problem, where that is not known."""
        site = layer.site
        if site not in self._steps:
            found = self._dumped.pop(str(site), [])
            self.files[site] = found[0].file if found else str(site)
            try:
                self._steps[site] = in_steps(found, self.qparams[site], shape)
            except UnfitTensor as error:
                self._steps[site] = None
                self.problems.append(DumpProblem(error.kind, self.files[site], error.text))
        return self._steps[site]

    def is_known(self, site: Site) -> bool:
        """Whether the device's tensor was read, and can be compared."""
        return self._steps.get(site) is not None

    def forget(self, site: Site) -> None:
        """Let the values of a tensor go; that it was read stays known."""
        known = self._steps.get(site)
        if known is not None:
            self._steps[site] = known[:0]

    def close(self) -> None:
        """Whatever the forward did not come to is a problem too."""
        for site, tensors in self._dumped.items():
            text = f"the forward did not come to {site!r} on these images"
            self.problems += [DumpProblem("unmatched", tensor.file, text) for tensor in tensors]
