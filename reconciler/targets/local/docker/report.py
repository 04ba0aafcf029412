"""From a service's containers to what is observed of it: the spec as the engine has it, the mark, the health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from reconciler.containers.engine import Engine
from reconciler.core.diff import equal
from reconciler.core.resources import Health, Mark, Observed, Owner, ResourceId, Staged
from reconciler.core.values import Spec, digest, from_json, to_json
from reconciler.targets.local.docker.config import (
    STAGING_NETWORK,
    Machine,
    Seal,
    answers_at,
    read_back,
)
from reconciler.targets.local.docker.foreign import foreign_spec
from reconciler.targets.local.docker.group import Group
from reconciler.targets.local.docker.look import Container, health_of, state_of
from reconciler.targets.local.docker.record import Record, Records
from reconciler.targets.local.docker.render import UPDATED
from reconciler.targets.local.docker.streams import Tail
from reconciler.targets.local.docker.waiting import LAST_LINES


class Reporter:
    """Reports a target's services; the same facts give the same object, which planning compares only once.

    Args:
        installation: Id of this installation; what it did not make is not its own.
        records: What containers cannot carry, since their labels are fixed when they are made.
        name: The engine's name of a service's container.
        seal: Makes a secret of a text, by which what the engine reports is compared.
        tail: Reads the last lines of a container's log, for the reason where it does not run.
    """

    def __init__(
        self, engine: Engine, installation: str, records: Records, name: Callable[[str], str], seal: Seal, tail: Tail
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._records = records
        self._name = name
        self._seal = seal
        self._tail = tail
        self._image_env: dict[str, Sequence[str]] = {}
        self._seen: dict[str, tuple[Any, Observed]] = {}
        self._all: Machine | None = None

    def observed(self, resource: ResourceId, group: Group, staged: Staged | None) -> Observed | None:
        """A service as it is; None if nothing of it is there."""
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
        if before is not None and before[0] == key:
            return before[1]
        seen = self.report(resource, container, record, staged)
        self._seen[resource.name] = (key, seen)
        return seen

    def report(
        self, resource: ResourceId, container: Container, record: Record | None, staged: Staged | None
    ) -> Observed:
        """A service by the container that serves it."""
        made_from = record.spec if record else container.made_from
        mark = record.mark if record else container.mark
        read = read_back(container.report, made_from, self._environment_of(container), self._seal, self.machine())
        standing = {
            # Whatever is not ours yet is called as it likes: adopting it names it.
            "state": state_of(container, self._name(resource.name) if self.owns(resource, mark) else container.name),
            "networks": sorted(container.networks - {STAGING_NETWORK}),
        }
        spec: Spec = {**read, **standing}
        if record is None and not container.ours:
            spec = foreign_spec(container, self._environment_of(container), self._seal, self.machine())
        health, reason = health_of(container)
        if health is Health.DEGRADED and container.state.get("Status") != "running":
            health, reason = health_of(container, self._tail(container, LAST_LINES))
        if container.retired:
            health, reason = Health.DEGRADED, "taken off its networks, so nothing reaches it"
        binding = answers_at(container.report)
        outputs = {"container": container.id[:12], "imageId": str(container.report.get("Image") or "")}
        if binding.get("HostPort"):
            host = binding.get("HostIp") or "127.0.0.1"
            host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - reached from this machine
            outputs["url"] = f"{'https' if made_from.get('tls') else 'http'}://{host}:{binding['HostPort']}"
        # Not of the version: what a roll-out that was cut off leaves behind, and its repetition finds.
        lasting = {key: value for key, value in spec.items() if key not in ("state", "networks")}
        version = digest([container.id, record.to_json() if record else None, to_json(lasting)])[:16]
        owners = self._owners(container, cast("Spec", from_json(dict(made_from))), spec)
        return Observed(resource, spec, mark, health, reason, version, outputs, False, staged, owners=owners)

    def _owners(self, container: Container, left: Spec, now: Spec) -> Mapping[str, Owner]:
        """How fields came to read otherwise than we left them: the engine knows by what call and when, not by whom."""
        moved = [name for name in UPDATED if left and not equal(left.get(name), now.get(name))]
        at = self._engine.last(container.id, "update") if moved else None
        return {} if at is None else {f"/{name}": Owner("docker update", at) for name in moved}

    def owns(self, resource: ResourceId, mark: Mark | None) -> bool:
        """Whether a mark is this installation's, of this very resource."""
        return Observed(resource, {}, mark).owned_by(self._installation)

    def machine(self) -> Machine:
        """What the engine's machine has; asked once."""
        if self._all is None:
            with self._engine.calls("asking for its machine"):
                info = cast("Mapping[str, Any]", self._engine.api.info())
            self._all = Machine(int(info.get("NCPU") or 0), int(info.get("MemTotal") or 0))
        return self._all

    def forget(self, service: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._seen.pop(service, None)

    def _environment_of(self, container: Container) -> Sequence[str]:
        """Variables that come with the image, kept by its id."""
        image = str(container.report.get("Image") or "")
        if image not in self._image_env:
            found = self._engine.image(image)
            config = cast("Mapping[str, Any]", (found or {}).get("Config") or {})
            self._image_env[image] = tuple(config.get("Env") or ())
        return self._image_env[image]
