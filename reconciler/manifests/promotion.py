"""Which values of which files must become others so that services serve another version of a model.

References in services are what is changed: in the documents, or, for an environment, in its overlay. What follows
`latest` follows by itself and is left alone, unless the service was named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from reconciler.core.contents import Contents, Listed, Revision, Tree
from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position
from reconciler.core.values import lookup
from reconciler.manifests.document import Document
from reconciler.manifests.editing import Append, Edit, Insert, Put, edited
from reconciler.manifests.overlays.environment import Environment
from reconciler.manifests.overlays.origins import Origins
from reconciler.manifests.overlays.traced import Layer
from reconciler.manifests.repo import Manifest
from reconciler.manifests.yaml import LIMITS, parse

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """One service's reference to the model.

    Args:
        index: Which of the service's models it is.
        before: The version that it names; `latest` also where it names none.
        position: Where that stands; where the override comes to stand, for one that is added to an overlay.
        added: An override is added for it.
    """

    service: str
    index: int
    before: int | str
    position: Position
    added: bool = False


@dataclass(slots=True)
class _File:
    """A file with what is to be edited in it."""

    data: bytes
    documents: list[Document]
    edits: dict[tuple[str, Position], Edit] = field(default_factory=dict[tuple[str, Position], Edit])
    expected: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])


@dataclass(frozen=True, slots=True)
class Promotion:
    """What is to be done.

    Args:
        changed: References that become others.
        same: Those that name the version already.
        following: Those that say `latest` and are left alone.
        files: The new bytes of every file that changes, by its path below the manifest folder.
    """

    changed: tuple[Reference, ...]
    same: tuple[Reference, ...]
    following: tuple[Reference, ...]
    files: Mapping[str, bytes]
    _edits: Mapping[str, _File] = field(repr=False)

    def edit(self, path: str, data: bytes) -> bytes:
        """A file with its edits, also where its line ends are others than in the commit.

        Raises:
            InvalidError: It is another file.
        """
        file = self._edits[path]
        return edited(data, path, list(file.edits.values()), file.expected)


def promotion(
    tree: Tree, environment: Environment, model: str, version: int | str, services: Collection[str] | None = None
) -> Promotion:
    """The edits that promote a model.

    Args:
        environment: Whose overlay is edited; the documents themselves without one.
        version: A number or `latest`.
        services: Only these, which then also stop following `latest`; None for all that serve the model.

    Raises:
        InvalidError: A reference is written so that it cannot be changed by itself.
    """
    return _Promoting(tree, environment, model, version, services).promotion()


class _Promoting:
    def __init__(
        self,
        tree: Tree,
        environment: Environment,
        model: str,
        version: int | str,
        services: Collection[str] | None,
    ) -> None:
        self.tree = tree
        self.environment = environment
        self.model = model
        self.version = version
        self.services = services
        self.files: dict[str, _File] = {}
        self.added: list[dict[str, Any]] = []

    def promotion(self) -> Promotion:
        changed: list[Reference] = []
        same: list[Reference] = []
        following: list[Reference] = []
        for name, service in sorted(self.environment.repo.services.items()):
            if self.services is not None and name not in self.services:
                continue
            for index, reference in enumerate(service.spec.get("models", ())):
                if reference["name"] != self.model:
                    continue
                before = reference.get("version", LATEST)
                at = service.at(f"/spec/models/{index}/{'version' if 'version' in reference else 'name'}")
                if before == self.version:
                    same.append(Reference(name, index, before, at))
                elif before == LATEST and self.services is None:
                    following.append(Reference(name, index, before, at))
                else:
                    changed.append(self._change(service, index, before, at, named="version" in reference))
        if self.added:
            self._append()
        files = {
            path: edited(file.data, path, list(file.edits.values()), file.expected) for path, file in self.files.items()
        }
        return Promotion(tuple(changed), tuple(same), tuple(following), files, self.files)

    def _change(self, service: Manifest, index: int, before: int | str, at: Position, *, named: bool) -> Reference:
        pointer = f"/spec/models/{index}/{'version' if named else 'name'}"
        marks, document, place = service.marks, service, pointer
        if isinstance(marks, Origins):
            origin, rest = marks.origin(pointer)
            copied = origin.layer is Layer.PATCH and "/from" in origin.pointer
            if self.environment.name and (origin.layer is Layer.DOCUMENT or copied):
                return self._override(service, index, before, named=named)
            if origin.layer is not Layer.DOCUMENT:
                document, place = self._overlay(), origin.pointer + rest
        elif self.environment.name:
            return self._override(service, index, before, named=named)
        self._edit(document, place, at, named=named)
        return Reference(service.name, index, before, at)

    def _edit(self, document: Manifest, pointer: str, at: Position, *, named: bool) -> None:
        """Notes the edit of a version that stands in a document, in whichever of its three forms."""
        file, number = self._file(document)
        raw = file.documents[number].value
        expected = file.expected.setdefault(number, {})
        reference = pointer.rpartition("/")[0]
        written = lookup(raw, reference)
        if isinstance(written, str):
            short = f"{self.model}:{self.version}"
            file.edits["put", at] = Put(at, short)
            expected[reference] = short
        elif named:
            file.edits["put", at] = Put(at, self.version)
            expected[pointer] = self.version
        else:
            file.edits["insert", at] = Insert(at, "version", self.version)
            expected[f"{reference}/version"] = self.version

    def _override(self, service: Manifest, index: int, before: int | str, *, named: bool) -> Reference:
        """Notes an override that the overlay has not got yet."""
        overlay = self._overlay()
        operation = {
            "op": "replace" if named else "add",
            "path": f"/spec/models/{index}/version",
            "value": self.version,
        }
        known = next((item for item in self.added if item["name"] == service.name), None)
        if known is None:
            self.added.append({"kind": "Service", "name": service.name, "patch": [operation]})
        else:
            known["patch"].append(operation)
        return Reference(service.name, index, before, overlay.at("/spec/overrides"), added=True)

    def _append(self) -> None:
        overlay = self._overlay()
        file, number = self._file(overlay)
        at = overlay.at("/spec/overrides")
        file.edits["append", at] = Append(at, self.added)
        file.expected.setdefault(number, {})["/spec/overrides/-"] = self.added

    def _overlay(self) -> Manifest:
        return self.environment.source.overlays[self.environment.name]

    def _file(self, document: Manifest) -> tuple[_File, int]:
        path = document.position.file
        file = self.files.get(path)
        if file is None:
            data = self.tree.read(path, LIMITS.bytes)
            file = self.files[path] = _File(data, parse(data, path)[0])
        return file, next(n for n, found in enumerate(file.documents) if found.marks.at() == document.position)


class EditedTree:
    """A tree in which some files have other bytes, for loading its documents."""

    def __init__(self, tree: Tree, files: Mapping[str, bytes]) -> None:
        self._tree = tree
        self._files = files

    @property
    def revision(self) -> Revision:
        """That of the tree."""
        return self._tree.revision

    @property
    def contents(self) -> Contents:
        """Those of the tree."""
        return self._tree.contents

    def documents(self) -> Sequence[Listed]:
        """Every YAML file; edited ones under ids of their own."""
        return [
            entry._replace(object_id=f"edited {entry.object_id}") if entry.path in self._files else entry
            for entry in self._tree.documents()
        ]

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of each file."""
        others = self._tree.read_all([file for file in files if file.path not in self._files], limit)
        for file in files:
            data = self._files.get(file.path)
            yield next(others) if data is None else data if len(data) <= limit else len(data)

    def object_id(self, path: str) -> str | None:
        """As in the tree."""
        return self._tree.object_id(path)

    def is_folder(self, path: str) -> bool:
        """As in the tree."""
        return self._tree.is_folder(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return len(self._files[path]) if path in self._files else self._tree.size(path)

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes."""
        return self._files[path] if path in self._files else self._tree.read(path, limit)

    def names(self, folder: str) -> list[str]:
        """As in the tree."""
        return self._tree.names(folder)


def check(before: Environment, after: Environment, found: Promotion, version: int | str) -> None:
    """Makes sure that the edits do what was meant: these references become others, and nothing else does.

    Raises:
        InvalidError: Another service would change too, or one would not.
    """
    for name, service in before.repo.services.items():
        meant = {reference.index for reference in found.changed if reference.service == name}
        models = [
            {**reference, "version": version} if index in meant else reference
            for index, reference in enumerate(service.spec.get("models", ()))
        ]
        wanted = {**service.spec, "models": models} if meant else service.spec
        other = after.repo.services.get(name)
        if other is not None and other.spec == wanted:
            continue
        if meant:
            raise InvalidError(f"service {name} cannot be changed by itself", hint="edit its manifest by hand")
        raise InvalidError(
            f"service {name} would change too: the same line sets it",
            hint="name all that may change together with --service, or edit by hand",
        )
