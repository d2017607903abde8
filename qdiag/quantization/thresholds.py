"""Where formats end, as parameters that training learns (TQT)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.numerics.qparams import QParams
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.tqt import learned_clip_exponents, learned_clips, starting_thresholds
from qdiag.quantization.calibration import Calibration
from qdiag.tracing.site import Site


class Thresholds(nn.Module):
    """log2 of the ends of formats, rounded up where they are used: of stored tensors, and of weights with one scale.

    outputs: the formats that training sets out from. clip_exponents: of weights' formats, [] or by channel [C]. Who
    holds this saves it, by address.
    """

    def __init__(self, outputs: Mapping[Site, QParams], clip_exponents: Mapping[Site, Tensor], device: torch.device):
        super().__init__()
        weights = {site: int(exponent) for site, exponent in clip_exponents.items() if not exponent.ndim}
        self.signed = {site: qparams.qtype.signed for site, qparams in outputs.items()}
        self.output_rows = {site: row for row, site in enumerate(outputs)}
        self.weight_rows = {site: row for row, site in enumerate(weights)}
        self.outputs = _thresholds_at([int(qparams.clip_exponent) for qparams in outputs.values()], device)
        self.weights = _thresholds_at(list(weights.values()), device)

    def output(self, site: Site) -> Tensor:
        return self.outputs[self.output_rows[site]]

    def weight(self, site: Site) -> Tensor | None:
        """None for a weight with a scale for each channel."""
        return self.weights[self.weight_rows[site]] if site in self.weight_rows else None

    def updated(self, calibration: Calibration) -> Calibration:
        """With formats that end where they do by now; the same object where they do so already.

        Raises ModelError where a threshold became NaN or infinite.
        """
        ranges, exponents = self._ranges(), self._weight_clip_exponents()
        if all(calibration.ranges[site] == one for site, one in ranges.items()) and all(
            torch.equal(calibration.weight_clip_exponents[site], exponent) for site, exponent in exponents.items()
        ):
            return calibration
        exponents = {**calibration.weight_clip_exponents, **exponents}
        return replace(calibration.change(ranges=ranges), weight_clip_exponents=exponents)

    def _ranges(self) -> dict[Site, Range]:
        """Of every stored tensor: just what its format is to hold."""
        clips = learned_clips(self.outputs).tolist()
        ranges = {}
        for site, row in self.output_rows.items():
            ranges[site] = Range(-clips[row] if self.signed[site] else 0.0, clips[row])
            if not ranges[site].is_finite:
                raise ModelError(
                    f"the threshold of {str(site)!r} became NaN or infinite. Go back to the last checkpoint, and lower "
                    "the learning rate of the thresholds.",
                    code="training-diverged",
                )
        return ranges

    def _weight_clip_exponents(self) -> dict[Site, Tensor]:
        exponents = learned_clip_exponents(self.weights).to("cpu", torch.int64)
        return {site: exponents[row] for site, row in self.weight_rows.items()}

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


def _thresholds_at(clip_exponents: Sequence[int], device: torch.device) -> nn.Parameter:
    """Thresholds of formats that end there."""
    return nn.Parameter(starting_thresholds(torch.tensor(clip_exponents, dtype=torch.float32, device=device)))
