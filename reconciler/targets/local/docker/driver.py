"""The driver of the docker engine: services as containers, replaced by swapping networks."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from reconciler.containers.engine import Engine
from reconciler.core.change import Action, Change, Step
from reconciler.core.diff import equal
from reconciler.core.driver import Address, Done, InProgress
from reconciler.core.errors import BusyError, ConflictError, ForeignError, TerminalError
from reconciler.core.resources import (
    Completeness,
    Desired,
    Health,
    Mark,
    Observation,
    Observed,
    Owner,
    ResourceId,
    Staged,
)
from reconciler.core.values import Spec, digest, from_json, to_json
from reconciler.targets.local.docker.config import (
    LABEL_TARGET,
    PORT,
    STAGING_NETWORK,
    Machine,
    published,
    read_back,
    resources,
    section,
)
from reconciler.targets.local.docker.look import RETIRED_SUFFIX, STAGED_SUFFIX, Container, health_of
from reconciler.targets.local.docker.record import Record, Records
from reconciler.targets.local.docker.render import KIND, UPDATED, DockerRenderer, Naming
from reconciler.targets.local.docker.swap import Parts, Swap, version_of
from reconciler.targets.local.jobs import Job

_PATIENCE = 0.8  # seconds an apply call waits for what is usually done at once
_SOON = 0.1
_LAST_LINES = 5
_EVENTS = ("die", "oom", "stop", "pause", "unpause", "rename", "destroy", "update", "health_status", "start", "kill")


@dataclass(frozen=True, slots=True)
class Group:
    """The containers of one service, by what they do.

    Args:
        serving: Has the port, or had it last. staged: Waits to be promoted. retired: Was replaced, not yet removed.
    """

    serving: Container | None = None
    staged: Container | None = None
    retired: Container | None = None

    def all(self) -> list[Container]:
        """Every one that is there."""
        return [c for c in (self.staged, self.serving, self.retired) if c is not None]


class DockerDriver(DockerRenderer):
    """Serves each deployment as a container.

    Args:
        target: Name of the target.
        installation: Id of this installation; what it did not make is not its own.
        records: What containers cannot carry, since their labels are fixed when they are made.
    """

    def __init__(
        self, target: str, installation: str, engine: Engine, parts: Parts, naming: Naming, records: Path
    ) -> None:
        super().__init__(target, naming, here=engine.place.here)
        self._installation = installation
        self._engine = engine
        self._parts = parts
        self._records = Records(records)
        self._jobs: dict[str, Job] = {}
        self._image_env: dict[str, Sequence[str]] = {}
        self._seen: dict[str, tuple[Any, Observed]] = {}
        self._all: Machine | None = None
        self._lock = threading.Lock()

    # -- observe ----------------------------------------------------------------------------------------------------

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All services of ours, and whatever stands where known ones would.

        Raises:
            UnavailableError: The engine does not answer.
        """
        wanted = {resource.name for resource in known if resource.target == self._target and resource.kind == KIND}
        groups = self._groups()
        for name in wanted - groups.keys():
            report = self._engine.inspect(self._name(name))
            if report is not None:
                groups[name] = Group(Container(report))
        found: dict[ResourceId, Observed] = {}
        for name in sorted(groups.keys() | self._jobs.keys()):
            resource = ResourceId(self._target, KIND, name)
            seen = self._observed(resource, groups.get(name, Group()))
            if seen is not None and (name in wanted or seen.owned_by(self._installation)):
                found[resource] = seen
        return Observation(self._target, Completeness.COMPLETE, found)

    def _groups(self) -> dict[str, Group]:
        """Containers that carry this target's label, by service."""
        by_name: dict[str, Container] = {}
        for id_ in self._engine.containers(f"{LABEL_TARGET}={self._target}"):
            report = self._engine.inspect(id_)
            if report is not None:
                by_name[Container(report).name] = Container(report)
        prefix = f"{self._target}."
        names = {
            name.removeprefix(prefix).removesuffix(STAGED_SUFFIX).removesuffix(RETIRED_SUFFIX)
            for name in by_name
            if name.startswith(prefix)
        }
        return {name: self._group(name, by_name) for name in names}

    def _group(self, name: str, by_name: Mapping[str, Container]) -> Group:
        main = self._name(name)
        first, staged, retired = (by_name.get(main + suffix) for suffix in ("", STAGED_SUFFIX, RETIRED_SUFFIX))
        if staged is not None and staged.networks - {STAGING_NETWORK}:
            # Promoted, and not yet named so.
            return Group(staged, None, retired or first)
        return Group(first, staged, retired)

    def _one(self, name: str) -> Group:
        main = self._name(name)
        reports = {n: self._engine.inspect(n) for n in (main, main + STAGED_SUFFIX, main + RETIRED_SUFFIX)}
        return self._group(name, {n: Container(r) for n, r in reports.items() if r is not None})

    def _observed(self, resource: ResourceId, group: Group) -> Observed | None:
        job = self._jobs.get(resource.name)
        staged = (job.staged() if job else None) or self._staged(group)
        container = group.serving
        if container is None:
            if staged is None:
                return None
            mark = group.staged.mark if group.staged else None
            mark = mark or Mark(self._installation, resource.name, "", "", str(resource))
            # Nothing serves: what is staged must not be taken for it.
            return Observed(
                resource, {}, replace(mark, spec_digest=""), Health.MISSING, "not in service yet", "", {}, False, staged
            )
        record = self._records.read(resource.name, container.id)
        before = self._seen.get(resource.name)
        key = (container.report, record, staged)
        # The same object for the same facts: planning skips what it has compared before.
        if before is not None and before[0] == key:
            return before[1]
        seen = self._report(resource, container, record, staged)
        self._seen[resource.name] = (key, seen)
        return seen

    def _report(
        self, resource: ResourceId, container: Container, record: Record | None, staged: Staged | None
    ) -> Observed:
        made_from = record.spec if record else container.made_from
        mark = record.mark if record else container.mark
        spec = read_back(
            container.report, made_from, self._environment_of(container), self._parts.seal, self._machine()
        )
        if not container.ours:
            spec = {key: value for key, value in spec.items() if key in ("image", "restart", "limits")}
        health, reason = health_of(container)
        if health is Health.DEGRADED and container.state.get("Status") != "running":
            health, reason = health_of(container, self._tail(container, _LAST_LINES))
        if container.retired:
            health, reason = Health.DEGRADED, "taken off its networks, so nothing reaches it"
        binding = published(cast("Mapping[str, Any]", container.report.get("HostConfig") or {}))
        outputs = {"container": container.id[:12], "imageId": str(container.report.get("Image") or "")}
        if binding.get("HostPort"):
            host = binding.get("HostIp") or "127.0.0.1"
            host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - reached from this machine
            outputs["url"] = f"{_scheme(made_from)}://{host}:{binding['HostPort']}"
        version = digest([container.id, record.to_json() if record else None, to_json(spec)])[:16]
        owners = self._owners(container, cast("Spec", from_json(dict(made_from))), spec)
        return Observed(resource, spec, mark, health, reason, version, outputs, False, staged, owners=owners)

    def _owners(self, container: Container, left: Spec, now: Spec) -> Mapping[str, Owner]:
        """How fields came to read otherwise than we left them: the engine knows by what call and when, not by whom."""
        moved = [name for name in UPDATED if container.ours and not equal(left.get(name), now.get(name))]
        at = self._engine.last(container.id, "update") if moved else None
        return {} if at is None else {f"/{name}": Owner("docker update", at) for name in moved}

    def _machine(self) -> Machine:
        """What the engine's machine has; asked once."""
        if self._all is None:
            with self._engine.calls("asking for its machine"):
                info = cast("Mapping[str, Any]", self._engine.api.info())
            self._all = Machine(int(info.get("NCPU") or 0), int(info.get("MemTotal") or 0))
        return self._all

    def _environment_of(self, container: Container) -> Sequence[str]:
        """Variables that come with the image, kept by its id."""
        image = str(container.report.get("Image") or "")
        if image not in self._image_env:
            found = self._engine.image(image)
            config = cast("Mapping[str, Any]", (found or {}).get("Config") or {})
            self._image_env[image] = tuple(config.get("Env") or ())
        return self._image_env[image]

    def _staged(self, group: Group) -> Staged | None:
        container = group.staged
        if container is None:
            left = group.retired
            if left is None:
                return None
            return Staged(left.mark.spec_digest if left.mark else "", Health.DEGRADED, "a replaced version is left")
        wanted = container.mark.spec_digest if container.mark else ""
        health, reason = health_of(container)
        status = str(container.state.get("Status") or "")
        if status == "running" and not container.report.get("RestartCount"):
            if self._ready(container):
                return Staged(wanted, Health.HEALTHY)
            if self._late(container):
                lines = "".join(f"\n{line}" for line in self._tail(container, _LAST_LINES))
                return Staged(wanted, Health.DEGRADED, f"it did not become ready in time{lines}")
            return Staged(wanted, Health.PROGRESSING, "starting")
        if status == "created" and health is Health.PROGRESSING:
            return Staged(wanted, Health.PROGRESSING, "starting")
        lines = self._tail(container, _LAST_LINES)
        health, reason = health_of(container, lines)
        if health is not Health.DEGRADED:
            reason = "it ended and was started again" + "".join(f"\n{line}" for line in lines)
        return Staged(wanted, Health.DEGRADED, reason)

    def _ready(self, container: Container) -> bool:
        """Whether it answers where nobody else reaches it."""
        if not container.address:
            return False
        path = "/" if container.made_from.get("readyMade") else "/health/ready"
        connection: http.client.HTTPConnection
        if container.made_from.get("tls"):
            # By its address on a network of this machine, which no certificate names.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(container.address, PORT, timeout=2, context=context)
        else:
            connection = http.client.HTTPConnection(container.address, PORT, timeout=2)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return status < 500 if container.made_from.get("readyMade") else status == 200

    @staticmethod
    def _late(container: Container) -> bool:
        started = str(container.state.get("StartedAt") or "")
        limit = float(container.made_from.get("readyTimeoutSeconds") or 300)
        try:
            since = datetime.fromisoformat(started.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC)
        except ValueError:
            return False
        return (datetime.now(UTC) - since).total_seconds() > limit

    def _tail(self, container: Container, lines: int) -> list[str]:
        with self._engine.calls("reading a log"):
            data = cast("bytes", self._engine.api.logs(container.id, tail=lines))
        return [line for line in data.decode(errors="replace").splitlines() if line][-lines:]

    def _name(self, service: str) -> str:
        return f"{self._target}.{service}"

    # -- apply ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        group = self._one(change.id.name)
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
                self._swap(change).discard()
                return Done(self._again(change.id))
            case _:
                return self._in_one_go(change, group)

    def _permitted(self, change: Change, group: Group) -> None:
        container = group.serving
        if container is None:
            return
        record = self._records.read(change.id.name, container.id)
        mark = record.mark if record else container.mark
        ours = Observed(change.id, {}, mark).owned_by(self._installation)
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(
                f"container {container.name} exists and is not ours",
                hint="remove or rename it, or take it over with `policy: {adopt: true}`",
            )
        expected = change.observed.version if change.observed else ""
        if expected and ours and not self._is(change, group):
            now = self._report(change.id, container, record, None).version
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

    def _stage(self, change: Change, group: Group, *, promotes: bool) -> Done | InProgress:
        desired, mark = _wanted(change)
        name = change.id.name
        self._records.make()
        with self._lock:
            job = self._jobs.get(name)
            if job is not None and job.is_alive() and job.spec_digest != mark.spec_digest:
                raise BusyError(f"{change.id}: another version is still being prepared", retry_after=0.2)
            if job is None or not job.is_alive():
                there = self._staged(group) if group.staged else None
                going = there is not None and there.spec_digest == mark.spec_digest
                job = None
                if not going or (there and there.health is Health.DEGRADED) or promotes:

                    def work() -> None:
                        swap = self._swap(change)
                        swap.stage(desired.spec, mark, group.serving)
                        if promotes:
                            now = self._one(name)
                            if now.staged is not None:
                                swap.promote(desired.spec, now.staged, now.serving)

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
        self._swap(change).promote(desired.spec, candidate, before)
        self._records.drop(change.id.name)
        if candidate.mark != mark:
            self._records.write(change.id.name, Record(candidate.id, mark, _json(desired.spec)))
        return Done(self._again(change.id))

    def _in_one_go(self, change: Change, group: Group) -> Done | InProgress:
        """What changes in place, or, where the engine is elsewhere, a new container straight into service."""
        desired, mark = _wanted(change)
        container = group.serving
        current = self._records.read(change.id.name, container.id) if container else None
        if container is None or _version_of(current, container) != version_of(desired.spec):
            return self._stage(change, group, promotes=True)
        self._update(container, desired.spec)
        keys = self._parts.key_digests(desired.spec)
        if keys is not None:
            self._swap(change).write_keys(container.id, keys)
            if desired.spec["workers"] == 1 and not desired.spec.get("readyMade"):
                # The runtime looks every few seconds; told so, it looks at once.
                with self._engine.calls(f"telling {container.name} of its keys"):
                    self._engine.api.kill(container.id, "SIGHUP")
        self._records.write(change.id.name, Record(container.id, mark, _json(desired.spec)))
        return Done(self._again(change.id))

    def _update(self, container: Container, spec: Spec) -> None:
        host = cast("Mapping[str, Any]", container.report.get("HostConfig") or {})
        wanted = resources(section(spec, "limits"))
        name, _, most = str(spec["restart"]).partition(":")
        policy = {"Name": name, "MaximumRetryCount": int(most or 0)}
        body: dict[str, Any] = {}
        if any(int(host.get(key) or 0) != value for key, value in wanted.items()):
            # The engine takes 0 for "leave it": a limit is lifted by raising it to all that there is.
            all_ = self._machine()
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
            job = self._jobs[name] = Job("", True, lambda: self._swap(change).delete(containers, drain))
            job.start()
        job.join(_PATIENCE)
        if job.is_alive():
            return InProgress(_SOON)
        self._jobs.pop(name, None)
        if job.error is not None:
            raise job.error
        self._records.drop(name)
        self._seen.pop(name, None)
        return Done(None)

    def _swap(self, change: Change) -> Swap:
        return Swap(self._engine, self._parts, self._target, change.service, self._name(change.id.name))

    def _again(self, resource: ResourceId) -> Observed | None:
        return self._observed(resource, self._one(resource.name))

    # -- abilities --------------------------------------------------------------------------------------------------

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where the promoted version answers, or the staged one on its own network."""
        group = self._one(resource.name)
        if staged:
            container = group.staged
            if container is None or not container.address:
                return None
            return Address(f"{_scheme(container.made_from)}://{container.address}:{PORT}", verify=False)
        seen = self._observed(resource, group)
        url = seen.outputs.get("url") if seen else None
        return Address(str(url), verify=not str(url).startswith("https://127.0.0.1:")) if url else None

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """The last lines of the serving container, else of the staged one."""
        group = self._one(resource.name)
        container = group.serving or group.staged
        if container is None:
            return
        if not follow:
            yield from self._tail(container, lines)
            return
        with self._engine.calls("reading a log"):
            stream = self._engine.api.logs(container.id, tail=lines, follow=True, stream=True)
        threading.Thread(target=_close_when, args=(stop, stream), daemon=True).start()
        rest = b""
        for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)

    def watch(self, stop: threading.Event) -> Iterator[str]:
        """Yields what the engine says of containers of this target."""
        filters = {"type": "container", "label": f"{LABEL_TARGET}={self._target}", "event": list(_EVENTS)}
        with self._engine.calls("watching events"):
            stream = self._engine.api.events(decode=True, filters=filters)
        threading.Thread(target=_close_when, args=(stop, stream), daemon=True).start()
        for event in stream:
            if stop.is_set():
                return
            said = cast("Mapping[str, Any]", event)
            yield f"{said['Actor']['Attributes'].get('name', '')}: {said['Action']}"

    def close(self) -> None:
        """Waits shortly for what is being prepared; containers go on."""
        for job in list(self._jobs.values()):
            job.join(5.0)
        self._engine.close()


def _scheme(made_from: Mapping[str, Any]) -> str:
    return "https" if made_from.get("tls") else "http"


def _version_of(record: Record | None, container: Container) -> str:
    made_from = record.spec if record else container.made_from
    return version_of(cast("Spec", from_json(dict(made_from))))


def _close_when(stop: threading.Event, stream: Any) -> None:
    stop.wait()
    stream.close()


def _wanted(change: Change) -> tuple[Desired, Mark]:
    if change.desired is None or change.mark is None:
        raise TerminalError(f"{change.id}: this change has nothing desired")
    return change.desired, replace(change.mark, self_ref=str(change.id))


def _json(spec: Spec) -> dict[str, Any]:
    return cast("dict[str, Any]", to_json(spec))
