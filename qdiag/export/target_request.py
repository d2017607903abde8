"""What is asked of an engine: options and a plan, held against what it takes before anything is written."""

import dataclasses
import re

from qdiag.errors import OptionError
from qdiag.export.engines.engine import ENGINES, Calibration, Delivery, Engine
from qdiag.export.styles import STYLES, Style
from qdiag.planning.plan import QuantPlan


def requested(
    target: str,
    version: str | None,
    runtime: str | None,
    style: Style,
    calibration: Calibration,
    *,
    bits: int = 8,
    is_per_channel: bool = False,
) -> tuple[type[Engine], Delivery]:
    """The engine, and what is asked of it. Raises OptionError for what it does not take, as far as options tell."""
    engine = ENGINES[target]
    runtime = runtime or engine.runtimes[0]
    if runtime not in engine.runtimes:
        raise OptionError(
            f"runtime={runtime!r}: {engine.name} has {', '.join(map(repr, engine.runtimes))}.", code="option-value"
        )
    if style not in STYLES:
        raise OptionError(f"style={style!r}: it is {' or '.join(map(repr, STYLES))}.", code="option-value")
    if calibration not in ("qdiag", "target"):
        raise OptionError(f"calibration={calibration!r}: it is 'qdiag' or 'target'.", code="option-value")
    numbers = _version(version or engine.default_version)
    delivery = Delivery(numbers, runtime, style, calibration, bits, is_per_channel=is_per_channel)
    engine.check(delivery)
    return engine, delivery


def planned(delivery: Delivery, plan: QuantPlan) -> Delivery:
    """With what the plan says of its layers."""
    bits, wide, wide_weights = _widths(plan)
    is_per_channel = any(layer.weight is not None and layer.weight.axis is not None for layer in plan.layers)
    return dataclasses.replace(delivery, bits=bits, wide=wide, wide_weights=wide_weights, is_per_channel=is_per_channel)


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)[._](\d+)", str(text))
    if found is None:
        raise OptionError(
            f"version={text!r}: write it as '8.6', the engine's major and minor version.", code="option-value"
        )
    return int(found[1]), int(found[2])


def _widths(plan: QuantPlan) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The bits of the network; layers with 16 in one of 8; and those of them whose weights alone have 16."""
    wide, wide_weights, all_bits = [], [], set()
    for layer in plan.layers:
        site, output, weight = str(layer.site), layer.output, layer.weight
        if output is None or (layer.is_weighted and weight is None):
            raise OptionError(
                f"{site!r} stays in float, and the target computes in 8 or 16 bits. Give it bits.",
                code="bits-unsupported",
            )
        widths = {output.bits} if weight is None else {output.bits, weight.bits}
        if not widths <= {8, 16}:
            raise OptionError(
                f"{site!r} has {' and '.join(map(str, sorted(widths)))} bits; the target 8 or 16.",
                code="bits-unsupported",
            )
        if output.bits == 16 and weight is not None and weight.bits == 8:
            raise OptionError(
                f"{site!r} stores 16 bits and has weights of 8; on the target 16 bits hold for both.",
                code="bits-unsupported",
            )
        all_bits |= widths
        if output.bits == 16:
            wide.append(site)
        elif weight is not None and weight.bits == 16:
            wide_weights.append(site)
    return (16, (), ()) if all_bits == {16} else (8, tuple(wide), tuple(wide_weights))
