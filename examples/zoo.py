"""Which networks of torchvision and timm go through qdiag: trace, lint, compare, a training step, export, verify.

Writes docs/zoo.md, and the rows it is made of into docs/zoo.json, where the next run goes on: `make zoo-page`, or
`python examples/zoo.py PAGE [--minutes M] [--only LETTERS] [--again]`.
"""

import argparse
import gc
import json
import logging
import math
import signal
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from qdiag import QdiagError, QuantTrainModule, Recipe, calibrate, compare, export_onnx, lint_model, train, verify
from qdiag.comparison.comparison import Comparison
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.tracer import trace

VERBS = ("trace", "lint", "compare", "16-bit layers", "training step", "export", "verify")
GOALS = {
    "trace": 100,
    "lint": 100,
    "compare": 100,
    "16-bit layers": 100,
    "training step": 98,
    "export": 95,
    "verify": 95,
}
"""Percent of the networks that are tried."""
SIZES = (64, 96, 128, 160, 224, 256, 299)
LIMIT = 200
"""Seconds of the processor for one network, after which what is left of it counts as failed."""
ADDED = 1e-2
"""A layer's own relative error in 16 bit, above which its numbers are wrong."""
FLOOR = ("2^-31", "2^-32")
"""Steps of ranges that are all but zero, as behind a layer scale of 1e-6: nothing is to be kept there."""

FAMILIES = (
    *("beit_base_patch16_224", "halonet_h1", "repvgg_a0", "cait_xxs24_224", "coat_tiny", "convit_tiny"),
    *("convmixer_768_32", "convnext_atto", "cpubone_nano", "crossvit_tiny_240", "csatv2", "darknet17"),
    *("cspnext_tiny", "davit_tiny", "deepseek_vit_412m", "deit_tiny_patch16_224", "densenet121", "dla34", "dpn48b"),
    *("edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "tinynet_e", "efficientvim_m1"),
    *("efficientvit_b0", "efficientvit_m0", "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8"),
    *("focalnet_tiny_srf", "gcvit_xxtiny", "gemma4_vit_167m", "ghostnet_050", "hardcorenas_b", "hgnetv2_b0"),
    *("hiera_tiny_224", "sam2_hiera_tiny", "hrnet_w18_small", "iformer_t", "inception_next_atto"),
    *("inception_resnet_v2", "inception_v3", "inception_v4", "lcnetv2_small", "levit_128", "lowformer_b0"),
    *("mambaout_femto", "coatnet_nano_rw_224", "poolformer_s12", "gmixer_12_224", "mobilenetv3_small_050"),
    *("mobilenetv5_300m", "mobilevit_xxs", "mvitv2_tiny", "naflexvit_base_patch16_gap", "nasnetalarge"),
    *("nest_tiny", "nextvit_small", "nf_regnet_b0", "pit_ti_224", "pnasnet5large", "pvt_v2_b0", "qwen3_vit_88m"),
    *("rdnet_tiny", "regnetx_002", "repghostnet_050", "repvit_m1", "res2next50", "resnest14d", "resnet10t"),
    *("resnetv2_18", "rexnet_100", "selecsls42", "legacy_seresnet18", "sequencer2d_s", "shvit_s1", "skresnet18"),
    *("starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("swinv2_cr_tiny_224", "tiny_vit_5m_224", "tnt_s_legacy_patch16_224", "tresnet_m", "twins_svt_small", "vgg11"),
    *("visformer_tiny", "vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224", "vit_relpos_small_patch16_224"),
    *("samvit_base_patch16_224", "vitamin_small_224", "volo_d1_224", "vovnet39a", "xception", "xception41p"),
    "xcit_nano_12_p8_224",
)
"""Of each of timm's modules a network with few parameters."""

YES = "yes"

HEAD = """# Networks of torchvision and timm

Every classifier of torchvision, and of each family of timm (one file of it) a small one: with random weights, BatchNorm
settled on four random images, and the smallest images that it takes. Each goes through `trace`, `lint_model`,
`compare` of two images in 16 and 8 bit, one step of `train` as a QuantTrainModule with its own float as the teacher,
`export_onnx` and `verify` of one image. "16-bit layers": in 16 bit, no layer adds a relative error above 0.01 to float
inputs; one that does would be a number that is silently wrong. verify: each layer, computed from the integers that
ONNX Runtime stored before it, comes to the integers that it stored, where these are sums of products all of them, where
they are rounded as floats all but those at a tie.

Written by `make zoo-page`, which goes on where it was stopped; a network has {limit} seconds of the processor, on one
thread. A verb that was not asked yet is "–": the next run takes it up.

"""


@dataclass
class Row:
    """What became of one network. results: by verb "yes", or "no: " and the reason; verbs not come to are not in it."""

    name: str
    size: int
    million_parameters: float
    seconds: float = 0.0
    results: dict[str, str] = field(default_factory=dict)

    def was_tried(self, verb: str) -> bool:
        """Whether the network was given to a verb, or did not come to it."""
        return verb in self.results or any(said.startswith("no") for said in self.results.values())


class OutOfTime(Exception):
    """A network took longer than it has."""


def main(page: Path, minutes: float, only: str, *, again: bool) -> None:
    """Run what has no row yet, and write the page after each."""
    kept, until = page.with_suffix(".json"), time.monotonic() + 60 * minutes
    rows = {row["name"]: Row(**row) for row in json.loads(kept.read_text())} if kept.exists() else {}
    for name in in_order(names()):
        done = name in rows and all(map(rows[name].was_tried, VERBS)) and not (again and only in name)
        if only not in name or done or time.monotonic() > until:
            continue
        found = through(name)
        if found is None:
            continue
        rows[name] = found
        print(name, found.seconds, {verb: said for verb, said in found.results.items() if said != YES}, flush=True)
        kept.write_text(json.dumps([vars(rows[one]) for one in sorted(rows)], indent=1) + "\n", encoding="utf-8")
        page.write_text(HEAD.format(limit=LIMIT) + text(list(rows.values())), encoding="utf-8")


def names() -> list[str]:
    """Of all networks, timm's behind "timm/"."""
    return [*torchvision.models.list_models(torchvision.models), *(f"timm/{name}" for name in FAMILIES)]


def in_order(all_names: list[str]) -> list[str]:
    """By check sum, so that a part of them is a sample; the largest last."""
    return sorted(all_names, key=lambda name: (name.startswith(LARGE), zlib.crc32(name.encode())))


LARGE = (
    *("vit_", "regnet_y_128gf", "regnet_y_32gf", "regnet_y_16gf", "regnet_y_8gf", "regnet_x_32gf", "regnet_x_16gf"),
    *("regnet_x_8gf", "efficientnet_b3", "efficientnet_b4", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2"),
    *("convnext_small", "convnext_large", "densenet161", "densenet169", "densenet201", "resnet101", "resnet152"),
    *("resnext101", "wide_resnet", "swin_b", "swin_s", "swin_v2_b", "swin_v2_s", "vgg", "maxvit", "inception"),
    *("timm/deepseek", "timm/mobilenetv5", "timm/gemma4", "timm/samvit", "timm/qwen3", "timm/beit", "timm/vgg"),
    *("timm/nasnetalarge", "timm/pnasnet5large", "timm/naflexvit", "timm/inception_resnet", "timm/hrnet"),
)


def through(name: str) -> Row | None:
    """One network through all of it; None where it does not run in float."""
    begun = time.process_time()
    try:
        model = network(name)
        images = fitting(model)
    except Exception as error:  # noqa: BLE001 - a network that does not run in float is none to try
        print(name, "does not run in float:", error)
        return None
    row = Row(name, images.shape[-1], round(sum(one.numel() for one in model.parameters()) / 1e6, 2))
    try:
        with time_limit(LIMIT):
            run_verbs(settled(model, images), images, row.results)
    except OutOfTime:
        verb = next(verb for verb in VERBS if verb not in row.results)
        row.results[verb] = f"no: over {LIMIT} seconds, with all before it"
    row.seconds = round(time.process_time() - begun, 1)
    return row


def network(name: str) -> nn.Module:
    """With random weights, in eval mode."""
    torch.manual_seed(0)
    if name.startswith("timm/"):
        made: nn.Module = timm.create_model(name.removeprefix("timm/"), pretrained=False)
    else:
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        made = torchvision.models.get_model(name, weights=None, **options)
    return made.eval()


@torch.no_grad()
def fitting(model: nn.Module) -> Tensor:
    """Four of the smallest images that the network takes, in train mode too."""
    config = getattr(model, "pretrained_cfg", {})
    sizes = (
        (config["input_size"][-1],) if config.get("fixed_input_size") else (*SIZES, config.get("input_size", (0,))[-1])
    )
    for size in sizes:
        try:
            images = torch.randn(4, config.get("input_size", (3,))[0], size, size)
            model(images[:2])
            model.train()(images[:2])
        except Exception as error:  # noqa: BLE001 - networks have words of their own for images that are too small
            last = error
        else:
            return images
        finally:
            model.eval()
    raise last


@torch.no_grad()
def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """BatchNorm's statistics from these images, so that activations neither vanish nor explode."""
    norms = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    if norms:
        model.train()(images)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def run_verbs(model: nn.Module, images: Tensor, results: dict[str, str]) -> None:
    """Fills the results as they come."""
    two, compared, fixed = images[:2], list[Comparison](), list[QuantizedModel]()

    def calibrated() -> QuantizedModel:
        if not fixed:
            fixed.append(calibrate(model, two, "simple"))
        return fixed[0]

    def exported() -> None:
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(calibrated(), Path(folder) / "integers.onnx", two)

    def trained() -> None:
        train(QuantTrainModule.from_calibrated(calibrated()), two, Recipe(epochs=1, batch_size=2))

    checks: dict[str, Callable[[], object]] = {
        "trace": lambda: trace(model, two),
        "lint": lambda: lint_model(model, two),
        "compare": lambda: compared.append(compare(model, list(two.split(1)), added_images=1)),
        "16-bit layers": lambda: wrong_layers(compared[0]),
        "export": exported,
        "verify": lambda: differing(calibrated(), images[:1]),
        "training step": trained,  # last, since it changes the weights
    }
    for verb, check in checks.items():
        results[verb] = outcome(check)


def wrong_layers(comparison: Comparison) -> str:
    """Of the layers whose own 16-bit numbers are not float's; "" where there is none."""
    for layer in comparison.layers:
        fine = layer.lanes["16-bit"]
        added = fine.added["relative_error"]
        if added is not None and not (added < ADDED or fine.format.endswith(FLOOR)):
            return f"{layer.site} adds {added:.2g}"
        if not math.isfinite(fine.accumulated["relative_error"] or 0.0):
            return f"{layer.site} is not finite"
    return ""


def differing(quantized: QuantizedModel, image: Tensor) -> str:
    """Which layers are wrong, or "yes" with how many integers lie at a tie of floats; "" where all are the same."""
    found = verify(quantized, image, images=1)
    if found.exit_code:
        return found.headline
    at_a_tie = sum(layer.differing for layer in found.alone)
    return f"{YES}: {at_a_tie} integers of {len(found.alone)} layers at a tie" if at_a_tie else ""


def outcome(check: Callable[[], object]) -> str:
    """Says "yes", or "no" with what was found; a refusal is one in our own words, with its code.

    What a check says is wrong, unless it begins with "yes".
    """
    try:
        found = check()
    except OutOfTime:
        raise
    except QdiagError as error:
        return f"no, refused: {in_a_cell(error)}"
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what the table is for
        return f"no, {type(error).__name__}: {in_a_cell(error)}"
    if not isinstance(found, str) or not found:
        return YES
    return found if found.startswith(YES) else f"no: {found}"


def in_a_cell(error: Exception) -> str:
    """The beginning of a message, on one line."""
    return " ".join(str(error).split())[:220].replace("|", "/")


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """OutOfTime inside when so much of the processor's time is spent."""

    def over(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def text(rows: list[Row]) -> str:
    """The shares, what did not go through, and every row."""
    rows = sorted(rows, key=lambda row: row.name)
    torchs = [row for row in rows if not row.name.startswith("timm/")]
    every = torchvision.models.list_models(torchvision.models)
    lines = [
        f"{len(torchs)} of {len(every)} networks of torchvision were run, and {len(rows) - len(torchs)} of "
        f"{len(FAMILIES)} families of timm. They are run in the order of a check sum of their names, so that a part of "
        "them is a sample, and the largest last; the table below is in alphabetical order.",
        "",
        "| | run | through | of those run | goal |",
        "|---|---|---|---|---|",
    ]
    for verb in VERBS:
        tried = sum(row.was_tried(verb) for row in rows)
        share = sum(row.results.get(verb, "").startswith(YES) for row in rows)
        lines.append(f"| {verb} | {tried} | {share} | {100 * share / max(tried, 1):.1f} % | {GOALS[verb]} % |")
    tied = [row for row in rows if row.results.get("verify", "").startswith(f"{YES}:")]
    lines += [
        "",
        f"Of those that verify passes, every stored integer is the same in all but {len(tied)}. In these each layer, "
        "computed from the runtime's own integers, is the same but for a few at a tie: of a softmax, a norm and the "
        "like, which both sides compute in floats, each in its own order. What comes behind is "
        "then computed from others.",
    ]
    lines += ["", "## What does not go through", ""]
    failed = [
        f"- `{row.name}`, {verb}: {said}" for row in rows for verb, said in row.results.items() if said.startswith("no")
    ]
    lines += [*(failed or ["Nothing."]), "", "## Every network", ""]
    lines += [
        f"| network | million parameters | images | seconds | {' | '.join(VERBS)} |",
        "|---|" + "---|" * (len(VERBS) + 3),
    ]
    for row in rows:
        cells = [row.results.get(verb, "–").partition(":")[0].partition(",")[0] for verb in VERBS]
        size = f"{row.size} x {row.size}"
        lines.append(f"| {row.name} | {row.million_parameters} | {size} | {row.seconds:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Which networks of torchvision and timm go through qdiag.")
    parser.add_argument("page", type=Path, help="the page to write")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then; the page says how many were run")
    parser.add_argument("--only", default="", help="only networks with these letters in their name")
    parser.add_argument("--again", action="store_true", help="also those that have a row")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    gc.set_threshold(100_000, 50, 100)  # torch's exporter makes objects by the million, and hardly a cycle
    main(given.page, given.minutes, given.only, again=given.again)
