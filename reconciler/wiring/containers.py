"""What containers need: the engine of a target or of the machine, the image registry, and which engine `auto` means."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.artifacts.images.settings import ImageSettings
from reconciler.core.errors import InvalidError, ReconcilerError

if TYPE_CHECKING:
    from reconciler.artifacts.images.acr_service import AcrService
    from reconciler.artifacts.images.builder import Builder
    from reconciler.artifacts.images.driver import ImagesDriver
    from reconciler.containers.engine import Engine
    from reconciler.core.contents import Contents
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Renderer
    from reconciler.engine.secrets import Keyring
    from reconciler.settings import Settings
    from reconciler.targets.local.docker.driver import DockerDriver
    from reconciler.targets.local.docker.render import Naming
    from reconciler.targets.local.driver import EngineDriver, LocalDriver
    from reconciler.targets.local.render import Choice
    from reconciler.wiring.places import Places


def image_settings(settings: Settings | None) -> ImageSettings:
    """The operator's settings for images."""
    from reconciler.core.deployment import Registry
    from reconciler.core.secrets import SecretRef

    if settings is None:
        return ImageSettings()
    own = settings.images
    registry = None
    if address := registry_of(settings):
        source, _, name = own.registry_password.partition(":")
        password = SecretRef(f"operator-{source}", name) if name else None
        registry = Registry(address, own.registry_username or None, password)
    return ImageSettings(
        own.base,
        registry,
        own.offline,
        own.network,
        own.build_seconds,
        own.parallel,
        own.retain_seconds,
        own.retain_count,
        own.platforms,
    )


def registry_of(settings: Settings) -> str:
    """Where images are pushed, with a path; "" for nowhere. What a registry builds stays in it.

    Raises:
        InvalidError: A registry is to build, and settings are missing, or it is to push to another one.
    """
    own = settings.images
    address = own.registry.rstrip("/")
    if own.platforms and (own.builder == "acr" or not address):
        why = "a registry builds for one" if own.builder == "acr" else "only a registry keeps them together"
        raise InvalidError(
            f"images.platforms asks for architectures by name, and {why}",
            hint="set images.acr.architecture in its place" if own.builder == "acr" else "set images.registry, too",
        )
    if own.builder != "acr":
        return address
    named = {"registry": own.acr.registry, "resourceGroup": own.acr.resource_group}
    named["subscription"] = own.acr.subscription or settings.azure.subscription
    if missing := [f"images.acr.{name}" for name, value in named.items() if not value]:
        raise InvalidError(
            f"images.builder is acr, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
            hint="say which registry builds, or leave images.builder out",
        )
    host = acr_host(settings)
    if address and address != host and not address.startswith(f"{host}/"):
        raise InvalidError(
            f"images.registry is {address}, and images are built at {host}",
            hint="leave images.registry out, or give a path at that registry",
        )
    return address or host


def acr_host(settings: Settings) -> str:
    """Where the registry that builds answers engines."""
    from reconciler.azure.login import REGISTRY_SUFFIXES

    acr = settings.images.acr
    return acr.host or f"{acr.registry.lower()}.{REGISTRY_SUFFIXES[settings.azure.cloud]}"


def acr_service(settings: Settings) -> AcrService:
    """The Azure Container Registry that builds."""
    from reconciler.artifacts.images.acr_service import AcrPlace, AcrService
    from reconciler.azure.login import credential_of
    from reconciler.wiring.operator import azure_login

    acr = settings.images.acr
    login = azure_login(settings, os.environ)
    subscription = acr.subscription or settings.azure.subscription
    host = acr_host(settings)
    place = AcrPlace(acr.registry, acr.resource_group, subscription, host, login.management, login.transport)
    return AcrService(place, lambda: credential_of(login))


def revealing(reveal: Callable[[Any], str]) -> Callable[[Any], str]:
    """Reveals what manifests refer to by their rules, and what the operator refers to directly."""
    from reconciler.core.errors import TerminalError
    from reconciler.core.secrets import SecretRef

    def of(secret: Any) -> str:
        if not isinstance(secret, SecretRef) or not secret.source.startswith("operator-"):
            return reveal(secret)
        try:
            if secret.source == "operator-env":
                return os.environ[secret.name]
            return Path(secret.name).read_text(encoding="utf-8").strip()
        except (KeyError, OSError, UnicodeDecodeError) as error:
            where = f"{secret.source.removeprefix('operator-')}:{secret.name}"
            raise TerminalError(f"the registry's password cannot be read from {where}") from error

    return of


def images_driver(
    places: Places,
    settings: Settings | None,
    contents: Contents,
    model_root: Callable[[Sequence[Mapping[str, Any]]], Path],
    reveal: Callable[[Any], str],
    installation: str,
) -> ImagesDriver:
    """The driver of `registry/images`, with the machine's own engine or a registry that builds."""
    from reconciler.artifacts.images.driver import ImagesDriver, Making
    from reconciler.artifacts.images.engine_builder import EngineBuilder
    from reconciler.containers.engine import Engine
    from reconciler.containers.place import find_place
    from reconciler.serving import RUNTIME_VERSION

    own = image_settings(settings)
    engine: list[Engine] = []

    def connect() -> Engine:
        if not engine:
            engine.append(Engine(find_place({}, os.environ)))
        return engine[0]

    if settings is not None and settings.images.builder == "acr":
        from reconciler.artifacts.images.acr import AcrBuilder

        acr = settings.images.acr
        folder = places.state_dir / "images" / ".work"
        builder: Builder = AcrBuilder(acr_service(settings), folder, acr.architecture, acr.poll_seconds)
    elif own.platforms:
        from reconciler.artifacts.images.buildx_builder import BuildxBuilder
        from reconciler.containers.buildx import Buildx

        builder = BuildxBuilder(connect, Buildx(find_place({}, os.environ), os.environ), own)
    else:
        builder = EngineBuilder(connect, own)

    def maker(folder: Path) -> Any:
        from reconciler.artifacts.environments.runtime import runtime_path
        from reconciler.artifacts.environments.settings import EnvironmentSettings
        from reconciler.artifacts.environments.uv import Uv
        from reconciler.artifacts.images.build import ImageBuilder, Parts

        dumped = settings.environments.model_dump() if settings else {}
        uv = Uv(EnvironmentSettings(**dumped), os.environ, folder / "uv")

        def models(of: Sequence[Mapping[str, Any]]) -> Path:
            root = model_root(of)
            return root if len(of) != 1 else root.parent.parent

        parts = Parts(contents, lambda: runtime_path(places.state_dir), models, uv)
        return ImageBuilder(builder, parts, own, places.state_dir, folder)

    making = Making(builder, maker, revealing(reveal))
    return ImagesDriver(places.state_dir, own, making, installation, RUNTIME_VERSION)


def docker_driver(
    target: Target, places: Places, settings: Settings | None, keyring: Keyring, id_: str
) -> DockerDriver:
    """The docker engine's driver of a local target."""
    from reconciler.containers.engine import Engine
    from reconciler.containers.place import find_place
    from reconciler.targets.local.docker.driver import DockerDriver
    from reconciler.targets.local.docker.swap import Parts
    from reconciler.targets.local.keys import key_digests

    own = image_settings(settings)
    reveal = revealing(keyring.reveal)

    service = acr_service(settings) if settings is not None and settings.images.builder == "acr" else None

    def login(reference: str) -> Mapping[str, str] | None:
        registry = own.registry
        if registry is None or not reference.startswith(f"{registry.address}/"):
            return None
        if registry.password is None:
            return service.login() if service is not None else None
        return {"username": str(registry.username or ""), "password": reveal(registry.password)}

    parts = Parts(
        reveal,
        keyring.seal,
        lambda spec: key_digests(reveal, spec),
        login,
        own.registry.address if own.registry else "",
    )
    folder = places.services(target.name) / ".containers"
    return DockerDriver(target.name, id_, Engine(find_place(target.block, os.environ)), parts, naming(settings), folder)


def naming(settings: Settings | None) -> Naming:
    """What decides what containers are made from."""
    from reconciler.targets.local.docker.render import Naming

    if settings is None:
        return Naming(ImageSettings().default_base)
    return Naming(settings.images.base, registry_of(settings), settings.docker.volumes)


def local_renderer(target: Target, settings: Settings | None) -> Renderer:
    """The half of a local target's driver that offline plans need; the machine is not looked at."""
    return renderer_of(target, naming(settings), Declared(target), containers=False)


def renderer_of(target: Target, named: Naming, choice: Choice, *, containers: bool) -> Renderer:
    """What renders for a local target.

    Args:
        choice: The engine of services that ask for none.
        containers: Whether there may be containers of the target.
    """
    from reconciler.targets.local.process.render import ProcessRenderer
    from reconciler.targets.local.render import LocalRenderer

    def docker() -> Renderer:
        from reconciler.targets.local.docker.render import DockerRenderer

        here = not str(target.block.get("dockerHost") or "unix:").startswith(("tcp:", "ssh:"))
        return DockerRenderer(target.name, named, here=here)

    return LocalRenderer(ProcessRenderer(target.name), docker, choice, lambda: containers)


def local_driver(
    target: Target, process: EngineDriver, places: Places, settings: Settings | None, keyring: Keyring, id_: str
) -> LocalDriver:
    """A local target's driver, with both engines."""
    from reconciler.targets.local.driver import LocalDriver

    folder = places.services(target.name)
    choice = EngineChoice(target, folder / ".engine.json")
    return LocalDriver(
        process,
        lambda: docker_driver(target, places, settings, keyring, id_),
        choice,
        lambda: (folder / ".containers").is_dir(),
    )


class EngineChoice:
    """Which engine `auto` means at a target: docker where an engine answers; once applied to, it stays.

    Args:
        file: Where it is recorded.
    """

    def __init__(self, target: Target, file: Path) -> None:
        self._target = target
        self._file = file

    def find(self) -> tuple[str, str]:
        """The engine, and why."""
        asked = str(self._target.block.get("engine") or "auto")
        if asked != "auto":
            return asked, ""
        recorded = self._recorded()
        return (recorded, "") if recorded else self._look()

    def keep(self) -> None:
        """Records it, so that it does not change when an engine comes or goes."""
        if str(self._target.block.get("engine") or "auto") != "auto" or self._recorded():
            return
        engine, why = self.find()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"engine": engine, "why": why}) + "\n", encoding="utf-8")

    def _recorded(self) -> str:
        """The engine of the record; "" for none that can be read, as a write cut short leaves it."""
        try:
            return str(json.loads(self._file.read_bytes())["engine"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _look(self) -> tuple[str, str]:
        from reconciler.containers.engine import Engine
        from reconciler.containers.place import find_place

        try:
            place = find_place(self._target.block, os.environ)
            if place.here and not Path(place.url.removeprefix("unix://")).exists():
                return "process", f"there is no container engine at {place.url}"
            engine = Engine(place)
            version = engine.version()
            engine.close()
        except (InvalidError, ReconcilerError) as error:
            return "process", error.message
        return "docker", f"container engine {version} answers at {place.url}, {place.origin}"


class Declared:
    """The engine that a target declares; without looking at the machine, `auto` reads as processes."""

    def __init__(self, target: Target) -> None:
        self._asked = str(target.block.get("engine") or "auto")

    def find(self) -> tuple[str, str]:
        """The engine; there is nothing to say of why."""
        return ("process" if self._asked == "auto" else self._asked), ""

    def keep(self) -> None:
        """Nothing is ever applied to."""
