"""The driver of the target in memory: the contract of `core.driver` in its plainest form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from reconciler.core.change import Action, Change, Step
from reconciler.core.dataclass import replace
from reconciler.core.deployment import Deployment, Target
from reconciler.core.described import Described
from reconciler.core.diff import assign
from reconciler.core.driver import Address, Capabilities, Done, InProgress
from reconciler.core.errors import ConflictError, ForeignError, TargetError, TerminalError
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
from reconciler.core.rollout import DIGEST_FIELD
from reconciler.core.values import Spec, digest
from reconciler.targets.memory.describe import described
from reconciler.targets.memory.errors import mapped
from reconciler.targets.memory.faults import WireError
from reconciler.targets.memory.native import from_native, health_of, place_of, to_native
from reconciler.targets.memory.render import render
from reconciler.targets.memory.world import Record, World

CAPABILITIES = Capabilities(
    kinds=frozenset({"service", "plain", "source", "artifact"}),
    immutable=("/zone",),
    restarts=("/environmentVariables", "/cpuCores", "/memoryGb", "/secrets"),
    write_only=("/secrets",),
    stages=frozenset({"service"}),
    in_place=("/labels",),
    renames=frozenset({"plain"}),
    endpoints=frozenset({"service", "plain"}),
    retained=frozenset({"artifact"}),
)

_SERVICES = ("service", "plain")


def driver_of(target: Target, installation: str) -> MemoryDriver:
    """A driver for a `Target` of type `memory`; its block may name the file (`path`) that the world is kept in."""
    path = target.block.get("path")
    return MemoryDriver(target.name, World(Path(str(path)) if path else None), installation)


class MemoryDriver:
    """Drives one world.

    Args:
        installation: Whose mark counts as ours.
        retry_after: Seconds between looks at slow work.
    """

    def __init__(
        self,
        target: str,
        world: World,
        installation: str,
        capabilities: Capabilities = CAPABILITIES,
        retry_after: float = 0.01,
    ) -> None:
        self._target = target
        self.world = world
        self.installation = installation
        self._capabilities = capabilities
        self.retry_after = retry_after

    @property
    def target(self) -> str:
        """The target's name."""
        return self._target

    @property
    def capabilities(self) -> Capabilities:
        """Stages `service`, replaces for `/zone`, retains `artifact`."""
        return self._capabilities

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The resources of a deployment."""
        return render(deployment)

    # Observing

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """Everything of ours, page by page; a page that cannot be had makes the reading partial."""
        wanted = set(known)
        found: dict[ResourceId, Observed] = {}
        page, more = 1, True
        while more:
            try:
                with mapped(self._target):
                    records, more = self.world.list(page)
            except TargetError as exc:
                if page == 1:
                    raise
                return self._observation(found, missing=f"page {page}: {exc.message}")
            for key, record in records.items():
                observed = self._observed(key, record)
                if observed.owned_by(self.installation) or observed.id in wanted:
                    found[observed.id] = observed
            page += 1
        return self._observation(found)

    def _observation(self, found: Mapping[ResourceId, Observed], missing: str = "") -> Observation:
        completeness = Completeness.PARTIAL if missing else Completeness.COMPLETE
        return Observation(self._target, completeness, found, missing)

    def _observed(self, key: str, record: Record) -> Observed:
        kind, _, name = key.partition("/")
        id_ = ResourceId(self._target, kind, name)
        mark = Mark.from_json(record["mark"]) if record["mark"] is not None else None
        staged = record["staged"]
        return Observed(
            id_,
            from_native(record["native"]),
            mark,
            health_of(record["status"]),
            record["reason"],
            record["etag"],
            self._outputs(key, record),
            busy=record["busy"] is not None,
            staged=Staged(staged["mark"]["specDigest"], health_of(staged["status"]), staged["reason"])
            if staged
            else None,
            events=tuple(record["events"]),
            owners={place_of(place, record["native"]): Owner(*who) for place, who in record["owners"].items()},
        )

    def _outputs(self, key: str, record: Record) -> Mapping[str, Any]:
        if record["status"] in ("starting", "none"):
            return {}
        if key.startswith("source/"):
            return {"digest": f"sha256:{digest(record['native'].get('content'))}"}
        url = self.world.address(key)
        return {"url": url} if url else {}

    # Writing

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change."""
        key = f"{change.id.kind}/{change.id.name}"
        try:
            with mapped(self._target):
                match change.step:
                    case Step.STAGE:
                        return self._stage(key, change)
                    case Step.PROMOTE:
                        return self._promote(key, change)
                    case Step.DISCARD:
                        record = self.world.discard(key)
                        return Done(self._observed(key, record) if record else None)
                    case _:
                        return self._delete(key, change) if change.action is Action.DELETE else self._write(key, change)
        except ValueError as exc:
            raise TerminalError(f"{change.id}: {exc}", hint="apply what it needs first") from exc

    def _delete(self, key: str, change: Change) -> Done | InProgress:
        version = change.observed.version if change.observed else ""
        try:
            record = self.world.get(key)
            if not self._observed(key, record).owned_by(self.installation):
                raise ForeignError(f"{change.id} is not ours any more", hint="it is left alone")
            done = record["deleting"] or self.world.delete(key, if_match=version)
        except WireError as exc:
            if exc.status != 404:
                raise
            return Done()
        return Done() if done and not record["deleting"] else self._going_on(change)

    def _going_on(self, change: Change) -> InProgress:
        return InProgress(self.retry_after, json.dumps({"operation": change.action.value}))

    def _write(self, key: str, change: Change) -> Done | InProgress:
        if change.moved_from is not None and change.action is Action.UPDATE:
            change = self._rename(key, change, f"{change.moved_from.kind}/{change.moved_from.name}")
        current = self._current(key, change)
        if current is not None and current["busy"] is not None and _same(current, change):
            return self._going_on(change)
        spec = self._payload(change, current)
        native, hidden = to_native(spec)
        mark = _mark(change)
        if current is not None and change.action is Action.REPLACE:
            if current["deleting"] or not self.world.delete(key, if_match=self._version(change)):
                raise WireError(409, f"{key} is being deleted", code="busy", retry_after=self.retry_after)
            current = None
        if current is None:
            record = self.world.write(key, native, mark, hidden, create=True)
        else:
            version = current["etag"] if change.action is Action.CREATE else self._version(change)
            record = self.world.write(key, native, mark, hidden, if_match=version)
        return self._going_on(change) if record["busy"] is not None else Done(self._observed(key, record))

    def _rename(self, key: str, change: Change, old_key: str) -> Change:
        """Renames what the change moves from, unless that was done before; the change of what then stands there."""
        try:
            record = self.world.get(old_key)
        except WireError as exc:
            if exc.status != 404:
                raise
        else:
            if not self._observed(old_key, record).owned_by(self.installation):
                raise ForeignError(f"{change.moved_from} is not ours any more", hint="it is left alone")
            mark = {**record["mark"], "self": str(change.id), "service": change.service}
            self.world.rename(old_key, key, mark, if_match=self._version(change))
        return replace(change, observed=self._observed(key, self.world.get(key)), moved_from=None)

    def _version(self, change: Change) -> str:
        return change.observed.version if change.observed else ""

    def _current(self, key: str, change: Change) -> Record | None:
        """What stands there, refused if it is not ours to touch."""
        try:
            record = self.world.get(key)
        except WireError as exc:
            if exc.status != 404:
                raise
            if change.action in (Action.UPDATE, Action.ADOPT):
                raise
            return None
        ours = self._observed(key, record).owned_by(self.installation)
        if not ours and change.action is not Action.ADOPT:
            hint = "remove it, rename the service, or take it over with `policy: {adopt: true}`"
            raise ForeignError(f"{change.id} exists and is not ours", hint=hint)
        return record

    def _payload(self, change: Change, current: Record | None) -> Spec:
        """What to write: what stands there with the changed fields, or all of it where that cannot be told."""
        assert change.desired is not None
        whole = change.action in (Action.CREATE, Action.REPLACE)
        if whole or current is None or any(f.pointer == DIGEST_FIELD for f in change.fields):
            return {**change.desired.spec, "secrets": change.desired.spec.get("secrets") or {}}
        spec: Any = from_native(current["native"])
        for field in change.fields:
            if not field.pointer.startswith("/mark/"):
                spec = assign(spec, field.pointer, field.after)
        secrets = change.desired.spec.get("secrets")
        if any(field.pointer.startswith("/secrets") for field in change.fields):
            return {**spec, "secrets": secrets or {}}
        return {k: v for k, v in spec.items() if k != "secrets"}

    # Staging

    def _stage(self, key: str, change: Change) -> Done | InProgress:
        current = self._current(
            key, replace(change, action=Action.CREATE if change.observed is None else change.action)
        )
        serving = current if current is not None and current["status"] != "none" else None
        native, hidden = to_native(self._payload(change, serving))
        record = self.world.stage(key, native, _mark(change), hidden, if_match=self._version(change))
        observed = self._observed(key, record)
        if observed.staged is not None and observed.staged.health is Health.PROGRESSING:
            return self._going_on(change)
        return Done(observed)

    def _promote(self, key: str, change: Change) -> Done:
        wanted = change.mark.spec_digest if change.mark else ""
        return Done(self._observed(key, self.world.promote(key, wanted, if_match=self._version(change))))

    # Abilities

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where a test said that it answers."""
        with mapped(self._target):
            url = self.world.way(f"{resource.kind}/{resource.name}", staged=staged)
        return Address(url) if url else None

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: Event) -> Iterator[str]:
        """The lines that the world wrote for a resource."""
        key = f"{resource.kind}/{resource.name}"
        told = 0
        while True:
            try:
                with mapped(self._target):
                    log = list(self.world.get(key)["log"])
            except TargetError:
                return
            yield from log[max(told, 0 if told else len(log) - lines) :]
            told = len(log)
            if not follow or stop.is_set():
                return
            with self.world.changed:
                self.world.changed.wait(0.05)

    def watch(self, stop: Event) -> Iterator[str]:
        """What happens in the world by hand, as it happens."""
        told = len(self.world.happenings)
        while not stop.is_set():
            with self.world.changed:
                new = self.world.happenings[told:]
                if not new:
                    self.world.changed.wait(0.05)
            told += len(new)
            yield from new

    def describable(self) -> Sequence[str]:
        """The names of all services, whoever made them."""
        with mapped(self._target):
            return [key.partition("/")[2] for key in self._keys() if key.partition("/")[0] in _SERVICES]

    def _keys(self) -> Iterator[str]:
        page, more = 1, True
        while more:
            records, more = self.world.list(page)
            yield from records
            page += 1

    def describe(self, name: str, service: str) -> Described | None:
        """A service in the words of manifests; None if there is none of that name."""
        if name != service:
            return None
        for kind in _SERVICES:
            try:
                with mapped(self._target):
                    record = self.world.get(f"{kind}/{name}")
            except ConflictError:
                continue
            return described(self._observed(f"{kind}/{name}", record), record["hidden"])
        return None

    def bind(self, name: str, service: str) -> None:
        """Nothing is to be done: resources are named like services."""

    def close(self) -> None:
        """Nothing is held."""


def _mark(change: Change) -> Mapping[str, Any]:
    assert change.mark is not None
    return change.mark.to_json()


def _same(record: Record, change: Change) -> bool:
    mark: Mapping[str, Any] = record["mark"] or {}
    return change.mark is not None and mark.get("specDigest") == change.mark.spec_digest
