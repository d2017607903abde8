"""A session's versions, and which of them is applied."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from qdiag.errors import OptionError
from qdiag.workbench.version import Version


class History(Mapping[str, Version]):
    """Versions by name, in the order in which they were made.

    applied: names, in the order in which they were applied; the last one is the version to go on with.
    """

    def __init__(self, versions: Iterable[Version] = (), applied: Iterable[str] = ()):
        self._versions = {version.name: version for version in versions}
        self.applied = list(applied)

    def __getitem__(self, name: str) -> Version:
        return self._versions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)

    def __repr__(self) -> str:
        return f"History({', '.join(map(repr, self))})"

    @property
    def current(self) -> Version | None:
        """The version that is applied; None before the first."""
        return self[self.applied[-1]] if self.applied else None

    @property
    def start(self) -> Version:
        """The version to change from. Raises OptionError where there is none."""
        if self.current is None:
            raise OptionError(
                "no version yet to start from: run diagnose() or calibrate() first.", code="nothing-calibrated"
            )
        return self.current

    @property
    def latest(self) -> Version:
        """The version that was made last. Raises OptionError where there is none."""
        return [self.start, *self.values()][-1]

    def find(self, name: str) -> Version:
        """By name or title. Raises OptionError for one that it does not hold."""
        titled = [version for version in self.values() if version.title == name]
        if name not in self and titled:
            return titled[0]
        if name not in self:
            known = ", ".join(map(repr, self)) or "nothing yet"
            raise OptionError(f"no version {name!r} in the history; there is {known}.", code="no-version")
        return self[name]

    def together(self, names: Collection[str]) -> list[Version]:
        """Versions that one float model is the reference of; without names, the applied one and the latest.

        Raises OptionError for a name that it does not hold, and for versions that were trained apart.
        """
        found = [self.find(name) for name in names] or [self.start, self.latest]
        if len({id(version.quantized.module) for version in found}) > 1:
            raise OptionError(
                "these versions were trained apart: no float model is the reference of both.", code="other-model"
            )
        return found

    def free_name(self, name: str) -> str:
        """The name, numbered where versions are called so already.

        >>> History().free_name("best")
        'best'
        """
        taken = {*self, *(version.title for version in self.values())}
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        return next(free for free in itertools.chain([name], numbered) if free not in taken)

    def add(self, version: Version) -> None:
        """The first one is applied at once."""
        self._versions[version.name] = version
        self.applied = self.applied or [version.name]

    def check_title(self, version: Version, title: str) -> None:
        """Raises OptionError for a title that means another version."""
        if any(other is not version and title in (other.name, other.title) for other in self.values()):
            raise OptionError(
                f"another version is called {title!r} already. Choose another title.", code="option-value"
            )

    def remove(self, name: str) -> Version:
        """Forget a version, and return it. Raises OptionError for the applied one."""
        version = self.find(name)
        if version is self.current:
            raise OptionError(
                f"{name!r} is applied: apply another version, or undo, before it is deleted.", code="option-value"
            )
        del self._versions[version.name]
        self.applied = [other for other in self.applied if other != version.name]
        return version

    @contextmanager
    def applying(self, name: str) -> Iterator[None]:
        """The version is the applied one, unless what is done inside fails or is stopped."""
        version, before = self.find(name), list(self.applied)
        if version is not self.current:
            self.applied.append(version.name)
        try:
            yield
        except BaseException:
            self.applied = before
            raise

    def undo(self) -> None:
        """Go back to what was applied before. Raises OptionError where nothing was."""
        if len(self.applied) < 2:
            raise OptionError("nothing to undo: no version was applied before this one.", code="nothing-to-undo")
        self.applied.pop()
