"""What a session of the workbench holds and shows."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.comparison.images.compare_images import ImageComparison
from qdiag.comparison.site_detail import SiteDetail
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.export.verification import Verification
from qdiag.subject import Evaluate, Subject, Task
from qdiag.tracing.batches import Adapt
from qdiag.tracing.site import Site
from qdiag.workbench.diagnosing import Diagnosing
from qdiag.workbench.history import History
from qdiag.workbench.layer_list import LayerList, layer_list
from qdiag.workbench.material import Material
from qdiag.workbench.measure import Measure
from qdiag.workbench.network_graph import NetworkGraph, network_graph
from qdiag.workbench.offers import Offer, offers
from qdiag.workbench.record import Record
from qdiag.workbench.session_folder import SessionFolder
from qdiag.workbench.target_folder import taken
from qdiag.workbench.target_work import TargetWork
from qdiag.workbench.twin import Twin
from qdiag.workbench.version import Version
from qdiag.workbench.version_list import VersionList, version_list

FOLDER = "qdiag-runs"


class SessionState:
    """A model with its data, and what was made and found of it so far; `Session` has the commands that add to it."""

    def __init__(
        self,
        model: nn.Module | Subject,
        data: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
        evaluate: Evaluate | None = None,
        *,
        calibration_data: Any = None,
        training_data: Any = None,
        task: Task | None = None,
        batch: Adapt | None = None,
        folder: str | os.PathLike[str] | None = FOLDER,
    ):
        options = {"calibration_data": calibration_data, "task": task, "evaluate": evaluate, "batch": batch}
        subject = Subject.of(model, data, **options)
        self.model = model = subject.model
        twin = Twin(model)
        self.subject = subject.of_module(twin.module)
        place = None if folder is None else SessionFolder(Path(folder) / type(model).__name__)
        self._material = Material(self.subject, optimizer, training_data)
        self._record = Record(Measure(self.subject, twin), place)
        self._diagnosing = Diagnosing(self._material, self._record.measure)
        self._target = TargetWork(self.subject.data)
        self._diagnoses: dict[str, Diagnosis] = {}
        self._details: dict[str, dict[Site, SiteDetail]] = {}
        self._images: dict[str, ImageComparison] = {}

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
        return [] if self.folder is None else self.folder.unfinished(self.history)

    @property
    def earlier(self) -> dict[str, list[str]]:
        """Other sessions of this very model that were kept, the latest first: name and contents. See `restore`."""
        return {} if self.folder is None else {one.name: one.contents() for one in self.folder.earlier(self.model)}

    @property
    def images(self) -> ImageComparison | None:
        """What `compare_images()` found of the applied version; None where it was not asked."""
        return None if self.current is None else self._images.get(self.current.name)

    def inspect(self, name: Site | str) -> SiteDetail:
        """Histograms and channels of one layer.

        Args:
            name: Its address.

        Raises:
            OptionError: Before `diagnose()`.
            SiteNotFound: For an address that is no layer's.
        """
        if self.current is None or self.diagnosis is None:
            raise OptionError("nothing to inspect yet: run diagnose() first.", code="nothing-diagnosed")
        return self._details[self.current.name][self.diagnosis.comparison.layer(name).site]

    def layers(self) -> LayerList:
        """Every layer of the applied version with its errors and its cost, the worst first.

        Raises:
            OptionError: Before `diagnose()`.
        """
        version, diagnosis = self.current, self.diagnosis
        if version is None or diagnosis is None:
            raise OptionError("no layer is known yet: run diagnose() first.", code="nothing-diagnosed")
        return layer_list(diagnosis, version.quantized.plan)

    def graph(self) -> NetworkGraph:
        """The applied version's layers and the tensors between them, each layer with its errors and its cost.

        Raises:
            OptionError: Before `diagnose()`.
        """
        layers, version = self.layers(), self.current
        assert version is not None, "layers() has raised"
        return network_graph(layers, version.quantized.plan)

    def offers(self) -> tuple[Offer, ...]:
        """What to do next with the applied version, the best first, each by one command; empty before `diagnose()`."""
        version, diagnosis = self.current, self.diagnosis
        if version is None or diagnosis is None:
            return ()
        return offers(diagnosis, version.name, self.history, is_verified=version.name in self.verifications)

    def undo(self) -> None:
        """Go back to the version that was applied before. Raises OptionError where there is none."""
        self.history.undo()
        self._record.keep()

    def annotate(
        self, name: str, *, title: str | None = None, note: str | None = None, pinned: bool | None = None
    ) -> Version:
        """Name a version anew, write a note beside it, or pin it to the top of the table; what is None stays.

        Args:
            name: Of the version, or its title.
            title: What it is called from now on; "" for its own name. Commands take either.
            note: What you want to remember of it.
            pinned: Whether it stands at the top.

        Raises:
            OptionError: For a name that is not in the history, and for a title that another version has.
        """
        version = self.history.find(name)
        if title:
            self.history.check_title(version, title)
        words: dict[str, Any] = {"title": title, "note": note, "is_pinned": pinned}
        changed = replace(version, **{word: value for word, value in words.items() if value is not None})
        self._record.add(changed)
        return changed

    def delete(self, name: str) -> None:
        """Take a version out of the history; a training run stays in its folder, and `resume(…)` brings it back.

        Args:
            name: Of the version, or its title.

        Raises:
            OptionError: For a name that is not in the history, and for the applied version.
        """
        gone = self.history.remove(name).name  # a later version may have its name, and none of its results
        for found in (self._diagnoses, self._details, self._images, self._target.exports, self._target.verifications):
            found.pop(gone, None)
        self._record.keep()

    def versions(self) -> VersionList:
        """Every version beside float, the pinned ones first: what it loses, and what it costs the target.

        Raises:
            OptionError: Before there is one.
        """
        return version_list(type(self.model).__name__, self.history, self.verifications, self.float_score)

    def taken(self, folder: str | os.PathLike[str]) -> str:
        """What a folder holds beside an export of this model, in a few words; "" where nothing would be mixed.

        Args:
            folder: To export to; it need not be there.
        """
        return taken(folder, type(self.model).__name__)

    def code(self, name: str) -> str:
        """The lines of Python that make a version.

        Args:
            name: Of the version.

        Raises:
            OptionError: For a name that is not in the history.
        """
        return self.history.find(name).script
