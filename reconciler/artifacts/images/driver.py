"""The driver of `registry/images`: images as resources that plans show and services in containers depend on.

Builds run in threads of the driver; `apply` starts one and returns, `observe` tells what became of it. What an image
holds stands in its labels; whose it is, and which id it had, in a record of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock, Semaphore, Thread
from typing import Any, cast

from reconciler.artifacts.environments.places import disk_error, read_json, remove_tree, write_json
from reconciler.artifacts.environments.records import failure_from
from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.build import Built, ImageBuilder
from reconciler.artifacts.images.builder import Builder, Credentials, Presence, Recorded
from reconciler.artifacts.images.render import KIND, ImageRenderer, registry_host
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.core.change import Action, Change
from reconciler.core.deployment import IMAGES_TARGET, Deployment, Registry
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import ConflictError, ForeignError, TargetError, TerminalError
from reconciler.core.resources import Completeness, Desired, Health, Mark, Observation, Observed, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import digest, from_json, to_json

_LOOK_AGAIN = 0.25


@dataclass(slots=True)
class _Job:
    spec: Mapping[str, Any]
    mark: Mark
    stop: Event = field(default_factory=Event)
    thread: Thread | None = None
    line: str = "waits for its turn"


@dataclass(frozen=True, slots=True)
class Making:
    """How images are made.

    Args:
        builder: Where they are made and kept.
        maker: Makes them there, given the folder for what a build needs on disk.
        reveal: The text of a secret, or of a reference to one.
    """

    builder: Builder
    maker: Callable[[Path], ImageBuilder]
    reveal: Callable[[Secret | SecretRef], str]


class ImagesDriver(ImageRenderer):
    """Images of one builder.

    Args:
        installation: Lists only what this installation built, and what stands where it wants to build; "" lists all.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: ImageSettings,
        making: Making,
        installation: str,
        runtime: str,
    ) -> None:
        super().__init__(settings, runtime)
        self._root = state_dir.absolute() / "images"
        self._making = making
        self._installation = installation
        self._slots = Semaphore(settings.parallel)
        self._guard = Lock()
        self._jobs: dict[str, _Job] = {}
        self._credentials: dict[str, Registry | None] = {}

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """See `ImageRenderer.render`; where the base image is to be fetched with credentials is kept for the build."""
        found = super().render(deployment)
        for desired in found:
            self._credentials[desired.id.name] = deployment.image.registry
        return found

    # -- observe ----------------------------------------------------------------------------------------------------

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """Every image of ours, and whatever else stands where known ones would.

        The builder is not asked as long as there is nothing to ask it for.

        Raises:
            UnavailableError: The builder does not answer, or the state directory cannot be read.
        """
        asked = {resource.name for resource in known if resource.kind == KIND}
        try:
            names = {entry.name for entry in self._root.iterdir() if not entry.name.startswith(".")}
        except FileNotFoundError:
            names = set[str]()
        except OSError as error:
            raise disk_error(error) from error
        if not names | asked | self._jobs.keys():
            return Observation(self.target, Completeness.COMPLETE)
        wanted = sorted(names | asked | self._jobs.keys())
        records = {name: read_json(self._root / name / "image.json") for name in wanted}
        became = self._presence(records)
        found: dict[ResourceId, Observed] = {}
        for name in wanted:
            seen = self._observed(name, records[name], became.get(name))
            if seen is not None and (name in asked or not self._installation or seen.owned_by(self._installation)):
                found[seen.id] = seen
        return Observation(self.target, Completeness.COMPLETE, found)

    def _presence(self, records: Mapping[str, Mapping[str, Any] | None]) -> Mapping[str, Presence]:
        recorded = {
            name: Recorded(str(record.get("id")), str(cast("Mapping[str, Any]", record.get("spec") or {})["reference"]))
            for name, record in records.items()
            if record is not None and record.get("spec")
        }
        return self._making.builder.presence(recorded) if recorded else {}

    def _observed(self, name: str, record: Mapping[str, Any] | None, presence: Presence | None) -> Observed | None:
        id_ = ResourceId(IMAGES_TARGET, KIND, name)
        job = self._jobs.get(name)
        if job is not None:
            mark = replace(job.mark, spec_digest="")
            spec = {**from_json(dict(job.spec)), "built": False}
            return Observed(id_, spec, mark, Health.PROGRESSING, job.line, "building", busy=True)
        failed = read_json(self._root / name / "failure.json")
        if record is None and failed is None:
            return None
        data = cast("dict[str, Any]", record or failed)
        mark = Mark.from_json(cast("dict[str, Any]", data.get("mark") or {}))
        spec = cast("dict[str, Any]", from_json(data.get("spec") or {}))
        version = digest({"mark": mark.to_json(), "id": data.get("id")})[:16]
        unbuilt = replace(mark, spec_digest="")
        if record is None:
            reason = str(data.get("message") or "its build failed")
            return Observed(id_, {**spec, "built": False}, unbuilt, Health.DEGRADED, reason, version)
        reference = str(spec.get("reference"))
        if presence in (Presence.GONE, None):
            reason = "it is not there any more"
            return Observed(id_, {**spec, "built": False}, unbuilt, Health.MISSING, reason, version)
        outputs = {key: record[key] for key in ("id", "digest", "lock", "python", "size") if record.get(key)}
        outputs["reference"] = reference
        if presence is Presence.MOVED:
            reason = f"the name {reference} means another image now, or none"
            return Observed(id_, {**spec, "built": False}, unbuilt, Health.DEGRADED, reason, version, outputs)
        return Observed(id_, {**spec, "built": True}, mark, Health.HEALTHY, "", version, outputs)

    # -- apply ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> Done | InProgress:
        """Builds, names, marks or deletes one image; a build goes on after the return.

        Raises:
            TargetError: As in the contract; also the reason of a build that failed since the last call.
        """
        name = change.id.name
        try:
            with self._guard:
                if change.action is Action.DELETE:
                    return self._delete(change)
                if change.desired is None or change.mark is None:
                    raise TerminalError(f"{change.id} cannot be made without knowing what it is to be")
                job = self._jobs.get(name)
                if job is not None:
                    return InProgress(_LOOK_AGAIN)
                self._check(change)
                folder = self._root / name
                failed = read_json(folder / "failure.json")
                if failed is not None and not failed.get("reported"):
                    write_json(folder / "failure.json", {**failed, "reported": True})
                    raise failure_from(failed)
                spec = cast("dict[str, Any]", to_json(change.desired.spec))
                record = read_json(folder / "image.json")
                if record is not None and record.get("spec") == spec and self._whole(name):
                    write_json(folder / "image.json", {**record, "mark": change.mark.to_json()})
                    return Done(self._one(name))
                self._start(name, spec, change.mark)
                return InProgress(_LOOK_AGAIN)
        except OSError as error:
            raise disk_error(error) from error

    def _start(self, name: str, spec: Mapping[str, Any], mark: Mark) -> None:
        job = _Job(spec, mark)
        job.thread = Thread(target=self._run, args=(name, job), name=f"image {name}", daemon=True)
        self._jobs[name] = job
        job.thread.start()

    def _run(self, name: str, job: _Job) -> None:
        folder = self._root / name
        error: TargetError | None = None
        built: Built | None = None
        try:
            with self._slots:
                if job.stop.is_set():
                    raise Stopped
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "failure.json").unlink(missing_ok=True)
                with (folder / "build.log").open("w", encoding="utf-8", buffering=1) as log:

                    def line(text: str) -> None:
                        job.line = text[:200]
                        log.write(text + "\n")

                    limits = Limits(time.monotonic() + self._settings.build_seconds, job.stop, log.fileno())
                    built = self._making.maker(self._root / ".work").build(
                        job.spec, self._credentials_of(name), limits, line
                    )
                record = {"spec": job.spec, "mark": job.mark.to_json()}
                facts = {"id": built.id, "digest": built.digest, "lock": built.lock, "python": built.python}
                write_json(folder / "image.json", {**record, **facts, "size": built.size})
        except Stopped:
            pass
        except TargetError as caught:
            error = caught
        except OSError as caught:
            error = disk_error(caught)
        except Exception as caught:  # noqa: BLE001 - a thread has nobody above it; apply raises what is kept here
            error = TerminalError(f"the build failed: {type(caught).__name__}: {caught}")
        finally:
            if error is not None:
                with suppress(OSError):
                    told = {"code": error.code, "message": error.message, "hint": error.hint, "reported": False}
                    told |= {"retryAfter": error.retry_after, "spec": job.spec, "mark": job.mark.to_json()}
                    write_json(folder / "failure.json", told)
            with self._guard:
                self._jobs.pop(name, None)

    def _credentials_of(self, name: str) -> Credentials:
        base = self._credentials.get(name)
        host = registry_host(base.address) if base else ""
        return Credentials(self._login(base), self._login(self._settings.registry), host)

    def _login(self, registry: Registry | None) -> dict[str, str] | None:
        if registry is None or registry.password is None:
            return None
        user = registry.username
        username = self._making.reveal(user) if isinstance(user, SecretRef) else str(user or "")
        return {"username": username, "password": self._making.reveal(registry.password)}

    def _delete(self, change: Change) -> Done | InProgress:
        name = change.id.name
        job = self._jobs.get(name)
        if job is not None:
            job.stop.set()
            return InProgress(_LOOK_AGAIN)
        self._check(change)
        folder = self._root / name
        record = read_json(folder / "image.json")
        if record is not None and record.get("id"):
            self._making.builder.remove(Recorded(str(record["id"]), str(record["spec"]["reference"])))
        remove_tree(folder)
        return Done()

    def _check(self, change: Change) -> None:
        """Whether what is recorded there is ours, and is what was planned for."""
        seen = read_json(self._root / change.id.name / "image.json")
        if seen is None:
            return
        mark = Mark.from_json(cast("dict[str, Any]", seen.get("mark") or {}))
        ours = Observed(change.id, {}, mark).owned_by(self._installation)
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(f"{change.id} exists and is not ours", hint="take it over with `policy: {adopt: true}`")
        version = digest({"mark": mark.to_json(), "id": seen.get("id")})[:16]
        if change.observed is not None and change.observed.version not in ("", "building", version):
            raise ConflictError(f"{change.id} changed since it was observed")

    def _whole(self, name: str) -> bool:
        seen = self._one(name)
        return seen is not None and seen.health is Health.HEALTHY

    def _one(self, name: str) -> Observed | None:
        record = read_json(self._root / name / "image.json")
        return self._observed(name, record, self._presence({name: record}).get(name))

    # -- abilities --------------------------------------------------------------------------------------------------

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: Event) -> Iterator[str]:
        """The build log."""
        try:
            stream = (self._root / resource.name / "build.log").open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        with stream:
            yield from [line.rstrip("\n") for line in stream][-lines:]
            rest = ""
            while follow and not stop.wait(0.2):
                rest += stream.read()
                *whole, rest = rest.split("\n")
                yield from whole

    def close(self) -> None:
        """Ends running builds; they are begun again by the next apply."""
        with self._guard:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        for job in jobs:
            if job.thread:
                job.thread.join(timeout=30)
        self._making.builder.close()
