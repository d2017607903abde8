"""The workbench without a screen: model, data, results, and commands by name."""

import os
from collections.abc import Sequence
from typing import Any

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.images.boxes import Detect
from qdiag.comparison.images.compare_images import SHOWN, ImageComparison, compare_images_steps
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.export.device_errors import DumpComparison
from qdiag.export.target_files import TargetExport
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
from qdiag.training.recipe import Recipe
from qdiag.workbench.material import FIRST
from qdiag.workbench.session_report import session_report
from qdiag.workbench.session_state import SessionState
from qdiag.workbench.target_work import TargetWork
from qdiag.workbench.training_folder import TrainingFolder
from qdiag.workbench.version import Version
from qdiag.workbench.version_code import calibrated, equalized, tried


class Session(SessionState, Displayable):
    """Holds a model with its data, and a history of versions of it in fixed point, one of which is applied.

    A long command is a generator of Progress too, as in `session.calibrate.steps("best")`: stopped half-way, it leaves
    the results from before. A version is in the history as soon as it is made, before it is measured.

    Args:
        model: Left as it was, training works on copies; or a `Subject`, which holds the data as well.
        data: Images, with labels where there are any, that everything is measured on.
        optimizer: For lint's rules on weight decay.
        evaluate: Takes a model, gives your own figure of it, the higher the better; it stands beside the others in the
            history, and decides the verdict.
        calibration_data: Where ranges come from; the first 128 images of `data` if not given.
        training_data: To train with; the calibration data if not given.
        task: What the outputs mean, see `compare`.
        batch: Makes a batch that the model takes of what the data gives, see `Subject`; not of `training_data`.
        folder: Where versions and training runs are kept, under the model's name and the time: `restore()` goes on with
            them after the kernel has gone. None: nothing is kept, and nothing can be trained.

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

    def report(self) -> Report:
        """The applied version's diagnosis, with its worst layers close up, and every version with its code."""
        details = {} if self.current is None else self._details.get(self.current.name, {})
        name, score = type(self.model).__name__, self.float_score
        return session_report(name, self.history, self.verifications, score, self.diagnosis, details, self.images)

    def lint(self) -> LintReport:
        """What is known to hurt, found by reading the model."""
        return self._material.lint()

    @long_work
    def diagnose(self, *, on_progress: OnProgress = None) -> Steps[Diagnosis]:
        """Lint, compare, try and explain the applied version; at first the one that minimum and maximum give.

        Args:
            on_progress: Called with each event, as in every long command, also while versions are measured whose
                measuring was stopped; without it a bar appears after two seconds.
        """
        self._record.measure.begin()
        known, name, lane = self.current, FIRST, "8-bit"
        if known is not None and known.name != FIRST:
            quantized, name, lane = known.quantized, known.name, known.name
        else:
            quantized = yield from self._material.calibration_steps(FIRST, 8, None)
        first = quantized if name == FIRST else self.history[FIRST].quantized if FIRST in self.history else None
        diagnosis, details = yield from self._diagnosing.steps(quantized, lane, first)
        if name == FIRST:
            output = diagnosis.comparison.outputs[lane]
            self._record.add(Version(FIRST, "", quantized, output, output.score, calibrated(FIRST, 8, None).code))
        self._diagnoses[name], self._details[name] = diagnosis, details
        yield from self._record.completion_steps()
        return diagnosis

    def diagnosis_steps(self) -> Steps[Diagnosis]:
        """What `diagnose.steps()` is."""
        return self.diagnose.steps()

    @long_work
    def compare(self, *names: str, on_progress: OnProgress = None) -> Steps[Comparison]:
        """Float against some versions at every layer.

        Args:
            *names: Of the versions; by default the applied one and the latest.
            on_progress: As for `diagnose`.

        Raises:
            OptionError: For a name that is not in the history, and for versions that were trained apart.
        """
        return (yield from self._record.measure.comparison_steps(self.history.together(names)))

    @long_work
    def compare_images(
        self, most: int = SHOWN, detect: Detect | None = None, *, on_progress: OnProgress = None
    ) -> Steps[ImageComparison]:
        """What the applied version makes of single images: flipped classes, changed masks, lost boxes, moved values.

        Args:
            most: Images that are shown, the gravest.
            detect: Makes boxes of a detector's output, see `docs/workbench.md`; by default `evaluate.detect`.
            on_progress: As for `diagnose`.
        """
        start = self.history.start
        found = yield from compare_images_steps(self.subject, start.quantized, start.name, most, detect)
        self._images[start.name] = found
        return found

    @long_work
    def calibrate(
        self,
        method: str | Sequence[str] = DEFAULT_METHOD,
        bits: Bits | MacBudget = 8,
        per_channel: PerChannelOption = None,
        *,
        on_progress: OnProgress = None,
    ) -> Steps[Version]:
        """The float model calibrated anew, as one more version; one that was stopped goes on where it was.

        Args:
            method: As for `qdiag.calibrate`.
            bits: As for `qdiag.calibrate`.
            per_channel: As for `qdiag.calibrate`.
            on_progress: As for `diagnose`.
        """
        self._record.measure.begin()
        folder = None if method == FIRST else self.folder  # it takes but a moment
        with self._material.checkpoint(folder, method, bits, per_channel) as file:
            quantized = yield from self._material.calibration_steps(method, bits, per_channel, file)
            version = self._record.unmeasured("", calibrated(method, bits, per_channel), quantized)
        return (yield from self._record.measured_steps(version))

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

        Args:
            layers: As for `qdiag.what_if`.
            bits: As for `qdiag.what_if`.
            per_channel: As for `qdiag.what_if`.
            octaves: As for `qdiag.what_if`.
            on_progress: As for `diagnose`.

        Raises:
            OptionError: Before anything was calibrated.
        """
        start = self.history.start
        quantized = what_if(start.quantized, layers, bits=bits, per_channel=per_channel, octaves=octaves)
        change = tried(layers, bits=bits, per_channel=per_channel, octaves=octaves).after(start.code)
        return (yield from self._record.added_steps(start.name, change, quantized))

    @long_work
    def equalize(self, layers: str | Sequence[str], *, on_progress: OnProgress = None) -> Steps[Version]:
        """The applied version with channels of some layers equalized, as one more version.

        Args:
            layers: As for `qdiag.equalize`.
            on_progress: As for `diagnose`.
        """
        start = self.history.start
        quantized = yield from self._material.equalization_steps(start.quantized, layers)
        return (yield from self._record.added_steps(start.name, equalized(layers).after(start.code), quantized))

    @long_work
    def train(
        self, recipe: Recipe | None = None, *, learn_thresholds: bool = False, on_progress: OnProgress = None
    ) -> Steps[Version]:
        """The applied version trained on in fixed point, with the float model as its teacher; as one more version.

        The run is kept in `folder`.

        Args:
            recipe: By default three epochs that learn the float model's outputs.
            learn_thresholds: Where formats end is learned too, see `QuantTrainModule.from_calibrated`.
            on_progress: As for `diagnose`.
        """
        start, images = self.history.start, self._material.training_images
        recipe = recipe or Recipe(epochs=3, distillation=1.0)
        place = TrainingFolder.new(self._record.place.make(), start, recipe, learn_thresholds=learn_thresholds)
        return (yield from self._record.trained_steps(place, images))

    @long_work
    def resume(self, name: str = "", *, on_progress: OnProgress = None) -> Steps[Version]:
        """Go on with a training run that was stopped or killed.

        Args:
            name: Of the run; by default the latest of `unfinished`.
            on_progress: As for `diagnose`.
        """
        found = name or next(iter(self.unfinished), "")
        if not found:
            raise OptionError(
                "there is no unfinished training run in this session. Start one: train().", code="nothing-unfinished"
            )
        place = TrainingFolder(self._record.place.make() / found)
        return (yield from self._record.trained_steps(place, self._material.training_images))

    @long_work
    def restore(self, name: str = "", *, on_progress: OnProgress = None) -> Steps[None]:
        """Go on with another session of this model; this one stays in its folder.

        Versions come back as they were. They are measured anew where the images, or the float model's `evaluate`, are
        not what they were measured with.

        Args:
            name: Of the session; by default the latest of `earlier`.
            on_progress: As for `diagnose`.

        Raises:
            OptionError: Where there is none.
        """
        yield from self._record.restoration_steps(name)
        self._diagnoses, self._details, self._images = {}, {}, {}
        self._target = TargetWork(self.subject.data)

    @long_work
    def apply(self, name: str, *, on_progress: OnProgress = None) -> Steps[None]:
        """Make a version the applied one, and diagnose it where that was not yet done.

        Args:
            name: Of the version.
            on_progress: As for `diagnose`.
        """
        with self.history.applying(name):
            if self.diagnosis is None:
                yield from self.diagnose.steps()
        self._record.keep()

    @long_work
    def export(
        self, folder: str | os.PathLike[str], *, replace: bool = False, on_progress: OnProgress = None, **options: Any
    ) -> Steps[TargetExport]:
        """The applied version for the target: what `qdiag.export_target` writes.

        Args:
            folder: As for `qdiag.export_target`.
            replace: Write also where there is something else, see `taken`.
            on_progress: As for `diagnose`.
            **options: As for `qdiag.export_target`.

        Raises:
            OptionError: Where the folder holds something else than an export of this model.
        """
        return (yield from self._target.export_steps(self.history.start, folder, options, replace=replace))

    @long_work
    def compare_dump(
        self, folder: str | os.PathLike[str], data: Any = None, *, on_progress: OnProgress = None
    ) -> Steps[DumpComparison]:
        """The tensors that a device wrote, beside the applied version's; see `qdiag.compare_dump`.

        Names of the file that this session exported last of the version are known too.

        Args:
            folder: As for `qdiag.compare_dump`.
            data: What the device was given; by default the first image.
            on_progress: As for `diagnose`.
        """
        return (yield from self._target.dump_steps(self.history.start, folder, data))

    @long_work
    def verify(self, *, on_progress: OnProgress = None) -> Steps[Verification]:
        """The applied version's integers against ONNX Runtime's, on the first images; see `qdiag.verify`.

        Args:
            on_progress: As for `diagnose`.
        """
        return (yield from self._target.verification_steps(self.history.start))
