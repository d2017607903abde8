"""The workbench without a screen: model, data, results, and commands by name."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.comparison.brought import Brought
from qdiag.comparison.compare import CALIBRATION_IMAGES, comparison_steps, measured_steps
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.inspect import inspect
from qdiag.comparison.labels import Task, check_task
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.site_detail import SiteDetail
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import ANSWER, Diagnosis
from qdiag.explanation.trials import Ground
from qdiag.export.compare_dump import compare_dump
from qdiag.export.dump_comparison import DumpComparison
from qdiag.export.export_target import export_target
from qdiag.export.target_export import TargetExport
from qdiag.export.verification import Verification
from qdiag.export.verify import verification_steps
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.pipeline import explanation_steps
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Progress, Steps, run
from qdiag.quantization.calibrate import DEFAULT_METHOD, calibration_steps
from qdiag.quantization.equalize import equalization_steps
from qdiag.quantization.identity import data_digest, model_digest
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Section, Text, charts_in
from qdiag.tracing.inputs import example, first_batch, first_images
from qdiag.tracing.site import Site
from qdiag.training.recipe import Recipe
from qdiag.workbench.history import History
from qdiag.workbench.session_folder import Kept, SessionFolder
from qdiag.workbench.session_parts import close_look, code_section, history_table, version_data
from qdiag.workbench.training_folder import TrainingFolder
from qdiag.workbench.version import Version
from qdiag.workbench.version_code import Change, calibrated, equalized, tried

FIRST = "simple"
"""The method of the first version: what an engine does by itself."""
FOLDER = "qdiag-runs"
CLOSE = 3
"""Layers that a report shows close up, at most."""


class Session(Displayable):
    """Holds a model with its data, and a history of versions of it in fixed point, one of which is applied.

    model: left as it was; training works on copies. data: images, with labels where there are any, that everything is
    measured on. optimizer: for lint's rules on weight decay. evaluate: takes a model, gives your own figure of it, the
    higher the better; it stands beside the others in the history, and decides the verdict. task: what the outputs mean,
    see `compare`. calibration_data: where ranges come from; the first
    128 images of `data` if not given. training_data: to train with; the calibration data if not given.
    folder: where versions and training runs are kept, under the model's name and the time: `restore()` goes on with
    them after the kernel has gone. None: nothing is kept, and nothing can be trained.

    Every command has a twin `..._steps`, a generator of Progress: stopped half-way, it leaves the results from before.

    >>> from qdiag.demo.load import load_demo
    >>> demo = load_demo("wild")
    >>> session = Session(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader,
    ...     folder=None)
    >>> str(session.diagnose().culprits[0].layer.site)
    'block3.depthwise'
    >>> tried = session.what_if("block3.depthwise", per_channel=True)
    >>> tried.output.drop_points < session.current.output.drop_points
    True
    >>> session.apply(tried.name)
    >>> session.undo()
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        optimizer: torch.optim.Optimizer | None = None,
        evaluate: Callable[[nn.Module], float] | None = None,
        *,
        calibration_data: Any = None,
        training_data: Any = None,
        task: Task | None = None,
        folder: str | os.PathLike[str] | None = FOLDER,
    ):
        check_task(task)
        self.task = task
        self.model, self.data, self.optimizer, self.evaluate = model, data, optimizer, evaluate
        self.calibration_data, self.training_data = calibration_data, training_data
        self.folder = None if folder is None else SessionFolder(Path(folder) / type(model).__name__)
        self.history = History()
        self.float_score: float | None = None
        self.verifications: dict[str, Verification] = {}
        self._exports: dict[str, TargetExport] = {}
        self._diagnoses: dict[str, Diagnosis] = {}
        self._details: dict[str, dict[Site, SiteDetail]] = {}
        self._fine: QuantizedModel | None = None

    # What is known ------------------------------------------------------------------------------------

    @property
    def current(self) -> Version | None:
        """The version that is applied: diagnosed, changed from, trained from, exported."""
        return self.history.current

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Of the applied version; None where it was not diagnosed yet."""
        return None if self.current is None else self._diagnoses.get(self.current.name)

    @property
    def unfinished(self) -> list[str]:
        """Training runs of this session that were stopped or killed, the latest first."""
        return [] if self.folder is None else self.folder.unfinished

    @property
    def earlier(self) -> dict[str, list[str]]:
        """Other sessions of this very model that were kept, the latest first: name and contents. See `restore`."""
        return {} if self.folder is None else {one.name: one.contents() for one in self.folder.earlier(self.model)}

    def code(self, name: str) -> str:
        """The lines of Python that make a version. Raises OptionError for a name that is not in the history."""
        return self.history.find(name).script

    def report(self) -> Report:
        """The applied version's diagnosis, with its worst layers close up, and every version with its code."""
        title, versions = f"Session of {type(self.model).__name__}", self.history.values()
        if self.current is None:
            hint = "Nothing was run yet: `session.diagnose()` says whether it is quantization, where and why."
            return Report(title, (Text(hint),), "session", {"versions": [], "applied": None})
        table = history_table(versions, self.current, self.verifications, self.float_score)
        blocks: list[Block] = [Section("Versions", (table, *map(code_section, versions)))]
        data: dict[str, object] = {"applied": self.current.name, "versions": [version_data(v) for v in versions]}
        if self.diagnosis is not None:
            found = self.diagnosis.report()
            sites = [str(culprit.layer.site) for culprit in self.diagnosis.culprits[:CLOSE]]
            looks = [close_look(site, charts_in(self.inspect(site).report())) for site in sites]
            blocks = [*found.blocks[:ANSWER], *blocks, *looks, *found.blocks[ANSWER:]]
            data["diagnosis"] = dict(found.data)
        return Report(title, tuple(blocks), "session", data)

    # Commands -----------------------------------------------------------------------------------------

    def lint(self) -> LintReport:
        """What is known to hurt, found by reading the model."""
        return lint_model(self.model, example(self.data, self.model), self.optimizer)

    def diagnose(self, on_progress: OnProgress = None) -> Diagnosis:
        """Lint, compare, try and explain the applied version; at first the one that minimum and maximum give."""
        return run(self.diagnosis_steps(), on_progress)

    def diagnosis_steps(self) -> Steps[Diagnosis]:
        known = self.current
        self._check_score()
        if known is None or known.name == FIRST:
            quantized = yield from self._calibrated_steps(FIRST, 8, None)
            name, lane = FIRST, "8-bit"
        else:
            quantized, name, lane = known.quantized, known.name, known.name
        fine, brought = (yield from self._in_16_bit_steps(quantized if name == FIRST else None)), None
        if quantized.module is not self.model:  # trained: its layers beside its own float, its outputs beside the model
            fine, brought = what_if(quantized, bits=16), Brought(self.model, fine)
        pair = {"16-bit": fine, lane: quantized}
        ground = Ground(quantized.module, self.data, self._calibration_images(), self.task, self.evaluate is None)
        diagnosis = yield from explanation_steps(ground, self.lint(), pair, self.evaluate, self.float_score, brought)
        sites = [layer.site for layer in diagnosis.comparison.layers]
        details = dict(zip(sites, inspect(quantized.module, self.data, pair, sites), strict=True))
        if name == FIRST:
            output, code = diagnosis.comparison.outputs[lane], calibrated(FIRST, 8, None).code
            self.history.add(Version(FIRST, "", quantized, output, output.score, code))
            self._keep()
        self._diagnoses[name], self._details[name] = diagnosis, details
        return diagnosis

    def inspect(self, name: Site | str) -> SiteDetail:
        """Histograms and channels of one layer. Raises OptionError before `diagnose()`, SiteNotFound for no layer."""
        version, diagnosis = self.current, self.diagnosis
        if version is None or diagnosis is None:
            raise OptionError("nothing to inspect yet: run diagnose() first.", code="nothing-diagnosed")
        return self._details[version.name][diagnosis.comparison.layer(name).site]

    def compare(self, *names: str, on_progress: OnProgress = None) -> Comparison:
        """Float against some versions at every layer; by default against the applied one and the latest.

        Raises OptionError for a name that is not in the history, and for versions that were trained apart.
        """
        return run(self.comparison_steps(*names), on_progress)

    def comparison_steps(self, *names: str) -> Steps[Comparison]:
        found = [self.history.find(name) for name in names] or [self.history.start, self.history.latest]
        modules = {id(version.quantized.module) for version in found}
        if len(modules) > 1:
            raise OptionError(
                "these versions were trained apart: no float model is the reference of both.", code="other-model"
            )
        quantized = {version.name: version.quantized for version in found}
        return (
            yield from comparison_steps(
                found[0].quantized.module,
                self.data,
                quantized=quantized,
                task=self.task,
                labels_decide=self.evaluate is None,
            )
        )

    def calibrate(
        self,
        method: str | Sequence[str] = DEFAULT_METHOD,
        bits: Bits | MacBudget = 8,
        per_channel: PerChannelOption = None,
        on_progress: OnProgress = None,
    ) -> Version:
        """The float model calibrated anew, as one more version. Takes what `qdiag.calibrate` takes.

        A calibration that was stopped goes on from the last technique that was finished when it is asked for again.
        """
        return run(self.calibration_steps(method, bits, per_channel), on_progress)

    def calibration_steps(
        self,
        method: str | Sequence[str] = DEFAULT_METHOD,
        bits: Bits | MacBudget = 8,
        per_channel: PerChannelOption = None,
    ) -> Steps[Version]:
        self._check_score()
        quantized = yield from self._calibrated_steps(method, bits, per_channel)
        return (yield from self._added_steps("", calibrated(method, bits, per_channel), quantized))

    def what_if(
        self,
        layers: str | Sequence[str],
        *,
        bits: Any = "same",
        per_channel: bool | None = None,
        octaves: int = 0,
        on_progress: OnProgress = None,
    ) -> Version:
        """The applied version with some layers in other formats, as one more version, which is not yet applied.

        Takes what `qdiag.what_if` takes. Raises OptionError before anything was calibrated.
        """
        steps = self.what_if_steps(layers, bits=bits, per_channel=per_channel, octaves=octaves)
        return run(steps, on_progress)

    def what_if_steps(
        self, layers: str | Sequence[str], *, bits: Any = "same", per_channel: bool | None = None, octaves: int = 0
    ) -> Steps[Version]:
        start = self.history.start
        quantized = what_if(start.quantized, layers, bits=bits, per_channel=per_channel, octaves=octaves)
        change = tried(layers, bits=bits, per_channel=per_channel, octaves=octaves).after(start.code)
        return (yield from self._added_steps(start.name, change, quantized))

    def equalize(self, layers: str | Sequence[str], on_progress: OnProgress = None) -> Version:
        """The applied version with channels of some layers equalized, as one more version; see `qdiag.equalize`."""
        return run(self.equalization_steps(layers), on_progress)

    def equalization_steps(self, layers: str | Sequence[str]) -> Steps[Version]:
        start = self.history.start
        source, images = self._calibration_images()
        quantized = yield from equalization_steps(start.quantized, first_images(source, self.model, images), layers)
        return (yield from self._added_steps(start.name, equalized(layers).after(start.code), quantized))

    def train(
        self,
        recipe: Recipe | None = None,
        *,
        learn_thresholds: bool = False,
        on_progress: OnProgress = None,
    ) -> Version:
        """The applied version trained on in fixed point, with the float model as its teacher; as one more version.

        recipe: by default three epochs that learn the float model's outputs. The run is kept in `folder`.
        """
        return run(self.training_steps(recipe, learn_thresholds=learn_thresholds), on_progress)

    def training_steps(self, recipe: Recipe | None = None, *, learn_thresholds: bool = False) -> Steps[Version]:
        start, _ = self.history.start, self._training_images()
        if self.folder is None:
            raise OptionError(
                "a training run is kept in a folder, to go on with it: give folder=… to the session.", code="no-folder"
            )
        recipe = recipe or Recipe(epochs=3, distillation=1.0)
        place = TrainingFolder.new(self.folder.make(), start, recipe, learn_thresholds=learn_thresholds)
        return (yield from self._trained_steps(place))

    def resume(self, name: str = "", on_progress: OnProgress = None) -> Version:
        """Go on with a training run, by default the latest of `unfinished`."""
        return run(self.resume_steps(name), on_progress)

    def resume_steps(self, name: str = "") -> Steps[Version]:
        found = name or next(iter(self.unfinished), "")
        if not found or self.folder is None:
            raise OptionError(
                "there is no unfinished training run in this session. Start one: train().", code="nothing-unfinished"
            )
        return (yield from self._trained_steps(TrainingFolder(self.folder.make() / found)))

    def restore(self, name: str = "", on_progress: OnProgress = None) -> None:
        """Go on with another session of this model, by default the latest of `earlier`; this one stays in its folder.

        Versions come back as they were. They are measured anew where the images, or the float model's `evaluate`, are
        not what they were measured with. Raises OptionError where there is none.
        """
        run(self.restoration_steps(name), on_progress)

    def restoration_steps(self, name: str = "") -> Steps[None]:
        if self.folder is None:
            raise OptionError("nothing is kept of sessions with folder=None.", code="no-folder")
        found = next((one for one in self.folder.earlier(self.model) if name in ("", one.name)), None)
        if found is None:
            raise OptionError(
                f"no earlier session {name!r} of this model, with these weights, in {self.folder.root}.",
                code="no-session",
            )
        kept = found.load(self.model, self.data)
        self._check_score()
        history = kept.history
        if (kept.data, kept.float_score) != (self._data, self.float_score):
            again: list[Version] = []
            for version in history.values():
                output = yield from self._measured_steps(version.name, version.quantized)
                again.append(replace(version, output=output, score=self._score(version.quantized)))
            history = History(again, history.applied)
        self.folder, self.history = found, history
        self._diagnoses, self._details, self._exports, self.verifications = {}, {}, {}, {}

    def apply(self, name: str, on_progress: OnProgress = None) -> None:
        """Make a version the applied one, and diagnose it where that was not yet done."""
        run(self.application_steps(name), on_progress)

    def application_steps(self, name: str) -> Steps[Diagnosis]:
        version, before = self.history.find(name), list(self.history.applied)
        if version is not self.current:
            self.history.applied.append(name)
        try:
            if self.diagnosis is None:
                yield from self.diagnosis_steps()
        except BaseException:
            self.history.applied = before
            raise
        self._keep()
        assert self.diagnosis is not None, "the steps leave it"
        return self.diagnosis

    def undo(self) -> None:
        """Go back to the version that was applied before. Raises OptionError where there is none."""
        self.history.undo()
        self._keep()

    def export(self, folder: str | os.PathLike[str], on_progress: OnProgress = None, **options: Any) -> TargetExport:
        """The applied version for the target: what `qdiag.export_target` writes. Takes its options."""
        return run(self.export_steps(folder, **options), on_progress)

    def export_steps(self, folder: str | os.PathLike[str], **options: Any) -> Steps[TargetExport]:
        version = self.history.start
        yield Progress("exporting", 0, 1)
        inputs = example(self.data, self.model)
        written = self._exports[version.name] = export_target(version.quantized, folder, inputs, **options)
        return written

    def compare_dump(
        self, folder: str | os.PathLike[str], images: Any = None, on_progress: OnProgress = None
    ) -> DumpComparison:
        """The tensors that a device wrote, beside the applied version's; see `qdiag.compare_dump`.

        images: what the device was given; by default the first image of the data. Names of the file that this session
        exported last of the version are known too.
        """
        return run(self.dump_steps(folder, images), on_progress)

    def dump_steps(self, folder: str | os.PathLike[str], images: Any = None) -> Steps[DumpComparison]:
        version = self.history.start
        yield Progress("comparing with the device", 0, 1)
        given = first_batch(self.data, self.model).split(1)[0].inputs if images is None else images
        written = self._exports.get(version.name)
        onnx_file = None if written is None else written.exported.path
        return compare_dump(version.quantized, given, folder, onnx_file=onnx_file)

    def verify(self, on_progress: OnProgress = None) -> Verification:
        """The applied version's integers against ONNX Runtime's, on the first images; see `qdiag.verify`."""
        return run(self.verification_steps(), on_progress)

    def verification_steps(self) -> Steps[Verification]:
        version = self.history.start
        found = yield from verification_steps(version.quantized, self.data)
        self.verifications[version.name] = found
        return found

    # ---------------------------------------------------------------------------------------------------

    def _calibrated_steps(
        self, method: str | Sequence[str], bits: Bits | MacBudget, per_channel: PerChannelOption
    ) -> Steps[QuantizedModel]:
        source, images = self._calibration_images()
        checkpoint: AbstractContextManager[Path | None] = nullcontext()
        if self.folder is not None and method != FIRST:
            facts = [method, bits, per_channel, model_digest(self.model), data_digest(source, self.model)]
            checkpoint = self.folder.calibration(*facts)
        with checkpoint as file:
            formats = [(bits, per_channel)]
            steps = calibration_steps(self.model, source, method, formats, max_images=images, checkpoint=file)
            return (yield from steps)[0]

    def _in_16_bit_steps(self, first: QuantizedModel | None) -> Steps[QuantizedModel]:
        """The float model in 16 bit, whatever became of weights and ranges in a version. first: the session's first."""
        if self._fine is None:
            if first is None and FIRST in self.history:
                first = self.history[FIRST].quantized
            if first is None:
                first = yield from self._calibrated_steps(FIRST, 8, None)
            self._fine = what_if(first, bits=16)
        return self._fine

    def _calibration_images(self) -> tuple[Any, int | None]:
        """Where ranges come from, and how many of the first images at most."""
        return (self.data, CALIBRATION_IMAGES) if self.calibration_data is None else (self.calibration_data, None)

    def _trained_steps(self, place: TrainingFolder) -> Steps[Version]:
        self._check_score()
        quantized = yield from place.steps(self.model, self.data, self._training_images())
        return (yield from self._added_steps(place.parent, place.change, quantized))

    def _training_images(self) -> Any:
        source = self.calibration_data if self.training_data is None else self.training_data
        if source is None:
            raise OptionError(
                "training needs images of its own, not those that accuracy is measured on: give training_data=…, a "
                "DataLoader or Dataset, with labels or without.",
                code="no-training-data",
            )
        return source

    def _added_steps(self, parent: str, change: Change, quantized: QuantizedModel) -> Steps[Version]:
        name = self.history.free_name(change.name)
        output = yield from self._measured_steps(name, quantized)
        version = Version(name, parent, quantized, output, self._score(quantized), change.code)
        self.history.add(version)
        self._keep()
        return version

    def _measured_steps(self, name: str, quantized: QuantizedModel) -> Steps[OutputError]:
        return (
            yield from measured_steps(
                self.model,
                self.data,
                quantized,
                f"measuring {name}",
                task=self.task,
                labels_decide=self.evaluate is None,
            )
        )

    def _keep(self) -> None:
        if self.folder is not None:
            self.folder.save(self.model, Kept(self.history, self._data, self.float_score))

    @cached_property
    def _data(self) -> str:
        return data_digest(self.data, self.model)

    def _check_score(self) -> None:
        """The float model's, before any long work: what raises there would raise after it."""
        if self.float_score is None:
            self.float_score = self._score(self.model)

    def _score(self, model: nn.Module) -> float | None:
        return None if self.evaluate is None else float(self.evaluate(model))
