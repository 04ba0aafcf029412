"""The driver of `registry/environments`: environments as resources that plans show and services depend on.

Builds run in threads of the driver; `apply` starts one and returns, `observe` tells what became of it. The failure of a
build is raised by the next `apply`, once; the one after that builds again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Lock, Semaphore, Thread
from typing import Any

from reconciler.artifacts.environments.build import Builder, building
from reconciler.artifacts.environments.declared import declared
from reconciler.artifacts.environments.machine import Machine, find_machine
from reconciler.artifacts.environments.places import Place, disk_error, place_of, remove_tree
from reconciler.artifacts.environments.reasons import point_out
from reconciler.artifacts.environments.records import (
    Record,
    read_record,
    take_failure,
    write_failure,
    write_mark,
)
from reconciler.artifacts.environments.references import processes_using
from reconciler.artifacts.environments.render import KIND, EnvironmentRenderer
from reconciler.artifacts.environments.requirements import Requirement
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.artifacts.environments.uv import Stopped, Uv
from reconciler.core.change import Action, Change
from reconciler.core.dataclass import dataclass, field
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import (
    BusyError,
    ConflictError,
    ForeignError,
    TargetError,
    TerminalError,
)
from reconciler.core.resources import Completeness, Mark, Observation, Observed, ResourceId
from reconciler.core.values import to_json

_LOOK_AGAIN = 0.25
_TRASH = ".trash-"


@dataclass(slots=True)
class _Job:
    request: Mapping[str, Any]
    stop: Event = field(default_factory=Event)
    thread: Thread | None = None
    discard: bool = False


class EnvironmentsDriver(EnvironmentRenderer):
    """Virtual environments below one state directory.

    Args:
        machine: Finds the machine's Pythons and Java; called when first needed, and again for each build.
        environ: The daemon's environment variables, of which uv gets the few it needs.
        in_use: Who uses a virtual environment now; it is not deleted or rebuilt underneath them.
        installation: Lists only what this installation built, and what stands where it wants to build; "" lists all.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: EnvironmentSettings,
        machine: Callable[[], Machine],
        environ: Mapping[str, str],
        in_use: Callable[[Path], Sequence[str]] = processes_using,
        installation: str = "",
    ) -> None:
        super().__init__(settings, machine)
        self._state_dir = state_dir.absolute()
        self._root = self._state_dir / "environments"
        self._environ = dict(environ)
        self._in_use = in_use
        self._installation = installation
        self._slots = Semaphore(settings.parallel)
        self._guard = Lock()
        self._jobs: dict[str, _Job] = {}
        self._unwritten: dict[str, TargetError] = {}
        self._events: Queue[str] = Queue(maxsize=1000)

    @classmethod
    def on_this_machine(
        cls, state_dir: Path, settings: EnvironmentSettings, environ: Mapping[str, str], installation: str = ""
    ) -> EnvironmentsDriver:
        """The driver with this machine's Pythons and Java, and the running processes as users."""
        return cls(state_dir, settings, lambda: find_machine(environ, settings), environ, installation=installation)

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """Every environment on disk, and whatever else stands where known ones would.

        Raises:
            UnavailableError: The state directory cannot be read.
        """
        try:
            names = {entry.name for entry in self._root.iterdir() if entry.name.startswith("py-")}
        except FileNotFoundError:
            names = set[str]()
        except OSError as exc:
            raise disk_error(exc) from exc
        asked = {resource.name for resource in known if resource.kind == KIND}
        names |= asked
        resources: dict[ResourceId, Observed] = {}
        missing: list[str] = []
        for name in sorted(names):
            try:
                record = self._record(name)
            except OSError as exc:
                missing.append(f"{name}: {exc.strerror}")
                continue
            if record is not None:
                seen = record.observed(name)
                if self._installation and name not in asked and not seen.owned_by(self._installation):
                    continue
                resources[seen.id] = seen
        state = Completeness.PARTIAL if missing else Completeness.COMPLETE
        return Observation(self.target, state, resources, "; ".join(missing))

    def apply(self, change: Change) -> Done | InProgress:
        """Builds, repairs, marks or deletes one environment; a build goes on after the return.

        Raises:
            TargetError: As in the contract; also the reason of a build that failed since the last call.
        """
        try:
            with self._guard:
                if change.action is Action.DELETE:
                    return self._delete(change)
                if change.writes:
                    return self._make(change)
                record = self._record(change.id.name)
                return Done(record.observed(change.id.name) if record else None)
        except OSError as exc:
            raise disk_error(exc) from exc

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: Event) -> Iterator[str]:
        """The build log."""
        path = self._place(resource.name).log
        try:
            stream = path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        with stream:
            yield from [line.rstrip("\n") for line in stream][-lines:]
            rest = ""
            while follow and not stop.wait(0.2):
                rest += stream.read()
                *whole, rest = rest.split("\n")
                yield from whole

    def watch(self, stop: Event) -> Iterator[str]:
        """Says when a build ended."""
        while not stop.is_set():
            try:
                yield self._events.get(timeout=0.5)
            except Empty:
                continue

    def close(self) -> None:
        """Ends running builds; they are begun again by the next apply."""
        with self._guard:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        for job in jobs:
            if job.thread:
                job.thread.join(timeout=30)

    def _make(self, change: Change) -> Done | InProgress:
        if change.desired is None or change.mark is None:
            raise TerminalError(f"{change.id} cannot be made without knowing what it is to be")
        name, spec = change.id.name, to_json(change.desired.spec)
        place = self._place(name)
        record = self._record(name)
        if record is not None and record.busy:
            return InProgress(_LOOK_AGAIN)
        if record is not None:
            self._check_owner(change, record, change.mark)
        if error := self._unwritten.pop(name, None) or (None if record and record.complete else take_failure(place)):
            raise error
        if record is not None:
            right = record.built and record.spec == spec
            if right and record.mark == change.mark:
                return Done(record.observed(name))
            _check_version(change, record)
            if right:
                write_mark(place, change.mark)
                marked = self._record(name)
                return Done(marked.observed(name) if marked else None)
            if record.built and (users := self._in_use(place.venv)):
                raise BusyError(f"{name} must be rebuilt, and is used by {', '.join(users)}", retry_after=30.0)
        job = _Job({"mark": change.mark.to_json(), "spec": spec})
        job.thread = Thread(target=self._run, args=(name, job), name=f"build {name}", daemon=True)
        self._jobs[name] = job
        job.thread.start()
        return InProgress(_LOOK_AGAIN)

    def _delete(self, change: Change) -> Done | InProgress:
        name = change.id.name
        place = self._place(name)
        if job := self._jobs.get(name):
            job.discard = True
            job.stop.set()
            return InProgress(_LOOK_AGAIN)
        record = self._record(name)
        if record is None:
            return Done()
        self._check_owner(change, record, change.mark)
        _check_version(change, record)
        if users := self._in_use(place.venv):
            raise BusyError(f"{name} is used by {', '.join(users)}", retry_after=30.0)
        self._remove(place)
        return Done()

    def _remove(self, place: Place) -> None:
        with building(place):
            place.marker.unlink(missing_ok=True)
            place.folder.rename(self._root / f"{_TRASH}{uuid.uuid4().hex}")
        for trash in self._root.glob(f"{_TRASH}*"):
            remove_tree(trash)

    def _run(self, name: str, job: _Job) -> None:
        place = self._place(name)
        notes, requirements = self._said(name)
        outcome = "built"
        try:
            with self._slots:
                if job.stop.is_set():
                    raise Stopped
                uv = Uv(self._settings, self._environ, self._root / ".uv")
                machine = self._machine = self._find_machine()
                builder = Builder(self._state_dir, self._settings, machine, uv)
                builder.build(place, job.request, job.stop, notes)
        except Stopped:
            outcome = "build stopped"
        except BusyError:
            outcome = "being built by another process"
        except TargetError as exc:
            outcome = "build failed"
            pointed = point_out(exc, requirements) if isinstance(exc, TerminalError) else exc
            self._keep_failure(name, pointed)
        except Exception as exc:  # noqa: BLE001 - a thread has nobody above it; apply raises what is kept here
            outcome = "build failed"
            self._keep_failure(name, TerminalError(f"the build failed: {type(exc).__name__}"))
        finally:
            with self._guard:
                self._jobs.pop(name, None)
                if job.discard and place.folder.exists():
                    with suppress(OSError, BusyError):
                        self._remove(place)
            if not self._events.full():
                self._events.put(f"{name}: {outcome}")

    def _said(self, name: str) -> tuple[tuple[str, ...], tuple[Requirement, ...]]:
        """What was said when it was rendered: for its log and its errors, never for what is built."""
        for environment, desired in list(self._desired.items()):
            if desired.id.name == name:
                asked = declared(environment)
                return tuple(map(str, (*asked.notes, *desired.warnings))), asked.requirements
        return (), ()

    def _keep_failure(self, name: str, error: TargetError) -> None:
        try:
            write_failure(self._place(name), error)
        except OSError:
            self._unwritten[name] = error

    def _record(self, name: str) -> Record | None:
        job = self._jobs.get(name)
        error = self._unwritten.get(name)
        return read_record(self._place(name), running=job.request if job else None, error=error)

    def _place(self, name: str) -> Place:
        return place_of(self._state_dir, name)

    @staticmethod
    def _check_owner(change: Change, record: Record, mark: Mark | None) -> None:
        owner = record.mark
        ours = (
            owner is not None
            and owner.self_ref == str(change.id)
            and (mark is None or owner.installation == mark.installation)
        )
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(
                f"{change.id} exists and is not ours",
                hint="set policy.adopt to take it over, or remove its folder below the state directory",
            )


def _check_version(change: Change, record: Record) -> None:
    if change.observed is not None and change.observed.version and change.observed.version != record.version:
        raise ConflictError(f"{change.id} changed since it was observed")
