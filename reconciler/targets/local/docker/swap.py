"""The calls that make, promote and take away a service's containers; each can be repeated after a crash.

A new version starts on a network of its own, where no port is published, and is reached there by its address. Promoting
it takes the old one off its networks, which frees the port, and puts the new one on them, which publishes it: two
calls, about a fifth of a second, while the new version is warm.
"""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from reconciler.containers.engine import Engine, MissingError
from reconciler.core.errors import BusyError, ConflictError, ForeignError, TargetError, TerminalError
from reconciler.core.resources import Mark
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec, digest
from reconciler.targets.local.docker.config import (
    KEYS_FOLDER,
    LABEL,
    LABEL_FIRST,
    LABEL_TARGET,
    STAGING_NETWORK,
    answers_at,
    configuration,
    labels_of,
    section,
)
from reconciler.targets.local.docker.look import RETIRED_SUFFIX, STAGED_SUFFIX, Container
from reconciler.targets.local.docker.render import SERVING_NETWORK

_UID = 65532


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a container come from.

    Args:
        reveal: The text of a secret, or of a reference to one.
        seal: Makes a secret of a text, by which what the engine reports is compared.
        key_digests: What the runtime checks keys against; None if no key is asked for.
        login: Credentials to pull an image by its reference with; None for none.
        registry: Address that built images are pulled from; "" for none.
    """

    reveal: Callable[[Secret | SecretRef], str]
    seal: Callable[[str], Secret]
    key_digests: Callable[[Spec], list[dict[str, str]] | None]
    login: Callable[[str], Mapping[str, str] | None]
    registry: str = ""


def version_of(spec: Spec) -> str:
    """What tells versions apart: 64 hex digits over the spec without what changes in place."""
    auth = {key: value for key, value in section(spec, "auth").items() if key != "keys"}
    limits = {k: v for k, v in section(spec, "limits").items() if k not in ("cpuCores", "memoryGb")}
    return digest({**spec, "auth": auth, "limits": limits, "restart": "", "state": ""})


def networks_of(spec: Spec) -> frozenset[str]:
    """Names of the networks that a version serves on."""
    return frozenset(str(name) for name in cast("Sequence[str]", spec["networks"]))


@dataclass(frozen=True, slots=True)
class Lender:
    """What serves under a service's former name, and gives its port away if that is the one wanted.

    Args:
        networks: Those that it serves on.
    """

    container: Container
    networks: frozenset[str]


def _port_of(container: Container) -> str:
    """The port that it publishes where it is on a network for that; "" for none."""
    return answers_at(container.report).get("HostPort") or ""


class Swap:
    """The containers of one service.

    Args:
        target: Name of the target.
        name: The engine's name of the serving container.
    """

    def __init__(self, engine: Engine, parts: Parts, target: str, service: str, name: str) -> None:
        self._engine = engine
        self._parts = parts
        self._target = target
        self._service = service
        self._name = name

    @property
    def volume(self) -> str:
        """Name of the volume with the key file."""
        return f"{self._name}.keys"

    def stage(self, spec: Spec, mark: Mark, serving: Container | None, before: int = 0, *, tested: bool) -> None:
        """Makes and starts a new version on the staging network; one that stood there goes first.

        Args:
            before: Port of a version that is gone; 0 for none.
            tested: Whether it must not be reached by others before it is promoted. A first version that need not be
                hidden starts where it serves, which spares the engine a network more and a network less.
        """
        engine = self._engine
        self._image(spec)
        first = serving is None and not tested and networks_of(spec) == frozenset({SERVING_NETWORK})
        if not first:
            self._network()
        self._remove_own(f"{self._name}{STAGED_SUFFIX}")
        keys = self._parts.key_digests(spec)
        volume = self._volume() if keys is not None else ""
        port = self._port(spec, serving, before)
        labels = labels_of(self._target, mark.to_json(), spec) | ({LABEL_FIRST: "true"} if first else {})
        network = SERVING_NETWORK if first else STAGING_NETWORK
        reveal = self._parts.reveal
        config = configuration(spec, self._service, version_of(spec), port, labels, reveal, volume, network)
        with engine.calls(f"making a container for {self._service}"):
            made = engine.api.create_container_from_config(config, f"{self._name}{STAGED_SUFFIX}")
        container = str(made["Id"])
        try:
            if keys is not None:
                self.write_keys(container, keys)
            with engine.calls(f"starting {self._service}"):
                engine.api.start(container)
        except TargetError:
            engine.remove(container)
            raise

    def promote(self, spec: Spec, staged: Container, serving: Container | None, lender: Lender | None = None) -> None:
        """Gives the staged version the port and the name, and removes the one before.

        Args:
            lender: What serves under the service's former name.

        Raises:
            PortTakenError: Somebody else has the port; the one before serves again.
        """
        networks = networks_of(spec)
        if staged.networks - {STAGING_NETWORK} != networks:
            before = serving.networks if serving is not None else frozenset[str]()
            if serving is not None:
                self._leave(serving.id, before)
            if lender is not None and _port_of(lender.container) == _port_of(staged):
                self._leave(lender.container.id, lender.container.networks)
            try:
                self._join(staged.id, sorted(networks - staged.networks))
            except TargetError:
                # A network that a container once failed to join never publishes its port again: stage another one.
                self._engine.remove(staged.id)
                if serving is not None:
                    with suppress(TargetError):
                        self._join(serving.id, sorted(before))
                if lender is not None:
                    self.give_back(lender)
                raise
        self.finish(staged, serving)

    def finish(self, promoted: Container, before: Container | None) -> None:
        """Gives a version that is on its networks the name, too, and removes the one before."""
        if before is not None and before.id != promoted.id:
            self._rename(before, f"{self._name}{RETIRED_SUFFIX}")
        self._rename(promoted, self._name)
        self._leave(promoted.id, promoted.networks & {STAGING_NETWORK})
        if before is not None and before.id != promoted.id:
            self._engine.remove(before.id)
        self._remove_own(f"{self._name}{RETIRED_SUFFIX}")

    def give_back(self, lender: Lender) -> None:
        """Lets a container that gave its port away publish it again."""
        report = self._engine.inspect(lender.container.id)
        if report is not None and Container(report).retired:
            with suppress(TargetError):
                self._join(lender.container.id, sorted(lender.networks))

    def discard(self) -> None:
        """Removes what is staged and what was left of a replaced version."""
        self._remove_own(f"{self._name}{STAGED_SUFFIX}")
        self._remove_own(f"{self._name}{RETIRED_SUFFIX}")

    def delete(self, containers: Sequence[Container], drain_seconds: float) -> None:
        """Stops and removes all of a service's containers, then the volume with its keys."""
        for container in containers:
            with suppress(MissingError), self._engine.calls(f"stopping {self._service}"):
                self._engine.api.stop(container.id, timeout=int(drain_seconds))
            self._engine.remove(container.id)
        with suppress(MissingError, ConflictError), self._engine.calls("removing the volume of keys"):
            if self._owns_volume():
                self._engine.api.remove_volume(self.volume)

    def write_keys(self, container: str, keys: Sequence[Mapping[str, str]]) -> None:
        """Puts the key file where the runtime reads it; it holds digests, no key."""
        data = json.dumps({"keys": list(keys)}).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("keys.json")
            entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o400, _UID, _UID
            tar.addfile(entry, io.BytesIO(data))
        self._engine.put(container, KEYS_FOLDER, archive.getvalue())

    # -- details

    def _image(self, spec: Spec) -> None:
        reference = str(spec["image"])
        if self._engine.image(reference) is not None:
            return
        if not spec.get("readyMade") and not self._parts.registry:
            raise BusyError(f"{self._engine} does not have image {reference} yet", retry_after=1.0)
        try:
            self._engine.pull(reference, self._parts.login(reference))
        except MissingError as error:
            raise TerminalError(f"there is no image {reference}: {error.message}", hint="check `image`") from error

    def _network(self) -> None:
        with suppress(MissingError), self._engine.calls("looking for the staging network"):
            self._engine.api.inspect_network(STAGING_NETWORK)
            return
        with suppress(ConflictError), self._engine.calls("making the staging network"):
            self._engine.api.create_network(
                STAGING_NETWORK, driver="bridge", internal=True, check_duplicate=True, labels={LABEL: "staging"}
            )

    def _volume(self) -> str:
        with suppress(MissingError), self._engine.calls("looking for the volume of keys"):
            if not self._owns_volume():
                raise ForeignError(f"volume {self.volume} exists and is not ours", hint="remove or rename it")
            return self.volume
        with self._engine.calls("making the volume of keys"):
            self._engine.api.create_volume(self.volume, labels={LABEL_TARGET: self._target})
        return self.volume

    def _owns_volume(self) -> bool:
        found = cast("Mapping[str, Any]", self._engine.api.inspect_volume(self.volume))
        return cast("Mapping[str, str]", found.get("Labels") or {}).get(LABEL_TARGET) == self._target

    def _port(self, spec: Spec, serving: Container | None, before: int) -> int:
        """The port to publish: the one asked for, else the one it has or had, else a free one."""
        if spec.get("port") is not None:
            return int(str(spec["port"]))
        if serving is not None and (known := _port_of(serving)):
            return int(known)
        with suppress(OSError), socket.create_server((str(spec["host"]), before)) as probe:
            return int(probe.getsockname()[1])
        with socket.create_server((str(spec["host"]), 0)) as probe:
            return int(probe.getsockname()[1])

    def _leave(self, container: str, networks: frozenset[str] | set[str]) -> None:
        for name in sorted(networks):
            with suppress(MissingError), self._engine.calls(f"taking {self._service} off network {name}"):
                try:
                    self._engine.api.disconnect_container_from_network(container, name, force=True)
                except Exception as error:
                    if "is not connected" not in str(error):
                        raise

    def _join(self, container: str, networks: Sequence[str]) -> None:
        for name in networks:
            aliases = [self._service] if name != SERVING_NETWORK else None
            with self._engine.calls(f"putting {self._service} on network {name}"):
                self._engine.api.connect_container_to_network(container, name, aliases=aliases)

    def _rename(self, container: Container, name: str) -> None:
        if container.name == name:
            return
        with self._engine.calls(f"naming {self._service}"):
            self._engine.api.rename(container.id, name)

    def _remove_own(self, name: str) -> None:
        """Removes one of our own auxiliary containers; a foreign one of that name is left alone."""
        report = self._engine.inspect(name)
        if report is None:
            return
        if not Container(report).ours:
            raise ForeignError(f"container {name} exists and is not ours", hint="remove or rename it")
        self._engine.remove(str(report["Id"]))
