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
    if own.registry:
        source, _, name = own.registry_password.partition(":")
        password = SecretRef(f"operator-{source}", name) if name else None
        registry = Registry(own.registry.rstrip("/"), own.registry_username or None, password)
    return ImageSettings(
        own.base, registry, own.offline, own.network, own.build_seconds, own.parallel, own.retain_seconds
    )


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
    """The driver of `registry/images`, on the machine's own engine."""
    from reconciler.artifacts.images.driver import ImagesDriver, Making
    from reconciler.containers.engine import Engine
    from reconciler.containers.place import find_place
    from reconciler.serving import RUNTIME_VERSION

    own = image_settings(settings)
    engine: list[Engine] = []

    def connect() -> Engine:
        if not engine:
            engine.append(Engine(find_place({}, os.environ)))
        return engine[0]

    def builder(folder: Path) -> Any:
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
        return ImageBuilder(connect(), parts, own, places.state_dir, folder)

    making = Making(builder, revealing(reveal))
    return ImagesDriver(places.state_dir, own, connect, making, installation, RUNTIME_VERSION)


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

    def login(reference: str) -> Mapping[str, str] | None:
        registry = own.registry
        if registry is None or registry.password is None or not reference.startswith(f"{registry.address}/"):
            return None
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
    return Naming(settings.images.base, settings.images.registry.rstrip("/"), settings.docker.volumes)


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
        try:
            return str(json.loads(self._file.read_bytes())["engine"]), ""
        except (OSError, ValueError, KeyError, TypeError):
            return self._look()

    def keep(self) -> None:
        """Records it, so that it does not change when an engine comes or goes."""
        if str(self._target.block.get("engine") or "auto") != "auto" or self._file.exists():
            return
        engine, why = self.find()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"engine": engine, "why": why}) + "\n", encoding="utf-8")

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
