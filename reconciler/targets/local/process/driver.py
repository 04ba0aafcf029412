"""The driver of the process engine: what the engine of this program asks, turned into folders and commands.

Slow work (materialising files, waiting for a supervisor to start) runs on a thread of its own, so that `apply`
returns within about a second; how far it is, `observe` tells. A thread lost with its process is no loss: nothing it
does counts before the supervisor says `staged`, and what it leaves half-done is removed by the next supervisor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from reconciler.core.change import Action, Change, Step
from reconciler.core.dataclass import replace
from reconciler.core.described import Described
from reconciler.core.driver import Address, Done, InProgress
from reconciler.core.errors import (
    BusyError,
    ConflictError,
    ForeignError,
    TerminalError,
    UnavailableError,
)
from reconciler.core.resources import Completeness, Desired, Health, Mark, Observation, Observed, ResourceId, Staged
from reconciler.core.values import to_json
from reconciler.targets.local.jobs import Job
from reconciler.targets.local.keys import key_digests
from reconciler.targets.local.process import refusals, staging
from reconciler.targets.local.process.commands import Supervisor, control_socket, create_folder
from reconciler.targets.local.process.describe import described, names
from reconciler.targets.local.process.layout import remove_leftovers, remove_tree, sockets_folder, take_away
from reconciler.targets.local.process.look import View, look, observed, url
from reconciler.targets.local.process.render import KIND, ProcessRenderer, version_of
from reconciler.targets.local.process.spawn import sweep
from reconciler.targets.local.process.staging import Parts
from reconciler.targets.local.process.tailing import tail
from reconciler.targets.local.process.watching import Watch

_PATIENCE = 0.8  # seconds an apply call waits for what is usually done at once
_SOON = 0.05
_DRAIN_DEFAULT = 30.0


class ProcessDriver(ProcessRenderer):
    """Serves each deployment as a supervised group of processes on this machine.

    Args:
        target: Name of the target.
        installation: Id of this installation; what it did not make is not its own.
        state_dir: Where this target's services live; made if missing.
        parts: Where source, models, interpreters and secrets come from.
    """

    def __init__(
        self,
        target: str,
        installation: str,
        state_dir: Path,
        parts: Parts,
    ) -> None:
        super().__init__(target)
        self._installation = installation
        self._root = state_dir.absolute()
        self._parts = parts
        self._jobs: dict[str, Job] = {}
        self._seen: dict[str, tuple[View, Staged | None, Observed]] = {}
        self._watches: list[Watch] = []
        self._lock = threading.Lock()

    # -- observe ----------------------------------------------------------------------------------------------------

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All services of ours, and whatever stands where `known` ones would.

        Raises:
            UnavailableError: The state directory cannot be read.
        """
        wanted = {resource.name for resource in known if resource.target == self._target and resource.kind == KIND}
        try:
            names = sorted(path.name for path in self._root.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise UnavailableError(f"{self._root} cannot be read: {error.strerror}") from error
        found: dict[ResourceId, Observed] = {}
        missing: list[str] = []
        for name in names:
            resource = ResourceId(self._target, KIND, name)
            try:
                seen = self._observe(resource)
            except (OSError, ValueError, KeyError) as error:
                missing.append(f"{name}: {getattr(error, 'strerror', None) or error}")
                continue
            if seen is not None and (name in wanted or seen.owned_by(self._installation)):
                found[resource] = seen
        for watch in list(self._watches):
            watch.know(names)
        completeness = Completeness.PARTIAL if missing else Completeness.COMPLETE
        return Observation(self._target, completeness, found, "; ".join(missing))

    def _observe(self, resource: ResourceId) -> Observed | None:
        view = look(self._root / resource.name)
        if view is None:
            self._seen.pop(resource.name, None)
            return None
        job = self._jobs.get(resource.name)
        staged = job.staged() if job else None
        before = self._seen.get(resource.name)
        # The same object for the same facts: planning skips what it has compared before.
        if before is not None and before[0] == view and before[1] == staged:
            return before[2]
        seen = observed(view, resource, staged)
        if staged is not None and staged.health is Health.PROGRESSING and job is not None and job.promotes:
            seen = replace(seen, busy=True)
        self._seen[resource.name] = (view, staged, seen)
        return seen

    # -- apply ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        try:
            view = look(self._root / change.id.name)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"{change.id} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        view = self._permitted(change, view)
        with refusals.mapped(str(change.id)):
            if change.action is Action.DELETE:
                return self._delete(change, view)
            match change.step:
                case Step.STAGE:
                    return self._stage(change, view, None)
                case Step.PROMOTE:
                    return self._promote(change, view)
                case Step.DISCARD:
                    return self._discard(change, view)
                case _:
                    return self._in_one_go(change, view)

    def _permitted(self, change: Change, view: View | None) -> View | None:
        """Whether what stands there is ours (or becomes so) and is what was planned for."""
        if view is None:
            return None
        ours = Observed(change.id, {}, view.mark).owned_by(self._installation)
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(
                f"{view.folder} exists and is not ours",
                hint="move it away, or take it over with `policy: {adopt: true}`",
            )
        expected = change.observed.version if change.observed else ""
        if expected and expected != view.version and not _done(change, view):
            raise ConflictError(f"{change.id} changed since it was observed: {expected} is now {view.version}")
        if not ours:
            create_folder(self._root, change.id, self._installation, change.service, adopt=view)
            return look(view.folder)
        return view

    def _stage(self, change: Change, view: View | None, promote: Mark | None) -> Done | InProgress:
        desired, digest = _wanted(change)
        name = change.id.name
        with self._lock:
            job = self._jobs.get(name)
            if job is None or not job.is_alive():
                staged = view.staged if view else None
                going = staged is not None and staged["specDigest"] == digest and staged["health"] != "Degraded"
                if not going or promote:
                    if view is None or view.identity is None:
                        create_folder(self._root, change.id, self._installation, change.service)
                    job = Job(digest, promote is not None, lambda: self._prepare(change, desired, digest, promote))
                    self._jobs[name] = job
                    job.start()
                else:
                    job = None
            elif job.spec_digest != digest:
                raise BusyError(f"{change.id}: another version is still being prepared", retry_after=0.2)
        if job is not None:
            job.join(_PATIENCE)
            if job.error is not None:
                raise job.error
            if job.is_alive():
                return InProgress(_SOON)
        for watch in list(self._watches):
            watch.know([name])
        seen = self._observe(change.id)
        settled = seen is not None and seen.staged is not None and seen.staged.health is not Health.PROGRESSING
        return Done(seen) if settled and promote is None else InProgress(_SOON)

    def _prepare(self, change: Change, desired: Desired, digest: str, promote: Mark | None) -> None:
        resource = change.id
        folder = self._root / resource.name
        with refusals.mapped(str(resource)):
            view = look(folder)
            if view is None or view.identity is None:
                raise ConflictError(f"{resource} went away while it was being staged")
            supervisor = Supervisor.ensure(folder, view.uid)
            launch = staging.prepare(self._parts, folder, view.uid, desired.service, desired.spec, digest)
            job = self._jobs.get(resource.name)
            if job is not None and job.cancelled:
                return
            if change.moved_from is not None:
                launch["takesOver"] = self._former(change.moved_from)
            try:
                supervisor.do("stage", version=launch, promote=promote.to_json() if promote else None)
            except refusals.Refusal:
                remove_tree(str(launch["folder"]))
                raise

    def _former(self, old: ResourceId) -> dict[str, str] | None:
        """Where the supervisor of the service answers that this one was before; None if it is not there any more."""
        try:
            view = look(self._root / old.name)
        except (OSError, ValueError):
            return None
        if view is None or view.pid is None or not Observed(old, {}, view.mark).owned_by(self._installation):
            return None
        return {"service": old.name, "uid": view.uid, "control": control_socket(view.folder, view.uid)}

    def _promote(self, change: Change, view: View | None) -> Done | InProgress:
        _, digest = _wanted(change)
        mark = _mark(change)
        if view is None or view.pid is None:
            raise ConflictError(f"{change.id}: nothing is staged any more, its supervisor is gone")

        def waits(now: View) -> bool:
            return now.staged is not None and now.staged["specDigest"] == digest

        if waits(view) or not _done(change, view):
            Supervisor(view.folder, view.uid).do("promote", specDigest=digest, mark=mark.to_json())
        return self._when(
            change, lambda now: _done(change, now) and not waits(now) and not now.state["busy"], _PATIENCE
        )

    def _discard(self, change: Change, view: View | None) -> Done | InProgress:
        with self._lock:
            job = self._jobs.pop(change.id.name, None)
            if job is not None and job.is_alive():
                job.cancelled = True
        if view is None:
            return Done(None)
        if view.pid is not None:
            Supervisor(view.folder, view.uid).do("discard")
        elif not view.record:
            self._take_away(view)
        return self._when(change, lambda now: now.staged is None and bool(now.record), _PATIENCE)

    def _in_one_go(self, change: Change, view: View | None) -> Done | InProgress:
        """Stage and promote without a test between, or, where nothing needs a new process, the record alone."""
        desired, digest = _wanted(change)
        mark = _mark(change)
        serving = view.serving if view else None
        if view is None or serving is None or serving["id"] != version_of(desired.spec):
            return self._stage(change, view, mark)
        spec: dict[str, Any] = to_json(desired.spec)
        keys = None
        if view.keys_changed or spec["auth"] != view.record["spec"].get("auth"):
            keys = key_digests(self._parts.reveal, desired.spec)
        Supervisor(view.folder, view.uid).do(
            "amend", mark=mark.to_json(), spec=spec, keys=keys, specDigest=digest, id=version_of(desired.spec)
        )
        return Done(self._observe(change.id))

    def _delete(self, change: Change, view: View | None) -> Done | InProgress:
        with self._lock:
            job = self._jobs.pop(change.id.name, None)
            if job is not None and job.is_alive():
                job.cancelled = True
        if view is None:
            if self._root.exists():
                remove_leftovers(str(self._root), change.id.name)
            return Done(None)
        if view.pid is None:
            self._take_away(view)
            return Done(None)
        drain = float(view.record.get("spec", {}).get("drainSeconds", _DRAIN_DEFAULT))
        Supervisor(view.folder, view.uid).do("stop", drainSeconds=drain, remove=True, why="deleted")
        return self._when(change, lambda now: False, _PATIENCE / 2)

    def _take_away(self, view: View) -> None:
        """Removes what a dead supervisor left, processes first."""
        sweep(view.uid)
        sockets = sockets_folder(str(view.folder), view.uid)
        take_away(str(view.folder))
        if sockets != str(view.folder):
            remove_tree(sockets)
        remove_leftovers(str(self._root), view.folder.name)

    def _when(self, change: Change, settled: Callable[[View], bool], patience: float) -> Done | InProgress:
        """Done as soon as the condition holds or the folder is gone, InProgress if that takes longer."""
        deadline = monotonic() + patience
        while True:
            try:
                now = look(self._root / change.id.name)
            except ValueError:
                now = None
            if now is None:
                return Done(None)
            if settled(now):
                return Done(self._observe(change.id))
            if now.pid is None and change.action is Action.DELETE:
                self._take_away(now)
                return Done(None)
            if now.pid is None or monotonic() > deadline:
                return InProgress(_SOON)
            sleep(0.01)

    # -- abilities --------------------------------------------------------------------------------------------------

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where the promoted version answers, or through which socket the staged one does."""
        try:
            view = look(self._root / resource.name)
        except (OSError, ValueError):
            return None
        if view is None:
            return None
        if staged:
            group = view.staged
            if group is None or group["health"] != "Healthy" or not group["workers"]:
                return None
            return Address("http://localhost", uds=str(group["workers"][0]["uds"]))
        if view.serving is None:
            return None
        where = url(view)
        return Address(where, verify=not where.startswith("https://127.0.0.1:"))

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """The last lines of all workers of a service and of its supervisor."""
        return tail(self._root / resource.name, lines, follow, stop)

    def watch(self, stop: threading.Event) -> Iterator[str]:
        """Yields within a tenth of a second when a worker or a supervisor ends."""
        watch = Watch(self._root)
        self._watches.append(watch)
        try:
            yield from watch.events(stop)
        finally:
            self._watches.remove(watch)
            watch.close()

    def describable(self) -> Sequence[str]:
        """The services below the state directory, whoever made them.

        Raises:
            UnavailableError: It cannot be read.
        """
        return names(self._root)

    def describe(self, name: str, service: str) -> Described | None:
        """A service as its supervisor recorded it; None if there is none, or under another name.

        Raises:
            UnavailableError: Its folder cannot be read.
        """
        if name != service:
            return None
        resource = ResourceId(self._target, KIND, name)
        try:
            view = look(self._root / name)
            if view is None or view.identity is None:
                return None
            return described(view, observed(view, resource, None), self._installation)
        except (OSError, ValueError, KeyError) as error:
            raise UnavailableError(f"{resource} cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def bind(self, name: str, service: str) -> None:
        """Nothing is to be done: folders are named like services."""

    def close(self) -> None:
        """Waits shortly for what is being prepared; services go on."""
        for job in list(self._jobs.values()):
            job.join(5.0)


def _wanted(change: Change) -> tuple[Desired, str]:
    if change.desired is None:
        raise TerminalError(f"{change.id}: this change has nothing desired")
    return change.desired, change.mark.spec_digest if change.mark else change.desired.spec_digest


def _mark(change: Change) -> Mark:
    if change.mark is None:
        raise TerminalError(f"{change.id}: this change has no mark")
    return replace(change.mark, self_ref=str(change.id))


def _done(change: Change, view: View) -> bool:
    """Whether the promoted version is the wanted one, with the wanted mark."""
    if change.desired is None or change.mark is None or view.serving is None:
        return False
    return bool(
        view.record.get("specDigest") == change.mark.spec_digest and view.record.get("mark") == _mark(change).to_json()
    )
