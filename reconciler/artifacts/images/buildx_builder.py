"""Images for several architectures: one built for each, pushed, and joined under one name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, cast

from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.base import Base, base_of
from reconciler.artifacts.images.builder import Credentials, Log, Order, Standing
from reconciler.artifacts.images.engine_builder import EngineBuilder, labels_of
from reconciler.artifacts.images.recipe import LABEL_IDENTITY
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.containers.buildx import Buildx, CancelledError, Logins, Run
from reconciler.containers.engine import Engine, split_reference
from reconciler.core.errors import TerminalError, UnavailableError


class BuildxBuilder(EngineBuilder):
    """Implements `builder.Builder` on an engine whose docker command has buildx."""

    def __init__(self, engine: Callable[[], Engine], buildx: Buildx, settings: ImageSettings) -> None:
        super().__init__(engine, settings)
        self._buildx = buildx

    @property
    def platforms(self) -> Sequence[str]:
        """The operator's."""
        return self._settings.platforms

    def find(self, identity: str, reference: str) -> Standing | None:
        """The image of the engine's own machine, if the engine has those of all architectures."""
        engine = self._engine()
        found: list[Mapping[str, Any]] = []
        for platform in self.platforms:
            image = engine.image(_named(reference, platform))
            if image is None or labels_of(image).get(LABEL_IDENTITY) != identity:
                return None
            found.append(image)
        with engine.calls("asking for its version"):
            own = str(engine.api.version(api_version=False).get("Arch"))
        image = next((item for item in found if item.get("Architecture") == own), found[0])
        return Standing(str(image["Id"]), labels_of(image), int(image.get("Size") or 0))

    def base(self, reference: str, platform: str, credentials: Credentials, limits: Limits, log: Log) -> Base:
        """The base image of an architecture, by its digest, so that no name on the engine changes its meaning."""
        self._buildx.check()
        logins = self._logins(reference, credentials)
        raw = self._buildx.manifest(reference, logins)
        entries = cast("Sequence[Mapping[str, Any]]", json.loads(raw).get("manifests") or ())
        by_platform = {_platform(entry): str(entry["digest"]) for entry in entries}
        if not entries:
            by_platform[platform] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if platform not in by_platform:
            raise _missing(reference, platform, sorted(by_platform))
        exact = f"{split_reference(reference)[0]}@{by_platform[platform]}"
        log(f"{platform}: {exact}")
        found = base_of(self._engine(), exact, credentials.base, platform)
        image = self._engine().image(found.id) or {}
        if (has := f"{image.get('Os')}/{image.get('Architecture')}") != platform:
            raise _missing(reference, platform, [has])
        return replace(found, reference=exact)

    def build(self, context: IO[bytes], order: Order, limits: Limits, log: Log) -> None:
        """For one architecture, under a name of its own."""
        logins = self._logins(order.reference, order.credentials)
        tag = _named(order.reference, order.platform)
        network = self._settings.network
        try:
            self._buildx.build(context, tag, order.platform, logins, _run(limits, log), network)
        except CancelledError:
            raise Stopped from None

    def publish(self, image: Standing, order: Order, limits: Limits, log: Log) -> str:
        """Pushes each, joins them, and names the engine's own as if it had been pulled."""
        parts = [_named(order.reference, platform) for platform in self.platforms]
        for part in parts:
            self._push(part, order.credentials, limits, log)
        logins = self._logins(order.reference, order.credentials)
        try:
            self._buildx.join(order.reference, parts, logins, _run(limits, log))
        except CancelledError:
            raise Stopped from None
        self._name(image.id, order.reference)
        engine = self._engine()
        with engine.calls(f"looking at {order.reference}"):
            login = dict(order.credentials.push or {}) or None
            told = cast("Mapping[str, Any]", engine.api.inspect_distribution(order.reference, auth_config=login))
        digest = str(cast("Mapping[str, Any]", told.get("Descriptor") or {}).get("digest") or "")
        if not digest:
            raise UnavailableError(f"{order.reference} was pushed and its registry does not say its digest")
        return digest

    def _logins(self, reference: str, credentials: Credentials) -> Logins:
        logins: dict[str, Mapping[str, str]] = {}
        if credentials.push:
            logins[_host(self._settings.registry.address if self._settings.registry else reference)] = credentials.push
        if credentials.base:
            logins[_host(credentials.base_registry or reference)] = credentials.base
        return logins


def _missing(reference: str, platform: str, has: Sequence[str]) -> TerminalError:
    return TerminalError(
        f"base image {reference} is not there for {platform}; its registry has {', '.join(has)}",
        hint="name a base image that is there for all of images.platforms",
    )


def _run(limits: Limits, log: Log) -> Run:
    return Run(limits.stop, limits.deadline, log)


def _named(reference: str, platform: str) -> str:
    """The name of one architecture's image: `…:tag-linux-arm64`."""
    return f"{reference}-{platform.replace('/', '-')}"


def _platform(entry: Mapping[str, Any]) -> str:
    told = cast("Mapping[str, Any]", entry.get("platform") or {})
    return f"{told.get('os')}/{told.get('architecture')}"


def _host(reference: str) -> str:
    """The key that the docker command keeps credentials under."""
    host = reference.partition("/")[0]
    return "https://index.docker.io/v1/" if host == "docker.io" or "/" not in reference else host
