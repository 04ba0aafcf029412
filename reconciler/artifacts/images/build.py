"""Builds one image from its spec: base, lock, context, engine, push. Nothing is left behind by a build that fails."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reconciler.artifacts.environments.lock import Lock, LockStore, Platform, Wanted, resolve, wheels_only
from reconciler.artifacts.environments.uv import Limits, Stopped, Uv
from reconciler.artifacts.images.base import Base, base_of
from reconciler.artifacts.images.context import Context
from reconciler.artifacts.images.recipe import (
    LABEL_IDENTITY,
    LABEL_LOCK,
    LABEL_RECIPE,
    LABEL_RUNTIME,
    Recipe,
)
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.containers.engine import Engine, said, split_reference
from reconciler.core.contents import Contents
from reconciler.core.errors import InvalidError, TargetError, TerminalError, UnavailableError

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of an image come from.

    Args:
        contents: Bytes by object id.
        runtime_path: Folder that holds the scoring runtime's code.
        model_root: Lays models (`name`, `version`, `digest`) out on disk and returns the folder `azureml-models`.
        uv: Resolves and downloads.
    """

    contents: Contents
    runtime_path: Callable[[], Path]
    model_root: Callable[[Sequence[Mapping[str, Any]]], Path]
    uv: Uv


@dataclass(frozen=True, slots=True)
class Built:
    """What a build gave.

    Args:
        id: The engine's id of the image. digest: The registry's digest of it, "" if it was not pushed.
        lock: Digest of the lock that was installed. python: Version of its Python.
    """

    id: str
    digest: str
    lock: str
    python: str
    size: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """For registries, revealed at the moment of need.

    Args:
        base: For pulling the base image. push: For pushing the image.
    """

    base: Mapping[str, str] | None = None
    push: Mapping[str, str] | None = None


class ImageBuilder:
    """Builds images on one engine.

    Args:
        state_dir: Where locks are kept.
        folder: A folder of ours for what a build needs on disk.
    """

    def __init__(self, engine: Engine, parts: Parts, settings: ImageSettings, state_dir: Path, folder: Path) -> None:
        self._engine = engine
        self._parts = parts
        self._settings = settings
        self._locks = LockStore(state_dir)
        self._folder = folder

    def build(
        self, spec: Mapping[str, Any], credentials: Credentials, limits: Limits, log: Callable[[str], None]
    ) -> Built:
        """Makes the image of a spec (the normal form of `registry/images`), unless the engine has its content already.

        Raises:
            Stopped: `limits.stop` was set. TargetError: It failed; the message ends with the last lines.
        """
        reference = str(spec["reference"])
        known = self._known(str(spec["identity"]))
        if known is None:
            self._make(spec, credentials, limits, log)
            known = self._known(str(spec["identity"]))
            if known is None:
                raise UnavailableError(f"{reference} was built and cannot be found on the engine")
        else:
            log("the engine has this content already; nothing is built")
        image = str(known["Id"])
        self._tag(image, reference)
        digest = self._push(reference, credentials, limits, log) if spec.get("pushed") else ""
        labels = cast("Mapping[str, str]", cast("Mapping[str, Any]", known.get("Config") or {}).get("Labels") or {})
        python = labels.get("dev.reconciler.image.python", "")
        return Built(image, digest, labels.get(LABEL_LOCK, ""), python, int(known.get("Size") or 0))

    def _known(self, identity: str) -> Mapping[str, Any] | None:
        listed = self._engine.images(f"{LABEL_IDENTITY}={identity}")
        found = [image for item in listed if (image := self._engine.image(str(item["Id"]))) is not None]
        return max(found, key=lambda image: str(image.get("Created")), default=None)

    def _tag(self, image: str, reference: str) -> None:
        repository, _, tag = split_reference(reference)
        with self._engine.calls(f"naming {reference}"):
            self._engine.api.tag(image, repository, tag)

    def _make(
        self, spec: Mapping[str, Any], credentials: Credentials, limits: Limits, log: Callable[[str], None]
    ) -> None:
        base_reference = str(spec["base"])
        log(f"base image {base_reference}")
        base = base_of(self._engine, base_reference, credentials.base)
        lock = self._lock(spec, base, limits, log)
        entry = cast("Mapping[str, Any]", spec["entry"])
        models = cast("Sequence[Mapping[str, Any]]", spec.get("models") or ())
        recipe = Recipe(
            base_reference,
            str(entry["script"]),
            [(str(model["name"]), str(model["version"])) for model in models],
            str(spec.get("extraSteps") or ""),
            self._settings.offline,
        )
        labels = {
            LABEL_IDENTITY: str(spec["identity"]),
            LABEL_RECIPE: str(spec["recipe"]),
            LABEL_RUNTIME: str(spec["runtime"]),
            LABEL_LOCK: lock.digest,
            "dev.reconciler.image.python": ".".join(map(str, base.python)),
            "org.opencontainers.image.title": split_reference(str(spec["reference"]))[0].rpartition("/")[2],
            "org.opencontainers.image.version": str(spec["identity"])[:12],
            "org.opencontainers.image.base.name": base_reference,
            "org.opencontainers.image.base.digest": base.id,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as archive:
            context = Context(archive)
            context.text("Dockerfile", recipe.dockerfile())
            self._fill(context, spec, models, lock, base, limits, log)
            context.close()
            log(f"sending {archive.tell() / 1e6:.1f} MB to the engine")
            archive.seek(0)
            self._run(archive, labels, limits, log)

    def _fill(
        self,
        context: Context,
        spec: Mapping[str, Any],
        models: Sequence[Mapping[str, Any]],
        lock: Lock,
        base: Base,
        limits: Limits,
        log: Callable[[str], None],
    ) -> None:
        from uv import find_uv_bin

        context.text("build/requirements.txt", lock.text)
        if self._settings.offline:
            self._packages(context, lock, base, limits, log)
        program = Path(find_uv_bin())
        with program.open("rb") as source:
            context.stream("build/uv", source, program.stat().st_size, executable=True)
        context.tree("runtime", self._parts.runtime_path())
        context.folder("code")
        entry = cast("Mapping[str, Any]", spec["entry"])
        try:
            for file in self._parts.contents.files(str(entry["source"])):
                path = file.path or str(entry["script"])
                with self._parts.contents.open(file.object_id) as source:
                    context.stream(f"code/{path}", source, file.size, executable=file.executable)
        except InvalidError as error:
            raise TerminalError(f"the source of the entry script cannot be read: {error.message}") from error
        context.folder("models")
        if models:
            context.tree("models", self._parts.model_root(models))

    def _packages(self, context: Context, lock: Lock, base: Base, limits: Limits, log: Callable[[str], None]) -> None:
        """Installs for the image's platform here, so that the build needs no network."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text(lock.text, encoding="utf-8")
            place = Path(folder) / "packages"
            arguments = ["pip", "install", "--target", str(place), "--require-hashes", "--requirement", str(file)]
            arguments += ["--python-version", base.short, "--python-platform", base.platform, "--link-mode", "copy"]
            self._parts.uv.run([*arguments, *wheels_only(), *self._parts.uv.index_arguments], limits, log)
            context.tree("build/packages", place)

    def _lock(self, spec: Mapping[str, Any], base: Base, limits: Limits, log: Callable[[str], None]) -> Lock:
        wanted = Wanted(str(spec["environment"]), tuple(spec["requirements"]), bool(spec.get("rawRequests")))
        key = f"{base.short}-{base.platform}"
        if lock := self._locks.recorded(wanted, key):
            log(f"using the lock of the first build, {lock.digest}")
            return lock
        log(f"resolving for Python {base.short} on {base.platform}")
        platform = Platform(key, ("--python-version", base.short, "--python-platform", base.platform))
        place = self._folder / f"resolving-{str(spec['identity'])[:12]}"
        lock = resolve(self._parts.uv, wanted, platform, place, limits, log)
        self._locks.record(wanted, lock)
        return lock

    def _run(self, archive: Any, labels: Mapping[str, str], limits: Limits, log: Callable[[str], None]) -> None:
        with self._engine.calls("building"):
            lines = self._engine.api.build(
                fileobj=archive,
                custom_context=True,
                rm=True,
                forcerm=True,
                decode=True,
                labels=dict(labels),
                network_mode=None if self._settings.network == "default" else self._settings.network,
                timeout=int(max(1.0, limits.deadline - time.monotonic())),
            )
            self._follow(lines, "building", limits, log)

    def _push(self, reference: str, credentials: Credentials, limits: Limits, log: Callable[[str], None]) -> str:
        repository, _, tag = split_reference(reference)
        log(f"pushing {reference}")
        found = ""

        def note(line: Mapping[str, Any]) -> None:
            nonlocal found
            aux = cast("Mapping[str, Any]", line.get("aux") or {})
            found = str(aux.get("Digest") or found)

        with self._engine.calls(f"pushing {reference}"):
            lines = self._engine.api.push(
                repository, tag, stream=True, decode=True, auth_config=dict(credentials.push or {}) or None
            )
            self._follow(lines, f"pushing {reference}", limits, log, note, quiet=True)
        return found

    def _follow(
        self,
        lines: Iterator[Mapping[str, Any]],
        what: str,
        limits: Limits,
        log: Callable[[str], None],
        note: Callable[[Mapping[str, Any]], None] = lambda line: None,
        *,
        quiet: bool = False,
    ) -> None:
        """Reads a stream of the engine's to its end; closing it early makes the engine stop."""
        last: list[str] = []
        with closing(cast("Any", lines)):
            for line in lines:
                if limits.stop.is_set():
                    raise Stopped
                if time.monotonic() > limits.deadline:
                    raise UnavailableError(f"{what} took longer than {self._settings.build_seconds:.0f} s")
                note(line)
                if "error" in line:
                    text = _ESCAPES.sub("", str(line["error"]))
                    raise _with_last_lines(said(text, what), last)
                text = _ESCAPES.sub("", str(line.get("stream") or ("" if quiet else line.get("status") or ""))).strip()
                for part in filter(None, (part.strip() for part in text.split("\n"))):
                    last = [*last[1 - _LAST_LINES :], part]
                    log(part)


def _with_last_lines(error: TargetError, lines: Sequence[str]) -> TargetError:
    kept = [line for line in lines if not line.startswith(("Step ", "--->", "Removing intermediate"))]
    return type(error)("\n".join([error.message, *kept]), hint=error.hint, retry_after=error.retry_after)
