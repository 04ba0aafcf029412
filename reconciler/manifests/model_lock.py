"""`model.lock`: which content the addresses of models stood for when somebody looked, as a file of the manifest repo.

An entry is of one model, number and address. So a changed address or a raised number is one that nobody looked at yet,
and an environment with addresses of its own has entries of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem
from reconciler.core.values import MISSING, lookup
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.document import Limits
from reconciler.manifests.kinds.names import SHA256
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.validate import did_you_mean

FILE = "model.lock"
COMMAND = "reconciler models lock"
MODES = ("pin", "follow", "warn")
_FORMAT = 1
_LIMITS = Limits(bytes=8 << 20, documents=1, nodes=1_000_000)
_HEAD = f"# Written by `{COMMAND}`: what the addresses of models stand for. Commit it; change it with that command.\n"
STAMPS = ("etag", "lastModified")
_KEYS = ("name", "version", "uri", "digest", "size", *STAMPS)


# An entry as plain values, to be remembered.
_Row: TypeAlias = "tuple[tuple[str, int | None, str], tuple[str, int | None, tuple[tuple[str, str], ...]]]"


class LockKey(NamedTuple):
    """What an entry is of; `version` is None where the manifest leaves the number to the registry."""

    name: str
    version: int | None
    uri: str


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry.

    Args:
        digest: `sha256:<64 hex>`.
        size: Bytes; None where that was not known, as of a folder.
        stamps: What the server said of the bytes: `etag`, `lastModified`.
    """

    digest: str
    size: int | None = None
    stamps: tuple[tuple[str, str], ...] = ()

    @property
    def said(self) -> tuple[tuple[str, Any], ...]:
        """All that can be compared with what a server says later."""
        return (*self.stamps, *((("size", self.size),) if self.size is not None else ()))


@dataclass(frozen=True, slots=True)
class ModelLock:
    """The file at one revision; without problems it can be relied on."""

    entries: Mapping[LockKey, Locked] = field(default_factory=dict[LockKey, Locked])
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The models that have an entry."""
        return frozenset(key.name for key in self.entries)


NO_LOCK = ModelLock()


def key_of(document: Manifest) -> LockKey:
    """What an entry for a model's document is of."""
    return LockKey(document.name, document.spec.get("version"), document.spec["uri"])


def mode_of(document: Manifest, defaults: Manifest | None) -> str:
    """What holds for a model when the content behind its address changes: one of `MODES`, or "" for none of them.

    The default is for those models that leave it open: what has a `sha256` needs no lock, what has a number cannot
    follow.
    """
    spec = document.spec
    if spec.get("uri") is None or spec.get("sha256") is not None:
        return ""
    if spec.get("lock") is not None:
        return spec["lock"]
    mode: str = (defaults.spec.get("modelLock") if defaults is not None else None) or ""
    return "" if mode == "follow" and spec.get("version") is not None else mode


def lockable(repo: Repo) -> list[Manifest]:
    """Documents of models whose bytes lie elsewhere and are not fixed by the document itself."""
    return [
        document
        for documents in repo.models.values()
        for document in documents
        if document.spec.get("uri") is not None and document.spec.get("sha256") is None
    ]


def lock_for(repo: Repo, tree: Tree, cache: DocumentCache | None = None) -> ModelLock:
    """The lock of a revision, if a model could need it."""
    return read_lock(tree, cache) if lockable(repo) else NO_LOCK


def read_lock(tree: Tree, cache: DocumentCache | None = None) -> ModelLock:
    """The lock of a revision; none is the same as an empty one."""
    try:
        object_id = tree.object_id(FILE)
        if object_id is None:
            return NO_LOCK
        rows: tuple[_Row, ...] | None = cache.fact("model lock", object_id) if cache is not None else None
        if rows is None:
            rows, problems = parse_lock(tree.read(FILE, _LIMITS.bytes))
            if problems:
                return ModelLock(problems=tuple(problems))
            if cache is not None:
                cache.remember("model lock", object_id, rows)
    except InvalidError as error:
        return ModelLock(problems=(_problem(Position(FILE), f"cannot be read: {error.message}", error.hint),))
    return ModelLock({LockKey(*key): Locked(*locked) for key, locked in rows})


def parse_lock(data: bytes) -> tuple[tuple[_Row, ...], list[Problem]]:
    """The entries of a file, as plain values, and everything that is wrong with it."""
    from reconciler.manifests.yaml import parse

    documents, problems = parse(data, FILE, _LIMITS)
    if problems:
        return (), problems
    if not documents:
        return (), [_problem(Position(FILE), "is empty")]
    document = documents[0]
    value, at = document.value, document.marks.at
    models = lookup(value, "/models")
    if lookup(value, "/lockVersion") != _FORMAT or not isinstance(models, list):
        return (), [_problem(at("/lockVersion"), f"has no `lockVersion: {_FORMAT}` with a list of `models`")]
    rows: dict[tuple[str, int | None, str], _Row] = {}
    for index, entry in enumerate(cast("list[Any]", models)):
        where = f"/models/{index}"
        wrong = _wrong(entry)
        if wrong:
            key, said, hint = wrong
            problems.append(_problem(at(f"{where}/{key}" if key else where), said, hint))
            continue
        stamps = tuple((key, entry[key]) for key in STAMPS if key in entry)
        row: _Row = (
            (entry["name"], entry.get("version"), entry["uri"]),
            (entry["digest"], entry.get("size"), stamps),
        )
        if row[0] in rows:
            problems.append(_problem(at(where), "has two entries for the same model, number and address"))
        rows[row[0]] = row
    return tuple(rows.values()), problems


def _wrong(entry: Any) -> tuple[str, str, str] | None:
    """The key that is wrong in an entry, what is wrong with it, and what was meant."""
    if not isinstance(entry, dict):
        return "", "has an entry that is no mapping", ""
    found = cast("dict[str, Any]", entry)
    for key in found:
        if key not in _KEYS:
            return key, "has an unknown key", did_you_mean(key, _KEYS)
    for key in ("name", "uri", "digest", *STAMPS):
        value = found.get(key, MISSING)
        if not isinstance(value, str) and not (key in STAMPS and value is MISSING):
            return key, f"has an entry without a `{key}` that is text", ""
    for key in ("version", "size"):
        value = found.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return key, f"has a `{key}` that is no whole number", ""
    if not re.fullmatch(SHA256, found["digest"]) or not found["digest"].startswith("sha256:"):
        return "digest", "has a `digest` that is not `sha256:` and 64 hexadecimal digits", ""
    return None


def _problem(at: Position, said: str, hint: str = "") -> Problem:
    return Problem("lock-invalid", f"{FILE} {said}", at, hint or f"remove it, and `{COMMAND}` writes it anew")


def to_text(entries: Mapping[LockKey, Locked] | Iterable[tuple[LockKey, Locked]]) -> str:
    """The file for some entries: the same for the same ones, whatever their order."""
    from reconciler.manifests.writing import to_yaml

    pairs = dict(entries)
    models: list[dict[str, Any]] = []
    for key in sorted(pairs, key=lambda key: (key.name, key.version or 0, key.uri)):
        locked = pairs[key]
        entry: dict[str, Any] = {"name": key.name, "version": key.version, "uri": key.uri, "digest": locked.digest}
        entry |= {"size": locked.size, **dict(locked.stamps)}
        models.append({name: value for name, value in entry.items() if value is not None})
    return _HEAD + to_yaml({"lockVersion": _FORMAT, "models": models})
