"""What loading gives: manifests, the files they stand in, and every problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reconciler.core.contents import Listed, Revision
from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position, Problem, Severity


class Places(Protocol):
    """Where the values of a document stand."""

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        """Where a value (or its key) stands; for one that is not there, where the nearest enclosing value stands."""
        ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """One validated document.

    Args:
        spec: In normal form: camelCase keys, short forms written out, only what was set. Not to be changed.
        marks: Where its values stand, in the document itself or in an overlay; pointers begin at the document
            (`/spec/target`).
        sealed: Pointers below `spec` of its references into encrypted files.
        moved_from: The name it had before.
    """

    kind: str
    name: str
    description: str
    tags: Mapping[str, str]
    spec: Mapping[str, Any]
    position: Position
    marks: Places = field(repr=False)
    sealed: tuple[str, ...] = ()
    moved_from: str = ""

    @property
    def subject(self) -> str:
        """For reports: `Service/diabetes`."""
        return f"{self.kind}/{self.name}"

    def at(self, pointer: str, *, key: bool = False) -> Position:
        """Where a value of the document stands."""
        return self.marks.at(pointer, key=key)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """What one file holds, by the id of its bytes.

    Args:
        unreadable: Kinds and names of documents that could not be used, as far as they can be read (`("Service", "")`).
    """

    path: str
    object_id: str
    manifests: tuple[Manifest, ...] = ()
    problems: tuple[Problem, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Repo:
    """All documents of one revision.

    Args:
        services, inference, targets, overlays: By name; a name that stands twice is in none of them.
        models: All documents of a name, in order of place.
        broken: Kinds and names of documents that exist but cannot be used.
        files: What was parsed, so that loading the next revision parses only what changed.
        listed: The files that were looked at.
    """

    revision: Revision
    services: Mapping[str, Manifest]
    inference: Mapping[str, Manifest]
    targets: Mapping[str, Manifest]
    models: Mapping[str, tuple[Manifest, ...]]
    defaults: Manifest | None
    overlays: Mapping[str, Manifest]
    problems: tuple[Problem, ...]
    broken: frozenset[tuple[str, str]]
    files: Mapping[str, ManifestFile] = field(repr=False)
    listed: Sequence[Listed] = field(repr=False, default=())

    @property
    def sound(self) -> bool:
        """No error was found."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)
