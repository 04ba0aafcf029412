"""Builds one virtual environment at its final path, so that nothing half-built ever counts as an environment.

Order of writes: `request.json`, the virtual environment, then `environment.json`. Whoever builds holds a lock that uv
inherits, so even uv left behind by a killed daemon ends before anybody builds there again.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.lock import Lock, LockStore, Platform, Wanted, resolve, wheels_only
from reconciler.artifacts.environments.machine import SPARK, Machine
from reconciler.artifacts.environments.places import Place, disk_error, remove_tree, write_json
from reconciler.artifacts.environments.python import choose
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.artifacts.environments.uv import Limits, Stopped, Uv
from reconciler.core.errors import BusyError, TerminalError

FORMAT = 1
RUNTIME_IMPORTS = "import anyio, starlette, uvicorn"
_PROBE = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


@contextmanager
def building(place: Place, patience: float = 0.0) -> Generator[int]:
    """Holds an environment's build lock; yields the descriptor for children to inherit.

    Args:
        patience: Seconds to try for; whoever looks whether there is a build holds the lock for an instant.

    Raises:
        BusyError: Somebody else holds it.
    """
    place.lock_file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(place.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        while not _locked(handle, fcntl.LOCK_EX):
            if time.monotonic() >= until:
                raise BusyError(f"{place.folder.name} is being built by another process", retry_after=2.0)
            time.sleep(0.02)
        yield handle
    finally:
        os.close(handle)


def is_building(place: Place) -> bool:
    """Whether somebody, maybe another process, holds the build lock."""
    try:
        handle = os.open(place.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _locked(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _locked(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Builder:
    """Builds environments below one state directory."""

    def __init__(self, state_dir: Path, settings: EnvironmentSettings, machine: Machine, uv: Uv) -> None:
        self._settings = settings
        self._machine = machine
        self._uv = uv
        self._locks = LockStore(state_dir)

    def build(self, place: Place, request: Mapping[str, Any], stop: Event, notes: Sequence[str] = ()) -> None:
        """Builds what a request (its `mark` and `spec`) says, from scratch; returns when it is complete.

        Args:
            notes: Lines for the head of the build log.

        Raises:
            BusyError: Another process builds it.
            Stopped: `stop` was set; nothing looks complete.
            TargetError: It failed; the message says why.
        """
        deadline = time.monotonic() + self._settings.build_seconds
        try:
            with building(place, patience=1.0) as held:
                place.folder.mkdir(parents=True, exist_ok=True)
                place.marker.unlink(missing_ok=True)
                place.failure.unlink(missing_ok=True)
                write_json(place.request, request)
                remove_tree(place.venv)
                with place.log.open("w", encoding="utf-8", buffering=1) as log:
                    log.writelines(f"{note}\n" for note in notes)
                    try:
                        self._build(place, request, Limits(deadline, stop, held), lambda line: _write(log, line))
                    except BaseException:
                        remove_tree(place.venv)
                        raise
        except OSError as exc:
            raise disk_error(exc) from exc

    def _build(self, place: Place, request: Mapping[str, Any], limits: Limits, log: Callable[[str], None]) -> None:
        spec: Mapping[str, Any] = request["spec"]
        wanted = Wanted(str(spec["identity"]), tuple(spec["requirements"]), bool(spec.get("rawRequests")))
        started = time.monotonic()
        if spec["runtime"] == SPARK:
            check_java(self._machine.java)
        interpreter = self._interpreter(str(spec["python"]), self._locks.recorded_python(wanted))
        lock = self._lock(place, wanted, interpreter, limits, log)
        log(f"installing {lock.packages} packages into a virtual environment of {interpreter.path}")
        arguments = ["venv", "--no-project", "--clear", "--quiet", "--prompt", place.folder.name]
        self._uv.run([*arguments, "--python", str(interpreter.path), str(place.venv)], limits, log)
        arguments = ["pip", "sync", str(self._locks.file(lock.digest)), "--python", str(place.python)]
        arguments += ["--require-hashes", "--compile-bytecode", "--link-mode", self._settings.link_mode]
        self._uv.run([*arguments, *wheels_only(), *self._uv.index_arguments], limits, log)
        _run_python(place.python, RUNTIME_IMPORTS, "the scoring runtime's packages cannot be imported")
        if limits.stop.is_set():
            raise Stopped
        write_json(
            place.marker,
            {
                "format": FORMAT,
                "mark": request["mark"],
                "spec": dict(spec),
                "python": ".".join(map(str, interpreter.version)),
                "lock": lock.digest,
                "packages": lock.packages,
                "entries": entries(place),
            },
        )
        log(f"built in {time.monotonic() - started:.1f} s")

    def _interpreter(self, declared: str, recorded: tuple[int, int] | None) -> Interpreter:
        choice = choose(
            declared,
            self._machine.interpreters,
            allow_override=self._settings.allow_python_override,
            recorded=recorded,
        )
        reasons: list[str] = []
        for candidate in choice.interpreters:
            try:
                version = _run_python(candidate.path, _PROBE, f"{candidate.path} does not run")
            except TerminalError as exc:
                reasons.append(exc.message)
                continue
            found = tuple(int(part) for part in version.split("."))
            if found[:2] == candidate.minor:
                return Interpreter(found, candidate.path)
            reasons.append(f"{candidate.path} is Python {version}")
        message = choice.problem.message if choice.problem and not choice.interpreters else "no Python could be used"
        raise TerminalError("\n".join([message, *reasons]), hint="install a Python, or name one in the settings")

    def _lock(
        self, place: Place, wanted: Wanted, interpreter: Interpreter, limits: Limits, log: Callable[[str], None]
    ) -> Lock:
        if lock := self._locks.recorded(wanted, interpreter.short):
            log(f"using the lock of the first build, {lock.digest}")
            return lock
        log(f"resolving for Python {interpreter.short}")
        until = min(limits.deadline, time.monotonic() + self._settings.resolve_seconds)
        resolving = Limits(until, limits.stop, limits.held)
        lock = resolve(self._uv, wanted, Platform.here(interpreter), place.folder / "resolving", resolving, log)
        self._locks.record(wanted, lock)
        return lock


def check_java(java: Path | None) -> None:
    """Raises TerminalError unless there is a Java runtime and it runs."""
    hint = "install one (Java 17 or later) so that 'java -version' works"
    if java is None:
        raise TerminalError("the runtime spark-py needs a Java runtime, and this machine has none", hint=hint)
    try:
        subprocess.run([str(java), "-version"], capture_output=True, timeout=60, check=True, env={})
    except (OSError, subprocess.SubprocessError) as exc:
        raise TerminalError(f"the runtime spark-py needs a Java runtime, and {java} does not run", hint=hint) from exc


def entries(place: Place) -> list[str]:
    """The names in the environment's package folders, for noticing what goes missing later."""
    found: list[str] = []
    for folder in sorted(place.venv.glob("lib*/python*/site-packages")):
        if not folder.parent.parent.is_symlink():
            base = folder.relative_to(place.venv)
            found += [str(base / entry.name) for entry in folder.iterdir() if entry.name != "__pycache__"]
    return sorted(found)


def missing_entries(place: Place, expected: Sequence[str]) -> list[str]:
    """Which of the recorded names are gone, at the cost of one listing a folder."""
    by_folder: dict[Path, set[str]] = {}
    for entry in expected:
        path = Path(entry)
        by_folder.setdefault(path.parent, set()).add(path.name)
    gone: list[str] = []
    for folder, names in by_folder.items():
        try:
            present = {entry.name for entry in (place.venv / folder).iterdir()}
        except OSError:
            present = set[str]()
        gone += sorted(names - present)
    return gone


def _run_python(python: Path, code: str, message: str) -> str:
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, text=True, timeout=120, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError) as exc:
        output = getattr(exc, "stderr", None)
        lines = str(output or exc).strip().splitlines()[-3:]
        raise TerminalError("\n".join([f"{message}:", *lines])) from exc
    return done.stdout.strip()


def _write(log: Any, line: str) -> None:
    log.write(line + "\n")
