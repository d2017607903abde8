"""Where formats end, as parameters that training learns (TQT)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.numerics.qparams import QParams
from qdiag.numerics.ranges.range import Range
from qdiag.quantization.calibration import Calibration
from qdiag.tracing.site import Site

MIDDLE = 0.5
"""Below the power of two that a threshold is rounded up to: as far from a finer format as from a coarser one."""


class Thresholds(nn.Module):
    """log2 of the ends of formats, rounded up where they are used: of stored tensors, and of weights with one scale.

    outputs, tops: the formats and the ends that training sets out from. Who holds this saves it, by address.
    """

    def __init__(self, outputs: Mapping[Site, QParams], tops: Mapping[Site, Tensor], device: torch.device):
        super().__init__()
        weights = {site: int(top) for site, top in tops.items() if not top.ndim}
        self.signed = {site: qparams.qtype.signed for site, qparams in outputs.items()}
        self.output_rows = {site: row for row, site in enumerate(outputs)}
        self.weight_rows = {site: row for row, site in enumerate(weights)}
        ends = [int(qparams.clip_exponent) for qparams in outputs.values()]
        self.outputs = nn.Parameter(torch.tensor(ends, dtype=torch.float32, device=device) - MIDDLE)
        self.weights = nn.Parameter(torch.tensor(list(weights.values()), dtype=torch.float32, device=device) - MIDDLE)

    def output(self, site: Site) -> Tensor:
        return self.outputs[self.output_rows[site]]

    def weight(self, site: Site) -> Tensor | None:
        """None for a weight with a scale for each channel."""
        return self.weights[self.weight_rows[site]] if site in self.weight_rows else None

    def updated(self, calibration: Calibration) -> Calibration:
        """With formats that end where they do by now; the same object where they do so already.

        Raises ModelError where a threshold became NaN or infinite.
        """
        ranges, tops = self._ranges(), self._tops()
        if all(calibration.ranges[site] == one for site, one in ranges.items()) and all(
            torch.equal(calibration.tops[site], top) for site, top in tops.items()
        ):
            return calibration
        return replace(calibration.change(ranges=ranges), tops={**calibration.tops, **tops})

    def _ranges(self) -> dict[Site, Range]:
        """Of every stored tensor: just what its format is to hold."""
        ends = torch.exp2(self.outputs.detach().ceil()).tolist()
        ranges = {}
        for site, row in self.output_rows.items():
            ranges[site] = Range(-ends[row] if self.signed[site] else 0.0, ends[row])
            if not ranges[site].is_finite:
                raise ModelError(
                    f"the threshold of {str(site)!r} became NaN or infinite. Go back to the last checkpoint, and lower "
                    "the learning rate of the thresholds.",
                    code="training-diverged",
                )
        return ranges

    def _tops(self) -> dict[Site, Tensor]:
        tops = self.weights.detach().ceil().to("cpu", torch.int64)
        return {site: tops[row] for site, row in self.weight_rows.items()}

    def state(self) -> dict[str, dict[str, float]]:
        """Plain containers, by address."""
        return {
            part: {str(site): number for site, number in zip(rows, values.tolist(), strict=True)}
            for part, rows, values in self._parts()
        }

    def _parts(self) -> tuple[tuple[str, dict[Site, int], nn.Parameter], ...]:
        return ("outputs", self.output_rows, self.outputs), ("weights", self.weight_rows, self.weights)

    @torch.no_grad()
    def load(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """The inverse of `state`, for the same addresses."""
        for part, rows, values in self._parts():
            found = state[part]
            values.copy_(torch.tensor([found[str(site)] for site in rows], dtype=values.dtype))

    def _save_to_state_dict(self, *_: Any) -> None:
        """Nothing: a state_dict holds the user's own keys, and the rest by address."""

    def _load_from_state_dict(self, *_: Any) -> None:
        """Nothing, as nothing is saved."""
