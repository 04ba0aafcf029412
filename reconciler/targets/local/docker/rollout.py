"""One change of a service made on the engine: staged, promoted, discarded, changed in place, deleted."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from reconciler.containers.engine import Engine
from reconciler.core.change import Action, Change, Step
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import BusyError, ConflictError, ForeignError, TerminalError
from reconciler.core.resources import Desired, Health, Mark, Observed, ResourceId, Staged
from reconciler.core.values import Spec, from_json, to_json
from reconciler.targets.local.docker.config import STAGING_NETWORK, answers_at, resources, restart_policy, section
from reconciler.targets.local.docker.group import Group, Groups
from reconciler.targets.local.docker.look import NAMED, Container, state_of
from reconciler.targets.local.docker.record import Record, Records
from reconciler.targets.local.docker.report import Reporter
from reconciler.targets.local.docker.streams import Tail
from reconciler.targets.local.docker.swap import Lender, Parts, Swap, networks_of, version_of
from reconciler.targets.local.docker.waiting import staged_of
from reconciler.targets.local.jobs import Job

_PATIENCE = 0.8  # seconds a call waits for what is usually done at once
_SOON = 0.1


class Rollouts:
    """Makes changes; what takes long goes on in a job of its own while the call returns.

    Args:
        target: Name of the target.
        groups: Finds a service's containers. reporter: Says how they are. tail: Reads the end of a log.
    """

    def __init__(
        self,
        engine: Engine,
        target: str,
        groups: Groups,
        records: Records,
        parts: Parts,
        reporter: Reporter,
        tail: Tail,
    ) -> None:
        self._engine = engine
        self._target = target
        self._groups = groups
        self._records = records
        self._parts = parts
        self._reporter = reporter
        self._tail = tail
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def services(self) -> set[str]:
        """Services that something is being done for."""
        return set(self._jobs)

    def observed(self, resource: ResourceId, group: Group) -> Observed | None:
        """A service as it is, with what is being prepared for it."""
        job = self._jobs.get(resource.name)
        staged = (job.staged() if job else None) or self._staged(group)
        seen = self._reporter.observed(resource, group, staged)
        going = job is not None and job.promotes and job.is_alive()
        return replace(seen, busy=True) if seen is not None and going else seen

    def make(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        group = self._groups.of(change.id.name)
        self._permitted(change, group)
        if change.action is Action.DELETE:
            return self._delete(change, group)
        match change.step:
            case Step.STAGE:
                return self._stage(change, group, promotes=False)
            case Step.PROMOTE:
                return self._promote(change, group)
            case Step.DISCARD:
                with self._lock:
                    self._jobs.pop(change.id.name, None)
                if group.promoted:
                    # Whoever promoted it was cut off before it had the name: it is in service, the one before is not.
                    assert group.serving is not None
                    self._swap(change).finish(group.serving, group.retired)
                else:
                    self._swap(change).discard()
                return Done(self._again(change.id))
            case _:
                return self._in_one_go(change, group)

    def end(self, seconds: float) -> None:
        """Waits shortly for each job; containers go on."""
        for job in list(self._jobs.values()):
            job.join(seconds)

    # -- whether it may be made

    def _permitted(self, change: Change, group: Group) -> None:
        container = group.serving
        if container is None:
            return
        record = self._records.read(change.id.name, container.id)
        mark = record.mark if record else container.mark
        ours = self._reporter.owns(change.id, mark)
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(
                f"container {container.name} exists and is not ours",
                hint="remove or rename it, or take it over with `policy: {adopt: true}`",
            )
        expected = change.observed.version if change.observed else ""
        if expected and ours and not self._is(change, group):
            now = self._reporter.report(change.id, container, record, None).version
            if now != expected:
                raise ConflictError(f"{change.id} changed since it was observed")

    def _is(self, change: Change, group: Group) -> bool:
        """Whether the serving container is the wanted one, with the wanted mark."""
        container = group.serving
        if container is None or change.desired is None or change.mark is None or container.retired:
            return False
        record = self._records.read(change.id.name, container.id)
        mark = record.mark if record else container.mark
        return mark is not None and mark == replace(change.mark, self_ref=str(change.id))

    # -- the steps

    def _stage(self, change: Change, group: Group, *, promotes: bool) -> Done | InProgress:
        desired, mark = _wanted(change)
        name = change.id.name
        self._records.make()
        with self._lock:
            job = self._jobs.get(name)
            if job is not None and job.is_alive() and job.spec_digest != mark.spec_digest:
                raise BusyError(f"{change.id}: another version is still being prepared", retry_after=0.2)
            if job is not None and job.promotes and not job.is_alive() and job.error is not None:
                # Of the call before, which did not wait for it.
                del self._jobs[name]
                raise job.error
            if job is None or not job.is_alive():
                there = self._staged(group) if group.staged else None
                # One that was made and never started was left by a process or an engine that ended in between.
                begun = group.staged is not None and group.staged.state.get("Status") != "created"
                going = begun and there is not None and there.spec_digest == mark.spec_digest
                job = None
                if not going or (there and there.health is Health.DEGRADED) or promotes:

                    def work() -> None:
                        swap = self._swap(change)
                        last = self._records.last(name)
                        port = last.port if last else 0
                        former = self._former(change, group)
                        hidden = bool(desired.tests) and not promotes
                        swap.stage(desired.spec, mark, group.serving or former, port, tested=hidden)
                        if promotes:
                            now = self._groups.of(name)
                            if now.staged is not None:
                                lender = self._lender(change, former)
                                swap.promote(desired.spec, now.staged, now.serving, lender)
                                self._record(name, now.staged, mark, desired.spec)

                    job = self._jobs[name] = Job(mark.spec_digest, promotes, work)
                    job.start()
        if job is not None:
            job.join(_PATIENCE)
            if job.is_alive():
                return InProgress(_SOON)
            self._jobs.pop(name, None)
            if job.error is not None:
                raise job.error
        seen = self._again(change.id)
        if promotes:
            return Done(seen)
        # Whether a version that does not become ready failed, observing decides.
        settled = seen is not None and seen.staged is not None and seen.staged.health is Health.HEALTHY
        return Done(seen) if settled else InProgress(_SOON)

    def _promote(self, change: Change, group: Group) -> Done | InProgress:
        desired, mark = _wanted(change)
        self._jobs.pop(change.id.name, None)
        staged = group.staged
        if staged is None and not self._is(change, group):
            raise ConflictError(f"{change.id}: nothing is staged any more")
        if staged is not None and (staged.mark is None or staged.mark.spec_digest != mark.spec_digest):
            raise ConflictError(f"{change.id}: another version is staged")
        if staged is not None:
            stands = self._staged(group)
            if stands is not None and stands.health is Health.DEGRADED:
                raise TerminalError(f"{change.id}: {stands.reason}")
        candidate = staged or group.serving
        assert candidate is not None
        before = group.serving if staged is not None else group.retired
        lender = self._lender(change, self._former(change, group))
        self._swap(change).promote(desired.spec, candidate, before, lender)
        self._record(change.id.name, candidate, mark, desired.spec)
        return Done(self._again(change.id))

    def _record(self, service: str, container: Container, mark: Mark, spec: Spec) -> None:
        port = answers_at(container.report).get("HostPort")
        self._records.write(service, Record(container.id, mark, _json(spec), int(port or 0)))

    def _former(self, change: Change, group: Group) -> Container | None:
        """What serves under the name that this service had before, as long as nothing serves under this one."""
        old = change.moved_from
        container = self._groups.of(old.name).serving if old is not None and group.serving is None else None
        if old is None or container is None:
            return None
        record = self._records.read(old.name, container.id)
        return container if self._reporter.owns(old, record.mark if record else container.mark) else None

    def _lender(self, change: Change, former: Container | None) -> Lender | None:
        if former is None or change.moved_from is None:
            return None
        return Lender(former, networks_of(_made_from(self._records.read(change.moved_from.name, former.id), former)))

    def _in_one_go(self, change: Change, group: Group) -> Done | InProgress:
        """What changes in place, or, where the engine is elsewhere, a new container straight into service."""
        desired, mark = _wanted(change)
        container = group.serving
        if container is None or not _stands(container, self._made_from(change, container), desired.spec):
            return self._stage(change, group, promotes=True)
        begun = self._mend(container, self._groups.name(change.id.name))
        self._update(container, desired.spec)
        keys = self._parts.key_digests(desired.spec)
        if keys is not None:
            self._swap(change).write_keys(container.id, keys)
            if desired.spec["workers"] == 1 and not desired.spec.get("readyMade") and not begun:
                # The runtime looks every few seconds; told so, it looks at once.
                with self._engine.calls(f"telling {container.name} of its keys"):
                    self._engine.api.kill(container.id, "SIGHUP")
        self._record(change.id.name, container, mark, desired.spec)
        return Done(self._again(change.id))

    def _made_from(self, change: Change, container: Container) -> Spec:
        """What a container was made from; one that nobody of ours made, from what it reads as."""
        record = self._records.read(change.id.name, container.id)
        if record is None and not container.ours:
            return self._reporter.report(change.id, container, None, None).spec
        return _made_from(record, container)

    def _mend(self, container: Container, name: str) -> bool:
        """Takes back what a hand did to a container that is otherwise as it should be; whether it began anew."""
        state = state_of(container, container.name)
        with self._engine.calls(f"putting {name} back into service"):
            if state_of(container, name).startswith(NAMED):
                self._engine.api.rename(container.id, name)
            if state == "paused":
                self._engine.api.unpause(container.id)
            if state == "stopped":
                self._engine.api.start(container.id)
        return state == "stopped"

    def _update(self, container: Container, spec: Spec) -> None:
        host = cast("Mapping[str, Any]", container.report.get("HostConfig") or {})
        wanted = resources(section(spec, "limits"))
        policy = restart_policy(str(spec["restart"]))
        body: dict[str, Any] = {}
        if any(int(host.get(key) or 0) != value for key, value in wanted.items()):
            # The engine takes 0 for "leave it": a limit is lifted by raising it to all that there is.
            all_ = self._reporter.machine()
            lifted = {"NanoCpus": int(all_.cpus * 1e9), "Memory": all_.memory, "MemorySwap": all_.memory}
            body = {key: value or lifted[key] for key, value in wanted.items()}
        if host.get("RestartPolicy") != policy:
            body["RestartPolicy"] = policy
        if body:
            with self._engine.calls(f"updating {container.name}"):
                api = self._engine.api
                api._result(api._post_json(api._url("/containers/{0}/update", container.id), data=body), True)

    def _delete(self, change: Change, group: Group) -> Done | InProgress:
        name = change.id.name
        containers = group.all()
        with self._lock:
            job = self._jobs.get(name)
            if job is not None and job.is_alive():
                return InProgress(_SOON)
            if not containers:
                self._jobs.pop(name, None)
                self._records.drop(name)
                self._swap(change).delete((), 0)
                return Done(None)
            drain = float(containers[0].made_from.get("drainSeconds") or 10)

            def work() -> None:
                swap = self._swap(change)
                swap.delete(containers, drain)
                # A move that is undone: its tests failed after it had the port.
                lender = self._lender(change, self._former(change, Group()))
                if lender is not None:
                    swap.give_back(lender)

            job = self._jobs[name] = Job("", True, work)
            job.start()
        job.join(_PATIENCE)
        if job.is_alive():
            return InProgress(_SOON)
        self._jobs.pop(name, None)
        if job.error is not None:
            raise job.error
        self._records.drop(name)
        self._reporter.forget(name)
        return Done(None)

    def _swap(self, change: Change) -> Swap:
        return Swap(self._engine, self._parts, self._target, change.service, self._groups.name(change.id.name))

    def _again(self, resource: ResourceId) -> Observed | None:
        return self.observed(resource, self._groups.of(resource.name))

    def _staged(self, group: Group) -> Staged | None:
        return staged_of(group, self._tail)


def _made_from(record: Record | None, container: Container) -> Spec:
    return cast("Spec", from_json(dict(record.spec if record else container.made_from)))


def _stands(container: Container, made_from: Spec, spec: Spec) -> bool:
    """Whether a container need not be another one, and is where it is reached."""
    networks = container.networks - {STAGING_NETWORK}
    return version_of(made_from) == version_of(spec) and networks == networks_of(spec)


def _wanted(change: Change) -> tuple[Desired, Mark]:
    if change.desired is None or change.mark is None:
        raise TerminalError(f"{change.id}: this change has nothing desired")
    return change.desired, replace(change.mark, self_ref=str(change.id))


def _json(spec: Spec) -> dict[str, Any]:
    return cast("dict[str, Any]", to_json(spec))
