"""Makes one image from its spec: base, lock, context, and the builder's work."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from reconciler.artifacts.environments.lock import Lock, LockStore, Platform, Wanted, resolve, wheels_only
from reconciler.artifacts.environments.uv import Limits, Uv
from reconciler.artifacts.images.base import OLDEST_PYTHON, Base, unfit
from reconciler.artifacts.images.builder import Builder, Credentials, Log, Order
from reconciler.artifacts.images.context import Context
from reconciler.artifacts.images.recipe import (
    CONDA,
    LABEL_IDENTITY,
    LABEL_LOCK,
    LABEL_PYTHON,
    LABEL_RECIPE,
    LABEL_RUNTIME,
    Recipe,
)
from reconciler.artifacts.images.render import JAVA_HINT
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.containers.engine import split_reference
from reconciler.core.contents import Contents
from reconciler.core.errors import InvalidError, TerminalError, UnavailableError
from reconciler.core.values import digest


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
        id: The builder's id of the image. digest: The registry's digest of it, "" if it was not pushed.
        lock: Digest of the lock that was installed. python: Version of its Python.
    """

    id: str
    digest: str
    lock: str
    python: str
    size: int


class ImageBuilder:
    """Makes images with one builder.

    Args:
        state_dir: Where locks are kept.
        folder: A folder of ours for what a build needs on disk.
    """

    def __init__(self, builder: Builder, parts: Parts, settings: ImageSettings, state_dir: Path, folder: Path) -> None:
        self._builder = builder
        self._parts = parts
        self._settings = settings
        self._locks = LockStore(state_dir)
        self._folder = folder

    def build(self, spec: Mapping[str, Any], credentials: Credentials, limits: Limits, log: Log) -> Built:
        """Makes the image of a spec (the normal form of `registry/images`), unless its content is there already.

        Raises:
            Stopped: `limits.stop` was set. TargetError: It failed; the message ends with the last lines.
        """
        identity, reference = str(spec["identity"]), str(spec["reference"])
        order = Order(identity, reference, "", bool(spec.get("pushed")), credentials)
        image = self._builder.find(identity, reference)
        if image is None:
            for platform_ in self._builder.platforms:
                self._make(spec, replace(order, platform=platform_), limits, log)
            image = self._builder.find(identity, reference)
            if image is None:
                raise UnavailableError(f"{reference} was built and cannot be found")
        else:
            log("this content was built already")
        pushed = self._builder.publish(image, order, limits, log)
        labels = image.labels
        return Built(image.id, pushed, labels.get(LABEL_LOCK, ""), labels.get(LABEL_PYTHON, ""), image.size)

    def _make(self, spec: Mapping[str, Any], order: Order, limits: Limits, log: Log) -> None:
        base_reference = str(spec["base"])
        log(f"base image {base_reference}")
        base, conda = _with_conda(
            self._builder.base(base_reference, order.platform, order.credentials, limits, log), spec
        )
        lock = self._lock(spec, base, limits, log)
        entry = cast("Mapping[str, Any]", spec["entry"])
        models = cast("Sequence[Mapping[str, Any]]", spec.get("models") or ())
        stage = digest([base.id or base_reference, lock.digest, self._settings.offline, list(conda)])[:16]
        labels = {
            LABEL_IDENTITY: order.identity,
            LABEL_RECIPE: str(spec["recipe"]),
            LABEL_RUNTIME: str(spec["runtime"]),
            LABEL_LOCK: lock.digest,
            LABEL_PYTHON: ".".join(map(str, base.python or ())),
            "org.opencontainers.image.title": split_reference(order.reference)[0].rpartition("/")[2],
            "org.opencontainers.image.version": order.identity[:12],
            "org.opencontainers.image.base.name": base_reference,
            **({"org.opencontainers.image.base.digest": base.id} if base.id else {}),
        }
        recipe = Recipe(
            base.reference or base_reference,
            str(entry["script"]),
            [(str(model["name"]), str(model["version"])) for model in models],
            str(spec.get("extraSteps") or ""),
            self._settings.offline,
            conda,
            stage,
            labels,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as archive:
            context = Context(archive)
            context.text("Dockerfile", recipe.dockerfile())
            self._fill(context, spec, models, lock, base, limits, log)
            context.close()
            log(f"sending {archive.tell() / 1e6:.1f} MB to be built")
            archive.seek(0)
            self._builder.build(archive, replace(order, stage=stage), limits, log)

    def _fill(
        self,
        context: Context,
        spec: Mapping[str, Any],
        models: Sequence[Mapping[str, Any]],
        lock: Lock,
        base: Base,
        limits: Limits,
        log: Log,
    ) -> None:
        context.text("build/requirements.txt", lock.text)
        if self._settings.offline:
            self._packages(context, lock, base, limits, log)
        self._program(context, base, limits, log)
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

    def _program(self, context: Context, base: Base, limits: Limits, log: Log) -> None:
        """uv for the image's platform: this machine's own, or the same version fetched for the other one."""
        from uv import find_uv_bin

        program = Path(find_uv_bin())
        if (sys.platform, platform.machine()) == ("linux", base.machine):
            with program.open("rb") as source:
                context.stream("build/uv", source, program.stat().st_size, executable=True)
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            wanted = f"uv=={version('uv')}"
            log(f"fetching {wanted} for {base.platform}")
            arguments = ["pip", "install", "--target", folder, "--no-deps", "--python-version", base.short]
            arguments += ["--python-platform", base.platform, "--link-mode", "copy", *wheels_only()]
            self._parts.uv.run([*arguments, *self._parts.uv.index_arguments, wanted], limits, log)
            program = Path(folder) / "bin" / "uv"
            with program.open("rb") as source:
                context.stream("build/uv", source, program.stat().st_size, executable=True)

    def _packages(self, context: Context, lock: Lock, base: Base, limits: Limits, log: Log) -> None:
        """Installs for the image's platform here, so that the build needs no network."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text(lock.text, encoding="utf-8")
            place = Path(folder) / "packages"
            arguments = ["pip", "install", "--target", str(place), "--require-hashes", "--requirement", str(file)]
            arguments += ["--python-version", base.short, "--python-platform", base.platform, "--link-mode", "copy"]
            self._parts.uv.run([*arguments, *wheels_only(), *self._parts.uv.index_arguments], limits, log)
            context.tree("build/packages", place)

    def _lock(self, spec: Mapping[str, Any], base: Base, limits: Limits, log: Log) -> Lock:
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


def _with_conda(base: Base, spec: Mapping[str, Any]) -> tuple[Base, Sequence[str]]:
    """The base image as it is with the Python that the image gets, and the command that makes the folder for conda's.

    Raises:
        TerminalError: The base image brings no Python, or no conda where packages are asked of it.
    """
    reference, asked = str(spec["base"]), cast("Mapping[str, Any] | None", spec.get("conda"))
    if spec.get("needsJava") and not base.java:
        raise TerminalError(
            f"the runtime spark-py needs a Java runtime, and base image {reference} has no `java` on its PATH",
            hint=JAVA_HINT,
        )
    if asked is None:
        if base.python is None or base.python < OLDEST_PYTHON:
            raise unfit(reference, "there is no Python on its PATH that is new enough")
        return base, ()
    if not base.conda:
        listed = ", ".join(f"{name} ({place})" for name, place in sorted(asked["places"].items()))
        raise TerminalError(
            f"base image {reference} has neither micromamba nor conda on its PATH, and only conda has {listed}",
            hint="build on an image that has one of them, or take these packages out",
        )
    major, minor = (int(number) for number in str(asked["python"]).split("."))
    command = [base.conda, "create", "--yes", "--quiet", "--prefix", CONDA, "--override-channels"]
    command += [word for channel in asked["channels"] for word in ("--channel", str(channel))]
    return replace(base, python=(major, minor, 0)), [*command, f"python={major}.{minor}", *asked["packages"]]
