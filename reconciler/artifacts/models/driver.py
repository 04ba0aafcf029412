"""The driver of `registry/models`: registering a model version is a change like any other.

Bytes are brought by threads of the driver: `apply` waits a moment and then answers "in progress"; `observe` shows how
far it is, and why it failed. A version's bytes never change; what is written about it may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, cast

from reconciler.artifacts.models.content import Fetched, disk_error
from reconciler.artifacts.models.normal_form import moves, other_bytes, refuse_other_bytes
from reconciler.artifacts.models.record import Damaged, Record
from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.artifacts.models.render import KIND, ModelRenderer, human_size, split_name
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.artifacts.models.sources import Asking, now_behind
from reconciler.artifacts.models.transfer import Source, Transfer, allowed_path, stamp_of
from reconciler.core.change import Action, Change
from reconciler.core.contents import Contents
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import (
    ConflictError,
    ForeignError,
    ReconcilerError,
    TargetError,
    TerminalError,
)
from reconciler.core.resources import Completeness, Health, Mark, Observation, Observed, ResourceId
from reconciler.core.sources import SourceState, Watched
from reconciler.core.values import Spec

if TYPE_CHECKING:
    from reconciler.artifacts.models.http import Http

_LOOK_AGAIN = 1.0


@dataclass(slots=True)
class _Job:
    """A transfer under way, or the failure of the last one."""

    mark: Mark
    stop: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    written: int = 0
    total: int | None = None
    failure: TargetError | None = None
    thread: Thread | None = None

    @property
    def running(self) -> bool:
        return not self.ended.is_set()


class ModelsDriver(ModelRenderer):
    """Implements `core.driver.Driver`.

    Args:
        registry: Where versions are kept.
        contents: The repo's bytes at the time of the call; None where there is no repo.
        references: The model versions that some resource at any target still needs.
        installation: Whose versions are listed; "" for everybody's.
        sleep: Waits between the attempts of a broken download.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: ModelSettings,
        contents: Callable[[], Contents | None],
        references: Callable[[], set[ResourceId]],
        *,
        installation: str = "",
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(settings, registry.catalogue)
        self.registry = registry
        self._installation = installation
        self._contents = contents
        self._references = references
        self._sleep = sleep
        self._client: Http | None = None
        self._asking = Asking(settings, self._http)
        self._jobs: dict[ResourceId, _Job] = {}
        self._guard = Lock()
        self._garbage = False
        # What a record that did not change reads as; records are parsed once, so the same object is the same record.
        self._seen: dict[ResourceId, tuple[Record, Observed]] = {}

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """Every version of this installation, and whatever else stands where known ones would, without reading content.

        Transfers under way and failed ones are shown as such.

        Raises:
            UnavailableError: The store cannot be read.
        """
        records, strays = self.registry.all()
        asked = set(known)
        seen_all = [self._observed(record) for record in records]
        resources = {
            seen.id: seen
            for seen in seen_all
            if not self._installation or seen.id in asked or seen.owned_by(self._installation)
        }
        with self._guard:
            jobs = dict(self._jobs)
        for resource, job in jobs.items():
            # A job ends after its record was written, so a look in between finds one of the two.
            if job.running or resource not in resources or job.failure is not None:
                seen = self._in_progress(resource, job, resources.get(resource))
                if seen is not None:
                    resources[resource] = seen
        missing = f"not ours: {', '.join(strays[:5])}" if strays else ""
        return Observation(self.target, Completeness.COMPLETE, resources, missing)

    def apply(self, change: Change) -> Done | InProgress:
        """Registers a version, changes what is written about it, or removes it.

        Raises:
            TerminalError: Other bytes under the same name and version; a version that is still used; bytes that are
                not those expected.
            ForeignError: The version is another installation's, or its index file is damaged.
            ConflictError: It changed since it was observed.
            TargetError: The bytes cannot be had, or the disk is full.
        """
        if change.id.kind != KIND or split_name(change.id.name) is None:
            raise TerminalError(f"{change.id} is not the id of a model version")
        try:
            if change.action is Action.DELETE:
                return self._delete(change)
            if not change.writes:
                record = self.registry.get(change.id)
                return Done(self._observed(record) if record is not None else None)
            return self._register(change)
        except OSError as error:
            raise disk_error(error, self.registry.root) from error

    def sources(self, watched: Sequence[Watched]) -> Mapping[Watched, SourceState]:
        """What stands behind addresses now: one request an address, and none for a while after it was answered."""
        return now_behind(self.registry, watched, self._asking)

    def close(self) -> None:
        """Stops transfers; they begin again at the next apply."""
        with self._guard:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        for job in jobs:
            if job.thread is not None:
                job.thread.join(timeout=self._settings.read_timeout + 5.0)
        if self._client is not None:
            self._client.close()

    # Writing

    def _register(self, change: Change) -> Done | InProgress:
        if change.desired is None or change.mark is None:
            raise TerminalError(f"{change.id} cannot be registered without knowing what it is to be")
        with self._guard:
            job = self._jobs.get(change.id)
            if job is not None and job.running:
                return InProgress(_LOOK_AGAIN)
            self._jobs.pop(change.id, None)
        spec = cast("Mapping[str, Any]", change.desired.spec)
        record = self.registry.get(change.id)
        if record is not None:
            self._check(change, record, change.mark)
        if isinstance(record, Record) and not self._needs_bytes(record, spec):
            return Done(self._observed(self._rewrite(record, spec, change.mark)))
        expected = spec.get("digest")
        if expected and not isinstance(record, Record):
            # Locked, so that the twin's content is not collected before this version holds it too.
            with self.registry.lock:
                twin = self.registry.with_digest(str(expected))
                if twin is not None:
                    fetched = Fetched(twin.parts, twin.folder)
                    return Done(self._observed(self._write(change.id, spec, change.mark, fetched)))
        return self._start(change, spec, record if isinstance(record, Record) else None)

    def _check(self, change: Change, record: Record | Damaged, mark: Mark) -> None:
        """Refuses what must not be written over."""
        if isinstance(record, Damaged):
            if change.action is not Action.ADOPT:
                raise ForeignError(
                    f"{change.id} stands in the registry, but {record.reason}",
                    hint="remove that file, or set policy.adopt to write it anew",
                )
            return
        ours = record.mark.installation == mark.installation and record.mark.self_ref == str(change.id)
        if not ours and change.action is not Action.ADOPT:
            whose = record.mark.installation or "nobody"
            raise ForeignError(
                f"{change.id} is registered by {whose}, not by this installation",
                hint="set policy.adopt to take it over",
            )
        seen = change.observed.version if change.observed is not None else ""
        if seen and seen != record.version:
            raise ConflictError(f"{change.id} changed since it was observed")
        refuse_other_bytes(change.id, record, cast("Mapping[str, Any]", change.desired.spec if change.desired else {}))

    def _needs_bytes(self, record: Record, spec: Mapping[str, Any]) -> bool:
        if self.registry.faults(record.parts):
            return True
        # Without a digest only fetching again can tell whether another place holds the same bytes.
        return "digest" not in spec and Source.of(spec).uri != Source.of(record.spec).uri

    def _rewrite(self, record: Record, spec: Mapping[str, Any], mark: Mark) -> Record:
        origin: Mapping[str, Any] = record.origin if Source.of(spec) == Source.of(record.spec) else {}
        return self.registry.put(replace(record, spec=dict(spec), mark=mark, origin=origin))

    def _write(self, resource: ResourceId, spec: Mapping[str, Any], mark: Mark, fetched: Fetched) -> Record:
        return self.registry.put(
            Record(resource, dict(spec), mark, fetched.digest, fetched.parts, fetched.folder, fetched.origin)
        )

    def _start(self, change: Change, spec: Mapping[str, Any], record: Record | None) -> Done | InProgress:
        assert change.mark is not None
        size = spec.get("size")
        job = _Job(change.mark, total=size if isinstance(size, int) else None)
        job.thread = Thread(
            target=self._bring, args=(change.id, spec, record, job), name=f"register {change.id.name}", daemon=True
        )
        with self._guard:
            self._jobs[change.id] = job
        job.thread.start()
        if not job.ended.wait(self._settings.patience):
            return InProgress(_LOOK_AGAIN)
        if job.failure is not None:
            with self._guard:
                self._jobs.pop(change.id, None)
            raise job.failure
        stored = self.registry.get(change.id)
        return Done(self._observed(stored) if stored is not None else None)

    def _http(self) -> Http:
        """The HTTP client, made when first needed: a plan, which only renders, shall not pay for it."""
        with self._guard:
            if self._client is None:
                from reconciler.artifacts.models.http import Http

                self._client = Http(self._settings, self._sleep) if self._sleep is not None else Http(self._settings)
            return self._client

    def _bring(self, resource: ResourceId, spec: Mapping[str, Any], record: Record | None, job: _Job) -> None:
        def told(written: int) -> None:
            job.written = written

        try:
            expected = str(spec["digest"]) if spec.get("digest") else None
            known = record.digest if record is not None else None
            transfer = Transfer(
                self.registry.content, self._settings, self._contents(), self._http, job.stop.is_set, told
            )
            fetched = transfer.fetch(
                Source.of(spec), expected or (known if record and not moves(record, spec) else None)
            )
            if known is not None and fetched.digest != known:
                raise other_bytes(resource, known, fetched.digest)
            self._write(resource, spec, job.mark, fetched)
        except TargetError as error:
            job.failure = error
        except OSError as error:
            job.failure = disk_error(error, self.registry.root)
        except ReconcilerError as error:
            job.failure = TerminalError(error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - a thread's fault must reach the change it works for
            job.failure = TargetError(f"registering failed: {type(error).__name__}: {error}")
        finally:
            with self._guard:
                if job.failure is None:
                    self._jobs.pop(resource, None)
                job.ended.set()
            self._collect_if_due()

    def _delete(self, change: Change) -> Done:
        with self._guard:
            job = self._jobs.get(change.id)
        if job is not None:
            job.stop.set()
            job.ended.wait(self._settings.read_timeout)
            with self._guard:
                self._jobs.pop(change.id, None)
        record = self.registry.get(change.id)
        if record is None:
            return Done()
        if change.id in self._references():
            raise TerminalError(
                f"{change.id} is still used by a service", hint="it is removed when nothing uses it any more"
            )
        if isinstance(record, Damaged) or (change.mark is not None and not _owned(record, change)):
            raise ForeignError(f"{change.id} is not this installation's, so it is not deleted")
        if change.observed is not None and change.observed.version and change.observed.version != record.version:
            raise ConflictError(f"{change.id} changed since it was observed")
        self.registry.remove(change.id)
        self._seen.pop(change.id, None)
        self._garbage = True
        self._collect_if_due()
        return Done()

    def _collect_if_due(self) -> None:
        """Removes unused content, unless a transfer may just have stored some that no record names yet."""
        with self._guard:
            if not self._garbage or any(job.running for job in self._jobs.values()):
                return
            self._garbage = False
            self.registry.collect()

    # Reading

    def _observed(self, record: Record | Damaged) -> Observed:
        if isinstance(record, Damaged):
            return Observed(
                record.id, {}, None, Health.DEGRADED, record.reason, record.version, events=("damaged index file",)
            )
        fault = self.registry.faults(record.parts)
        known = self._seen.get(record.id)
        if known is not None and known[0] is record and not fault:
            return known[1]
        spec: dict[str, Any] = {**record.spec, "digest": record.digest}
        outputs = {"digest": record.digest, "size": record.size}
        if fault:
            # The registry does not hold those bytes any more: seen as a difference, it is healed like any other.
            del spec["digest"]
            return Observed(record.id, spec, record.mark, Health.DEGRADED, fault, record.version, outputs)
        healthy = Observed(record.id, spec, record.mark, Health.HEALTHY, "", record.version, outputs)
        if Source.of(record.spec).uri.startswith("file:") and record.origin:
            return replace(healthy, events=self._note(record))
        self._seen[record.id] = (record, healthy)
        return healthy

    def _note(self, record: Record) -> tuple[str, ...]:
        uri = Source.of(record.spec).uri
        try:
            now = stamp_of(allowed_path(uri, self._settings.file_folders))
        except (OSError, TargetError):
            return (f"{uri} is not there any more; version {record.id.name} is kept as it was registered",)
        if now == dict(record.origin):
            return ()
        return (f"{uri} changed since {record.id.name} was registered from it; raise the version to take the change",)

    def _in_progress(self, resource: ResourceId, job: _Job, below: Observed | None) -> Observed | None:
        spec: Spec = below.spec if below is not None else {}
        version = below.version if below is not None else ""
        # Nothing of it is applied yet, so it carries the mark without the digest of what is being made.
        mark = below.mark if below is not None and below.mark is not None else replace(job.mark, spec_digest="")
        if job.running:
            of = f" of {human_size(job.total)}" if job.total else ""
            reason = f"{human_size(job.written)}{of} fetched"
            return Observed(resource, spec, mark, Health.PROGRESSING, reason, version, busy=True)
        if job.failure is not None:
            return Observed(resource, spec, mark, Health.DEGRADED, job.failure.message, version)
        return None


def _owned(record: Record, change: Change) -> bool:
    return (
        change.mark is not None
        and record.mark.installation == change.mark.installation
        and record.mark.self_ref == str(change.id)
    )
