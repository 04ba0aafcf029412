"""`reconciler models lock`: writes down which bytes the addresses of models stand for."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, closest
from reconciler.cli.session import Session
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError, UnavailableError, UsageError
from reconciler.views.values import plural, printable

if TYPE_CHECKING:
    from reconciler.core.problems import Problem
    from reconciler.manifests.model_lock import Locked, LockKey


class _Lock:
    """Writes `model.lock`, or says what is to be written."""

    def configure(self, parser: Parser) -> None:
        """Declares the arguments."""
        parser.about(
            "Fetch the models that have a `uri` and no `sha256`, and write into model.lock which bytes those are, for\n"
            "all environments. What is locked already stays, unless it is named, or --upgrade asks for the present\n"
            "bytes of all; entries that no model has any more go. Models with `lock: follow` need none.",
            (
                ("reconciler models lock", "lock what is not locked yet"),
                ("reconciler models lock diabetes-onnx", "take the present bytes of one, too"),
                ("reconciler models lock --upgrade", "of all"),
                ("reconciler models lock --check", "fetch and write nothing; 14 if it does not hold any more"),
            ),
        )
        parser.add_argument("model", nargs="*", help="take the present bytes of this one")
        parser.add_argument("--upgrade", action="store_true", help="take the present bytes of all")
        parser.add_argument("--check", action="store_true", help="only ask whether what is locked still holds")
        add_source(parser)
        add_settings(parser)
        add_output(parser)

    def run(self, arguments: Namespace, console: Console) -> int:
        """Compares the lock with the manifests and the addresses; writes it."""
        if arguments.check and (arguments.upgrade or arguments.model):
            raise UsageError("--check looks at everything and takes nothing", hint="leave out the rest")
        if arguments.ref and not arguments.check:
            raise UsageError("model.lock is written in the working copy", hint="leave out --ref, or only --check it")
        session = Session(arguments)
        try:
            wanted = _wanted(session, arguments.env)
            return _check(wanted, console, session) if arguments.check else _lock(wanted, arguments, console, session)
        finally:
            session.close()


LOCK = _Lock()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What manifests ask for, and what the lock has.

    Args:
        keys: What is to have an entry.
        names: The models there are.
        all: Of all environments.
    """

    revision: str
    keys: Sequence[LockKey]
    before: Mapping[LockKey, Locked]
    names: frozenset[str]
    all: bool

    @property
    def unused(self) -> list[LockKey]:
        """Entries that no model has any more; unknown where not all environments were looked at."""
        return sorted(self.before.keys() - set(self.keys), key=str) if self.all else []


def _wanted(session: Session, environment: str | None) -> _Wanted:
    from reconciler.manifests.load import load
    from reconciler.manifests.model_lock import key_of, lockable, mode_of, read_lock
    from reconciler.manifests.overlays.environment import in_environment

    tree = session.tree()
    cache = wiring.document_cache(session.places)
    loaded = load(tree, cache)
    lock = read_lock(tree, cache)
    wrong: list[Problem] = [*lock.problems]
    keys: dict[LockKey, None] = {}
    for name in ("", *sorted(loaded.overlays)) if environment is None else (environment,):
        repo = in_environment(loaded, name, cache).repo
        if any(kind in ("Model", "Defaults", "") for kind, _ in repo.broken) or (name and not repo.sound):
            wrong += [problem for problem in repo.problems if problem not in wrong]
        keys.update((key_of(each), None) for each in lockable(repo) if mode_of(each, repo.defaults) != "follow")
    cache.save()
    if wrong:
        raise InvalidError("nothing is locked while manifests or model.lock have errors", problems=wrong)
    ordered = sorted(keys, key=lambda key: (key.name, key.version or 0, key.uri))
    return _Wanted(tree.revision.short, ordered, lock.entries, frozenset(loaded.models), environment is None)


def _lock(wanted: _Wanted, arguments: Namespace, console: Console, session: Session) -> int:
    from reconciler.manifests.model_lock import FILE

    place = _place(session)
    for name in arguments.model:
        if name not in {key.name for key in wanted.keys}:
            known = sorted({key.name for key in wanted.keys})
            why = "follows its address, or its manifest fixes the bytes" if name in wanted.names else "is not there"
            hint = closest(name, known) or f"there are {', '.join(known[:10]) or 'none'}"
            raise UsageError(f"model {name!r} needs no lock: it {why}", hint=hint)
    kept = {key: locked for key, locked in wanted.before.items() if key not in wanted.unused}
    after = dict(kept)
    settings = wiring.model_settings(session.settings)
    # Next to the cache, since that is on a disk with room for models where there is one.
    session.places.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=session.places.cache, prefix="lock-") as folder:
        fetched: dict[str, Locked] = {}
        for key in wanted.keys:
            if key in kept and not (arguments.upgrade or key.name in arguments.model):
                continue
            if key.uri not in fetched:
                console.note(f"fetching {printable(key.uri)}")
                fetched[key.uri] = wiring.looked_at(key.uri, settings, Path(folder))
            after[key] = fetched[key.uri]
    if after != wanted.before:
        _write(place / FILE, after)
    changes = list(_changes(wanted.before, after))
    if console.output == "json":
        data = [_json(key, before, now) for key, before, now in changes]
        console.json({"kind": "ModelLock", "formatVersion": 1, "entries": len(after), "changes": data})
        return exits.DONE
    for key, before, now in changes:
        console.line(_told(key, before, now))
    what = f"{plural(len(changes), 'change')}: commit it" if changes else "as before"
    console.line(f"{FILE} has {plural(len(after), 'entry', 'entries')}, {what}.")
    return exits.DONE


def _changes(
    before: Mapping[LockKey, Locked], after: Mapping[LockKey, Locked]
) -> Iterator[tuple[LockKey, Locked | None, Locked | None]]:
    for key in sorted({*before, *after}, key=lambda key: (key.name, key.version or 0, key.uri)):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _told(key: LockKey, before: Locked | None, now: Locked | None) -> str:
    name = printable(key.name if key.version is None else f"{key.name}:{key.version}")
    if now is None:
        return f"- {name}  no model has this number and address any more"
    size = f"  {now.size:,} bytes" if now.size is not None else ""
    if before is None:
        return f"+ {name}  {now.digest[:19]}{size}"
    if before.digest == now.digest:
        return f"~ {name}  the same bytes, of which its server says something else now"
    taken = "; what was registered as this number stays so: raise `version`" if key.version is not None else ""
    return f"~ {name}  {before.digest[:19]} → {now.digest[:19]}{size}{taken}"


def _json(key: LockKey, before: Locked | None, now: Locked | None) -> dict[str, Any]:
    return {
        "name": key.name,
        "version": key.version,
        "uri": key.uri,
        "before": before.digest if before else None,
        "after": now.digest if now else None,
    }


def _place(session: Session) -> Path:
    from reconciler.source.local import LocalSource

    source = session.source
    if not isinstance(source, LocalSource) or source.repository.work_folder is None:
        raise UsageError("model.lock is written in a working copy", hint="clone the repo first")
    return source.repository.work_folder / source.path


def _write(path: Path, entries: Mapping[LockKey, Locked]) -> None:
    """Writes the file; removes it if there is nothing to say."""
    from reconciler.manifests.model_lock import to_text
    from reconciler.source.replacing import replace_file

    if entries:
        replace_file(path, to_text(entries).encode())
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be removed: {error.strerror}") from error


def _check(wanted: _Wanted, console: Console, session: Session) -> int:
    """Asks every address whether it still holds what is locked."""
    missing = [key for key in wanted.keys if key not in wanted.before]
    locked = [key for key in wanted.keys if key in wanted.before]
    answers = wiring.asked([(key, wanted.before[key]) for key in locked], wiring.model_settings(session.settings))
    moved = {key: state.moved for key, state in answers.items() if state.moved}
    silent = {key: state.silent for key, state in answers.items() if state.silent}
    stale = bool(missing or moved or wanted.unused)
    if console.output == "json":
        rows = [(key, "missing", "") for key in missing] + [(key, "unused", "") for key in wanted.unused]
        rows += [(key, "moved", said) for key, said in moved.items()]
        rows += [(key, "silent", said) for key, said in silent.items()]
        found = [
            {"name": key.name, "version": key.version, "uri": key.uri, "state": state, "reason": said}
            for key, state, said in rows
        ]
        console.json({"kind": "ModelLockCheck", "formatVersion": 1, "holds": not stale and not silent, "found": found})
    else:
        for key in missing:
            console.line(f"{_named(key)}  is not locked: {printable(key.uri)}")
        for key in wanted.unused:
            console.line(f"{_named(key)}  is locked, and no model has this number and address: {printable(key.uri)}")
        for key, said in moved.items():
            console.line(f"{_named(key)}  moved: {printable(said)}")
        for key, said in silent.items():
            console.line(f"{_named(key)}  cannot be told: {printable(said)}")
        if stale:
            console.line("`reconciler models lock` locks what is new; with a model's name it takes what moved.")
        else:
            console.line(f"{plural(len(locked) - len(silent), 'entry holds', 'entries hold')}.")
    return exits.STALE if stale else exits.TARGET if silent else exits.DONE


def _named(key: LockKey) -> str:
    return printable(key.name if key.version is None else f"{key.name}:{key.version}")
