"""All cases: hosts, faults, places, strengths; each made anew from its seed."""

import copy
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import torch

from tests.faults.data_faults import CALIBRATION_FAULTS, WRONG, DataFault
from tests.faults.hosts import Host, digit_host, zoo_host
from tests.faults.inject import FORMAT_FAULTS, GIVES_UP, FormatFault
from tests.faults.real import real_host

Group = Literal["healthy", "format", "calibration", "wrong"]
DATA_FAULTS: dict[Group, tuple[DataFault, ...]] = {"calibration": CALIBRATION_FAULTS, "wrong": WRONG}
SAME = 1e-3

TRAINED = ("residual", "bottleneck", "branches")
ZOO = ("resnet18",)
"""Of torchvision, those whose random features read the digits: of deeper ones the last layer sees too little."""
REAL = ("cifar-resnet20", "cifar-mobilenetv2", "mobilenet_v2", "efficientnet_lite0", "yolox_nano")


@dataclass(frozen=True)
class Case:
    """One fault in one host. places: where it was put. preserved: relative difference of float; None where the fault
    is to change it. causes: right words by side, weights' and tensors'. good: images that ranges should come from.
    """

    name: str
    group: Group
    fault: str
    host: Host
    healthy: Host
    places: tuple[str, ...] = ()
    preserved: float | None = None
    causes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


Make = Callable[[], Case | None]


@cache
def host_of(name: str) -> Host | None:
    """None where a real network's files are not here."""
    kind, _, seed = name.rpartition("-")
    if name in REAL:
        return real_host(name)
    if name in ZOO:
        return zoo_host(name)
    return digit_host(kind or name, int(seed) if kind else 0)


def digit_names(seed: int = 0) -> list[str]:
    """The demo's network, and those that are trained from seeds: other ones for each seed of the bench."""
    twice = [f"{kind}-{number}" for kind in TRAINED for number in (2 * seed, 2 * seed + 1)]
    return ["demo", *twice, f"segmenter-{seed}", f"values-{seed}"]


def all_cases(names: list[str], seed: int = 0) -> Iterator[tuple[str, Make]]:
    """(name, what makes it) of every case on these hosts; a maker gives None where there is no such place.

    seed: of the places.
    """
    for host in names:
        yield f"{host} | healthy", partial(_healthy, host)
        for fault in FORMAT_FAULTS:
            for strength in fault.strengths:
                name = f"{host} | {fault.name} | 2^{strength:g}"
                yield name, partial(format_case, name, host, [(fault, strength)], seed)
        for first, second in ((0, 2), (1, 5), (2, 6), (0, 7)):
            one, two = FORMAT_FAULTS[first], FORMAT_FAULTS[second]
            name = f"{host} | {one.name} and {two.name}"
            chosen = [(one, one.strengths[1]), (two, two.strengths[1])]
            yield name, partial(format_case, name, host, chosen, seed)
        for group in DATA_FAULTS:
            for data_fault in DATA_FAULTS[group]:
                for strength in data_fault.strengths:
                    name = f"{host} | {data_fault.name} | {strength:g}"
                    yield name, partial(data_case, name, host, group, data_fault, strength, seed)


def _healthy(name: str) -> Case | None:
    host = host_of(name)
    return None if host is None else Case(f"{name} | healthy", "healthy", "none", host, host)


def _generator(name: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)


def format_case(name: str, host_name: str, faults: list[tuple[FormatFault, float]], seed: int = 0) -> Case | None:
    """Injects one fault after another, and asserts that float stays what it was."""
    host, generator = host_of(host_name), _generator(name, seed)
    if host is None:
        return None
    changed, reference, places = host.copy(), host, []
    for fault, strength in faults:
        number = int(torch.randint(1000, (1,), generator=generator))
        if fault.name in GIVES_UP:  # float is compared with the channel given up, and nothing else done
            reference = replace(host, model=copy.deepcopy(changed.model))
            fault.inject(reference.model, number, -40.0, copy_of(generator))
        place = fault.inject(changed.model, number, strength, generator)
        if place is None:
            return None
        places.append(place)
    few = host.images[:32]
    with torch.no_grad():
        before, after = reference.model(few), changed.model(few)
    difference = float((after - before).norm() / before.norm())
    assert difference < SAME, f"{name}: float moved by {difference:.1e}"
    weights = {word for fault, _ in faults for word in fault.weight_causes}
    tensors = {word for fault, _ in faults for word in fault.tensor_causes}
    causes = tuple(sorted(weights)), tuple(sorted(tensors))
    title = " and ".join(fault.name for fault, _ in faults) if len(faults) == 1 else "two at once"
    return Case(name, "format", title, changed, host, tuple(places), difference, causes)


def copy_of(generator: torch.Generator) -> torch.Generator:
    other = torch.Generator()
    other.set_state(generator.get_state())
    return other


def data_case(name: str, host_name: str, group: Group, fault: DataFault, strength: float, seed: int = 0) -> Case | None:
    host = host_of(host_name)
    changed = None if host is None else fault.apply(host.copy(), strength, _generator(name, seed))
    if host is None or changed is None:
        return None
    return Case(name, group, fault.name, changed, host, causes=(fault.causes, fault.causes))
