"""A session's history, measured and kept."""

from dataclasses import replace
from typing import Any

from qdiag.errors import OptionError
from qdiag.progress import Steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.workbench.history import History
from qdiag.workbench.measure import Measure
from qdiag.workbench.session_folder import Kept, SessionFolder
from qdiag.workbench.training_folder import TrainingFolder
from qdiag.workbench.version import Version
from qdiag.workbench.version_code import Change


class Record:
    """Versions are kept as they come and then measured, and written to the folder after each change.

    So what was calibrated or trained is there, whatever becomes of measuring it.

    folder: None where nothing is kept.
    """

    def __init__(self, measure: Measure, folder: SessionFolder | None):
        self.measure, self.folder = measure, folder
        self.history = History()

    @property
    def place(self) -> SessionFolder:
        """Raises OptionError where nothing is kept."""
        if self.folder is None:
            raise OptionError("nothing is kept with folder=None: give folder=… to the session.", code="no-folder")
        return self.folder

    def added_steps(self, parent: str, change: Change, quantized: QuantizedModel) -> Steps[Version]:
        """One more version, measured."""
        return (yield from self.measured_steps(self.unmeasured(parent, change, quantized)))

    def unmeasured(self, parent: str, change: Change, quantized: QuantizedModel) -> Version:
        """One more version, kept before it is measured; in the place of the same one that never was."""
        made = (parent, change.code)
        waiting = (one.name for one in self.incomplete() if (one.parent, one.code) == made)
        name = next(waiting, "") or self.history.free_name(change.name)
        version = Version(name, parent, quantized, None, None, change.code)
        self.add(version)
        return version

    def incomplete(self) -> list[Version]:
        """Those with a figure missing, since measuring was stopped or failed."""
        return [version for version in self.history.values() if not self.measure.is_complete(version)]

    def measured_steps(self, version: Version) -> Steps[Version]:
        """The same version with its figures, in its own place."""
        if version.measured is None:
            version = replace(version, measured=(yield from self.measure.output_steps(version)))
            self.history.add(version)  # whatever the user's own figure comes to
        version = replace(version, score=self.measure.score(version.quantized))
        self.add(version)
        return version

    def trained_steps(self, run: TrainingFolder, images: Any) -> Steps[Version]:
        """One more version, from where a training run was left."""
        self.measure.begin()
        quantized = yield from run.steps(self.measure.subject.model, self.measure.subject.data, images)
        return (yield from self.added_steps(run.parent, run.change, quantized))

    def completion_steps(self) -> Steps[None]:
        """Whatever is not measured yet."""
        for version in self.incomplete():
            yield from self.measured_steps(version)

    def add(self, version: Version) -> None:
        """In the place of the one that has its name."""
        self.history.add(version)
        self.keep()

    def keep(self) -> None:
        """Warns where it cannot be written."""
        if self.folder is not None:
            kept = Kept(self.history, self.measure.images, self.measure.float_score)
            self.folder.save(self.measure.subject.model, kept)

    def restoration_steps(self, name: str) -> Steps[None]:
        """The history of an earlier session, with figures of the images at hand. See `Session.restore`."""
        found = self.place.other(self.measure.subject.model, name)
        kept = found.load(self.measure.subject.model, self.measure.subject.data)
        self.measure.begin()
        history = kept.history
        if (kept.data, kept.float_score) != (self.measure.images, self.measure.float_score):
            history = yield from self.measure.again_steps(history)
        self.folder, self.history = found, history
