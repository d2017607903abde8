"""The workbench without a screen: model, data, results, and commands by name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.site_detail import SiteDetail
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.export.dump_comparison import DumpComparison
from qdiag.export.target_export import TargetExport
from qdiag.export.verification import Verification
from qdiag.linting.lint_report import LintReport
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, long_work
from qdiag.quantization.calibrate import DEFAULT_METHOD
from qdiag.quantization.what_if import what_if
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report
from qdiag.subject import Evaluate, Subject, Task
from qdiag.tracing.site import Site
from qdiag.training.recipe import Recipe
from qdiag.workbench.diagnosing import Diagnosing
from qdiag.workbench.history import History
from qdiag.workbench.material import FIRST, Material
from qdiag.workbench.measure import Measure
from qdiag.workbench.record import Record
from qdiag.workbench.session_folder import SessionFolder
from qdiag.workbench.session_report import session_report
from qdiag.workbench.target_work import TargetWork
from qdiag.workbench.training_folder import TrainingFolder
from qdiag.workbench.version import Version
from qdiag.workbench.version_code import calibrated, equalized, tried

FOLDER = "qdiag-runs"


class Session(Displayable):
    """Holds a model with its data, and a history of versions of it in fixed point, one of which is applied.

    model: left as it was; training works on copies. data: images, with labels where there are any, that everything is
    measured on. optimizer: for lint's rules on weight decay. evaluate: takes a model, gives your own figure of it, the
    higher the better; it stands beside the others in the history, and decides the verdict. task: what the outputs mean,
    see `compare`. calibration_data: where ranges come from; the first 128 images of `data` if not given.
    training_data: to train with; the calibration data if not given.
    folder: where versions and training runs are kept, under the model's name and the time: `restore()` goes on with
    them after the kernel has gone. None: nothing is kept, and nothing can be trained.

    A long command is a generator of Progress too, as in `session.calibrate.steps("best")`: stopped half-way, it leaves
    the results from before.

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
        evaluate: Evaluate | None = None,
        *,
        calibration_data: Any = None,
        training_data: Any = None,
        task: Task | None = None,
        folder: str | os.PathLike[str] | None = FOLDER,
    ):
        self.subject = Subject(model, data, calibration_data=calibration_data, task=task, evaluate=evaluate)
        self.model = model
        place = None if folder is None else SessionFolder(Path(folder) / type(model).__name__)
        self._material = Material(self.subject, optimizer, training_data)
        self._record = Record(Measure(self.subject), place)
        self._diagnosing = Diagnosing(self._material, self._record.measure)
        self._target = TargetWork(self.subject.data)
        self._diagnoses: dict[str, Diagnosis] = {}
        self._details: dict[str, dict[Site, SiteDetail]] = {}

    # What is known ------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """Every version by its name, in the order in which they were made."""
        return self._record.history

    @property
    def folder(self) -> SessionFolder | None:
        """Where the session is kept."""
        return self._record.folder

    @property
    def current(self) -> Version | None:
        """The version that is applied: diagnosed, changed from, trained from, exported."""
        return self.history.current

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Of the applied version; None where it was not diagnosed yet."""
        return None if self.current is None else self._diagnoses.get(self.current.name)

    @property
    def float_score(self) -> float | None:
        """What your `evaluate` gives of the float model; None before it was asked for."""
        return self._record.measure.float_score

    @property
    def verifications(self) -> Mapping[str, Verification]:
        """What `verify` found, by the name of the version."""
        return self._target.verifications

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
        details = {} if self.current is None else self._details.get(self.current.name, {})
        name, score = type(self.model).__name__, self.float_score
        return session_report(name, self.history, self.verifications, score, self.diagnosis, details)

    # Commands -----------------------------------------------------------------------------------------

    def lint(self) -> LintReport:
        """What is known to hurt, found by reading the model."""
        return self._material.lint()

    @long_work
    def diagnose(self, *, on_progress: OnProgress = None) -> Steps[Diagnosis]:
        """Lint, compare, try and explain the applied version; at first the one that minimum and maximum give."""
        self._record.measure.begin()
        known, name, lane = self.current, FIRST, "8-bit"
        if known is None or known.name == FIRST:
            quantized = yield from self._material.calibration_steps(FIRST, 8, None, None)
        else:
            quantized, name, lane = known.quantized, known.name, known.name
        first = quantized if name == FIRST else self.history[FIRST].quantized if FIRST in self.history else None
        diagnosis, details = yield from self._diagnosing.steps(quantized, lane, first)
        if name == FIRST:
            output, code = diagnosis.comparison.outputs[lane], calibrated(FIRST, 8, None).code
            self._record.add(Version(FIRST, "", quantized, output, output.score, code))
        self._diagnoses[name], self._details[name] = diagnosis, details
        return diagnosis

    def diagnosis_steps(self) -> Steps[Diagnosis]:
        """`diagnose` as a generator of Progress: what `diagnose.steps()` is."""
        return self.diagnose.steps()

    def inspect(self, name: Site | str) -> SiteDetail:
        """Histograms and channels of one layer. Raises OptionError before `diagnose()`, SiteNotFound for no layer."""
        version, diagnosis = self.current, self.diagnosis
        if version is None or diagnosis is None:
            raise OptionError("nothing to inspect yet: run diagnose() first.", code="nothing-diagnosed")
        return self._details[version.name][diagnosis.comparison.layer(name).site]

    @long_work
    def compare(self, *names: str, on_progress: OnProgress = None) -> Steps[Comparison]:
        """Float against some versions at every layer; by default against the applied one and the latest.

        Raises OptionError for a name that is not in the history, and for versions that were trained apart.
        """
        return (yield from self._record.measure.comparison_steps(self.history.together(names)))

    @long_work
    def calibrate(
        self,
        method: str | Sequence[str] = DEFAULT_METHOD,
        bits: Bits | MacBudget = 8,
        per_channel: PerChannelOption = None,
        *,
        on_progress: OnProgress = None,
    ) -> Steps[Version]:
        """The float model calibrated anew, as one more version. Takes what `qdiag.calibrate` takes.

        A calibration that was stopped goes on from the last technique that was finished when it is asked for again.
        """
        self._record.measure.begin()
        folder = None if method == FIRST else self.folder  # it takes but a moment
        quantized = yield from self._material.calibration_steps(method, bits, per_channel, folder)
        return (yield from self._record.added_steps("", calibrated(method, bits, per_channel), quantized))

    @long_work
    def what_if(
        self,
        layers: str | Sequence[str],
        *,
        bits: Any = "same",
        per_channel: bool | None = None,
        octaves: int = 0,
        on_progress: OnProgress = None,
    ) -> Steps[Version]:
        """The applied version with some layers in other formats, as one more version, which is not yet applied.

        Takes what `qdiag.what_if` takes. Raises OptionError before anything was calibrated.
        """
        start = self.history.start
        quantized = what_if(start.quantized, layers, bits=bits, per_channel=per_channel, octaves=octaves)
        change = tried(layers, bits=bits, per_channel=per_channel, octaves=octaves).after(start.code)
        return (yield from self._record.added_steps(start.name, change, quantized))

    @long_work
    def equalize(self, layers: str | Sequence[str], *, on_progress: OnProgress = None) -> Steps[Version]:
        """The applied version with channels of some layers equalized, as one more version; see `qdiag.equalize`."""
        start = self.history.start
        quantized = yield from self._material.equalization_steps(start.quantized, layers)
        return (yield from self._record.added_steps(start.name, equalized(layers).after(start.code), quantized))

    @long_work
    def train(
        self, recipe: Recipe | None = None, *, learn_thresholds: bool = False, on_progress: OnProgress = None
    ) -> Steps[Version]:
        """The applied version trained on in fixed point, with the float model as its teacher; as one more version.

        recipe: by default three epochs that learn the float model's outputs. The run is kept in `folder`.
        """
        start, images = self.history.start, self._material.training_images
        recipe = recipe or Recipe(epochs=3, distillation=1.0)
        place = TrainingFolder.new(self._record.place.make(), start, recipe, learn_thresholds=learn_thresholds)
        return (yield from self._record.trained_steps(place, images))

    @long_work
    def resume(self, name: str = "", *, on_progress: OnProgress = None) -> Steps[Version]:
        """Go on with a training run, by default the latest of `unfinished`."""
        found = name or next(iter(self.unfinished), "")
        if not found:
            raise OptionError(
                "there is no unfinished training run in this session. Start one: train().", code="nothing-unfinished"
            )
        place = TrainingFolder(self._record.place.make() / found)
        return (yield from self._record.trained_steps(place, self._material.training_images))

    @long_work
    def restore(self, name: str = "", *, on_progress: OnProgress = None) -> Steps[None]:
        """Go on with another session of this model, by default the latest of `earlier`; this one stays in its folder.

        Versions come back as they were. They are measured anew where the images, or the float model's `evaluate`, are
        not what they were measured with. Raises OptionError where there is none.
        """
        yield from self._record.restoration_steps(name)
        self._diagnoses, self._details, self._target = {}, {}, TargetWork(self.subject.data)

    @long_work
    def apply(self, name: str, *, on_progress: OnProgress = None) -> Steps[None]:
        """Make a version the applied one, and diagnose it where that was not yet done."""
        with self.history.applying(name):
            if self.diagnosis is None:
                yield from self.diagnose.steps()
        self._record.keep()

    def undo(self) -> None:
        """Go back to the version that was applied before. Raises OptionError where there is none."""
        self.history.undo()
        self._record.keep()

    @long_work
    def export(
        self, folder: str | os.PathLike[str], *, on_progress: OnProgress = None, **options: Any
    ) -> Steps[TargetExport]:
        """The applied version for the target: what `qdiag.export_target` writes. Takes its options."""
        return (yield from self._target.export_steps(self.history.start, folder, options))

    @long_work
    def compare_dump(
        self, folder: str | os.PathLike[str], data: Any = None, *, on_progress: OnProgress = None
    ) -> Steps[DumpComparison]:
        """The tensors that a device wrote, beside the applied version's; see `qdiag.compare_dump`.

        data: what the device was given; by default the first image. Names of the file that this session exported last
        of the version are known too.
        """
        return (yield from self._target.dump_steps(self.history.start, folder, data))

    @long_work
    def verify(self, *, on_progress: OnProgress = None) -> Steps[Verification]:
        """The applied version's integers against ONNX Runtime's, on the first images; see `qdiag.verify`."""
        return (yield from self._target.verification_steps(self.history.start))
