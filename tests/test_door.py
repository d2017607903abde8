"""The one door: what one diagnosis looks at, counted."""

import copy
import inspect as python
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import qdiag
from qdiag.comparison.compare import compare
from qdiag.comparison.inspect import inspect
from qdiag.comparison.site_detail import SiteDetail
from qdiag.demo.load import Demo, load_demo
from qdiag.errors import OptionError
from qdiag.linting.lint import lint_model
from qdiag.pipeline import diagnose
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.equalize import equalize
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.quantization.what_if import what_if
from qdiag.subject import Subject
from qdiag.tracing.tracer import trace
from qdiag.training.recipe import Recipe
from qdiag.training.train import train

QDIAG = Path(qdiag.__file__).parent
PASSES = (
    "the example, which is the first batch",
    "the ranges",
    "the first images, read in other ways",
    "the layers",
    "the ranges that equalization needs",
    "weights only, activations only, calibrations that may mend it",
    *("the loudest layers alone, eight at a time", "the others of fourteen"),
    "the worst layers' weights and tensors apart",
    "layers in 16 bit",
    "the worst layers mended, each alone",
)
SEARCHES = (
    *("before searched ranges", "range search", "what it gave", "bias correction", "what it gave"),
    *("before all that needs no labels", "equalization", "what it gave", "range search", "what it gave"),
    *("ranges by probes", "what it gave", "weights solved", "what it gave"),
    "each layer alone, for the budget of operations in 16 bit",
    "the ranges that equalization of the worst layer needs",
)
"""What is read once more where there is time for repairs that search."""


class CountedBatches:
    """Batches that count how often they are begun and how often each is read."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]):
        self.batches, self.starts, self.reads = batches, 0, Counter[int]()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.starts += 1
        for number, batch in enumerate(self.batches):
            self.reads[number] += 1
            yield batch

    def __len__(self) -> int:
        return len(self.batches)


def data_of(demo: Demo) -> CountedBatches:
    batches = [(images, labels) for images, labels in demo.loader]
    return CountedBatches(batches[:2])


def profiled(meet: Callable[[FrameType, str, Any], None], work: Callable[[], object]) -> None:
    before = sys.getprofile()
    sys.setprofile(meet)
    try:
        work()
    finally:
        sys.setprofile(before)


def calls_of(functions: tuple[Callable[..., Any], ...], work: Callable[[], object]) -> Counter[tuple[object, ...]]:
    """How often each function was called with which of the options that a plan depends on."""
    codes = {function.__code__: function.__name__ for function in functions}
    counts = Counter[tuple[object, ...]]()

    def meet(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in codes:
            given = frame.f_locals
            counts[codes[frame.f_code], str(given.get("bits")), str(given.get("per_channel"))] += 1

    profiled(meet, work)
    return counts


def places_of(thing: object, work: Callable[[], object]) -> list[str]:
    """The functions of qdiag that were given this very object, in order of their first call."""
    found: dict[str, None] = {}

    def meet(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(QDIAG)):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(frame.f_locals.get(name) is thing for name in names):
                found.setdefault(code.co_qualname)

    profiled(meet, work)
    return list(found)


def test_data_as_it_was_given_goes_no_further_than_the_door() -> None:
    demo = load_demo("healthy")
    data = data_of(demo)
    way = ["compare", "Subject.of", "Subject.__init__", "batches", "Batches.__init__"]
    assert places_of(data, lambda: compare(demo.model, data)) == way


def test_a_diagnosis_traces_once_and_plans_once_for_each_set_of_formats() -> None:
    demo = load_demo("wild")
    counts = calls_of((trace, plan_quantization), lambda: diagnose(demo.model, data_of(demo)))
    assert [number for name, number in counts.items() if name[0] == "trace"] == [1]
    assert {name[1] for name in counts if name[0] == "plan_quantization"} == {"16", "8", "None"}
    assert set(counts.values()) == {1}


def test_a_diagnosis_reads_the_first_batch_once_and_the_data_once_for_each_thing_measured() -> None:
    demo = load_demo("wild")
    data = data_of(demo)
    diagnose(demo.model, data, minutes=1e-9)
    assert data.starts == len(PASSES)


def test_repairs_that_search_read_the_data_once_for_each_technique_and_what_it_gave() -> None:
    demo = load_demo("wild")
    data = data_of(demo)
    diagnose(demo.model, data, minutes=None)
    assert data.starts == len(PASSES) + len(SEARCHES)


def test_what_one_verb_found_out_the_next_one_has() -> None:
    demo = load_demo("wild")
    data = data_of(demo)
    subject = Subject(demo.model, data)

    def work() -> None:
        lint_model(subject)
        compare(subject)
        diagnose(subject, minutes=1e-9)

    assert set(calls_of((trace, plan_quantization), work).values()) == {1}
    assert data.starts == 3 + len(PASSES)  # compare's ranges, readings and layers


def test_every_verb_that_takes_a_model_and_data_takes_a_subject() -> None:
    asked = {}
    for name in qdiag.__all__:
        verb = getattr(qdiag, name)
        if not python.isclass(verb):
            parameters = python.signature(getattr(verb, "steps", verb)).parameters
            if {"model", "data"} <= parameters.keys():
                asked[name] = parameters["model"].annotation, parameters["data"].default
    assert {"lint_model", "calibrate", "compare", "inspect", "diagnose", "train", "load_formats"} <= asked.keys()
    either = {nn.Module, Subject}
    takes = {name for name, (model, default) in asked.items() if either <= {*get_args(model)} and default is None}
    assert asked.keys() - takes == {"trace"}  # which a subject asks for its own


def test_a_close_look_at_layers_after_a_comparison_finds_trace_plan_and_images_there() -> None:
    demo = load_demo("wild")
    data = data_of(demo)
    subject = Subject(demo.model, data)
    quantized = {"8-bit": calibrate(subject, method="simple")}
    expected = inspect(demo.model, data, quantized, ["stem"])
    compare(subject, quantized=quantized)
    starts = data.starts
    found: list[SiteDetail] = []
    work = lambda: found.extend(inspect(subject, quantized=quantized, sites=["stem"]))  # noqa: E731
    assert not calls_of((trace, plan_quantization), work)
    assert data.starts == starts
    assert [detail.counts for detail in found] == [detail.counts for detail in expected]
    with pytest.raises(OptionError, match="no-versions"):
        inspect(subject, sites=["stem"])


def test_equalize_takes_a_subject_of_the_same_model_and_the_images_that_calibrate_it() -> None:
    demo = load_demo("wild")
    images = next(iter(demo.loader))[0]
    quantized = calibrate(demo.model, images, "simple")
    subject = Subject(demo.model, images * 3, calibration_data=images)
    found, expected = equalize(quantized, subject), equalize(quantized, images)
    assert torch.equal(found(images), expected(images))


def test_formats_are_changed_of_a_module_that_holds_a_calibrated_model_too() -> None:
    demo = load_demo("wild")
    images = next(iter(demo.loader))[0]
    quantized = calibrate(demo.model, images, "simple")
    expected = what_if(quantized, "stem", bits=16)(images)
    assert torch.equal(what_if(QuantTrainModule.from_calibrated(quantized), "stem", bits=16)(images), expected)


@pytest.mark.training
def test_a_subject_is_trained_as_its_model_is_on_its_data() -> None:
    """Whose images come in an order of their own, so that training reads them as they were given."""
    demo = load_demo("healthy")
    images, labels = next(iter(demo.loader))
    data = torch.utils.data.TensorDataset(images, labels)
    recipe = Recipe(epochs=2, learning_rate=0.01)
    by_subject, by_data, by_another = (copy.deepcopy(demo.model) for _ in range(3))
    train(Subject(by_subject, data), recipe=recipe)
    train(by_data, data, recipe)
    train(by_another, Subject(demo.model, data), recipe)
    assert not torch.equal(by_data(images), demo.model(images))
    for trained in (by_subject, by_another):
        assert all(map(torch.equal, trained.state_dict().values(), by_data.state_dict().values()))


@pytest.mark.training
def test_of_a_subject_that_ends_early_no_more_is_trained_with() -> None:
    demo = load_demo("healthy")
    images, labels = next(iter(demo.loader))
    data = torch.utils.data.TensorDataset(images, labels)
    short = Subject(demo.model, data).on(Subject(demo.model, data).data.upto(10))
    recipe = Recipe(epochs=1, batch_size=5, learning_rate=0.01)
    assert train(short, recipe=recipe).images == 10


def test_lint_takes_what_compare_takes() -> None:
    demo = load_demo("wild")
    by_loader = lint_model(demo.model, demo.loader)
    by_images = lint_model(demo.model, next(iter(demo.loader))[0])
    assert [finding.code for finding in by_loader.findings] == [finding.code for finding in by_images.findings]


def test_delivery_takes_a_subject_too(tmp_path: Path) -> None:
    demo = load_demo("healthy")
    subject = Subject(demo.model, demo.loader)
    quantized = calibrate(subject, method="simple")
    assert qdiag.export_onnx(quantized, tmp_path / "model.onnx", subject).dynamic_batch
    assert qdiag.verify(quantized, subject, images=2).images == 2
    assert qdiag.export_target(quantized, tmp_path / "target", subject).folder == tmp_path / "target"


def test_a_module_in_fixed_point_is_made_for_a_subject_or_a_loader_as_for_what_the_model_is_called_with() -> None:
    demo = load_demo("healthy")
    images = next(iter(demo.loader))[0]
    ways = images, (images, None), demo.loader, Subject(demo.model, demo.loader)
    plans = [QuantTrainModule(demo.model, data).quantized.plan.state() for data in ways]
    assert all(plan == plans[0] for plan in plans)
