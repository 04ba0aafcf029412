"""Images made by a container engine: built, named, pushed, and what is left of them removed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import IO, Any, cast

from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.base import Base, base_of
from reconciler.artifacts.images.builder import (
    LAST_LINES,
    Credentials,
    Log,
    Order,
    Presence,
    Recorded,
    Standing,
    with_last_lines,
)
from reconciler.artifacts.images.recipe import LABEL_IDENTITY, LABEL_STAGE
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.containers.engine import Engine, MissingError, said, split_reference
from reconciler.core.errors import BusyError, ConflictError, InvalidError, TargetError, UnavailableError

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class EngineBuilder:
    """Implements `builder.Builder` on one engine.

    Args:
        engine: Gives the engine when it is first needed.
    """

    def __init__(self, engine: Callable[[], Engine], settings: ImageSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._guard = threading.Lock()
        self._building: list[str] = []

    @property
    def platforms(self) -> Sequence[str]:
        """The engine's own."""
        return ("",)

    def presence(self, recorded: Mapping[str, Recorded]) -> Mapping[str, Presence]:
        """One listing for all."""
        there = {str(item["Id"]): item for item in self._engine().images(LABEL_IDENTITY)}
        found: dict[str, Presence] = {}
        for name, image in recorded.items():
            listed = there.get(image.id)
            if listed is None:
                found[name] = Presence.GONE
            else:
                found[name] = Presence.THERE if image.reference in (listed.get("RepoTags") or ()) else Presence.MOVED
        return found

    def find(self, identity: str, reference: str) -> Standing | None:
        """The newest image with this content, by its label."""
        engine = self._engine()
        listed = engine.images(f"{LABEL_IDENTITY}={identity}")
        found = [image for item in listed if (image := engine.image(str(item["Id"]))) is not None]
        newest = max(found, key=lambda image: str(image.get("Created")), default=None)
        return None if newest is None else Standing(str(newest["Id"]), labels_of(newest), int(newest.get("Size") or 0))

    def base(self, reference: str, platform: str, credentials: Credentials, limits: Limits, log: Log) -> Base:
        """Fetched if it is missing, and looked into in a container without network."""
        return base_of(self._engine(), reference, credentials.base)

    def build(self, context: IO[bytes], order: Order, limits: Limits, log: Log) -> None:
        """By the engine; layers that a failed build made are removed, unless another one may use them."""
        engine = self._engine()
        before = {str(item["Id"]) for item in self._leftovers(order.stage)}
        with self._guard:
            self._building.append(order.stage)
        try:
            with engine.calls("building"):
                lines = engine.api.build(
                    fileobj=context,
                    custom_context=True,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    network_mode=None if self._settings.network == "default" else self._settings.network,
                    timeout=int(max(1.0, limits.deadline - time.monotonic())),
                )
                self._follow(lines, "building", limits, log)
        except (TargetError, Stopped):
            with suppress(TargetError):
                self._sweep(order.stage, keep=before)
            raise
        finally:
            with self._guard:
                self._building.remove(order.stage)

    def publish(self, image: Standing, order: Order, limits: Limits, log: Log) -> str:
        """Names it, and pushes it where asked."""
        self._name(image.id, order.reference)
        return self._push(order.reference, order.credentials, limits, log) if order.pushed else ""

    def _name(self, image: str, reference: str) -> None:
        repository, _, tag = split_reference(reference)
        with self._engine().calls(f"naming {reference}"):
            self._engine().api.tag(image, repository, tag)

    def _push(self, reference: str, credentials: Credentials, limits: Limits, log: Log) -> str:
        engine = self._engine()
        repository, _, tag = split_reference(reference)
        log(f"pushing {reference}")
        found = ""

        def note(line: Mapping[str, Any]) -> None:
            nonlocal found
            aux = cast("Mapping[str, Any]", line.get("aux") or {})
            found = str(aux.get("Digest") or found)

        with engine.calls(f"pushing {reference}"):
            login = dict(credentials.push or {}) or None
            lines = engine.api.push(repository, tag, stream=True, decode=True, auth_config=login)
            self._follow(lines, f"pushing {reference}", limits, log, note, quiet=True)
        return found

    def remove(self, image: Recorded) -> None:
        """With the layers of its first stage, if no other image of ours was made with them."""
        engine = self._engine()
        found = engine.image(image.id)
        stage = labels_of(found).get(LABEL_STAGE, "") if found is not None else ""
        try:
            with engine.calls(f"removing image {image.reference}"):
                engine.api.remove_image(image.id, force=False)
        except MissingError:
            pass
        except ConflictError as error:
            if "is using" in error.message or "being used" in error.message:
                raise BusyError(error.message, retry_after=30.0) from error
            # It has other names, too, and only loses ours.
            with suppress(MissingError), engine.calls("removing a name"):
                engine.api.remove_image(image.reference, force=False)
        others = [item for item in engine.images(f"{LABEL_STAGE}={stage}") if LABEL_IDENTITY in _listed_labels(item)]
        if stage and not others:
            self._sweep(stage, keep=frozenset())

    def close(self) -> None:
        """Ends connections."""
        # Where the engine is named wrongly, there is none to leave.
        with suppress(InvalidError):
            self._engine().close()

    # -- details

    def _leftovers(self, stage: str) -> list[Mapping[str, Any]]:
        """Images without a name that a build of this stage made, and that are no image of a deployment."""
        listed = self._engine().images(f"{LABEL_STAGE}={stage}", dangling=True)
        return [item for item in listed if LABEL_IDENTITY not in _listed_labels(item)]

    def _sweep(self, stage: str, keep: set[str] | frozenset[str]) -> None:
        with self._guard:
            # Another build of the same stage may be about to use them.
            if self._building.count(stage) > 1:
                return
        for item in self._leftovers(stage):
            if str(item["Id"]) not in keep:
                with suppress(MissingError, ConflictError), self._engine().calls("removing what a build left"):
                    self._engine().api.remove_image(str(item["Id"]), force=False)

    def _follow(
        self,
        lines: Iterator[Mapping[str, Any]],
        what: str,
        limits: Limits,
        log: Log,
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
                    raise with_last_lines(said(text, what), last)
                text = _ESCAPES.sub("", str(line.get("stream") or ("" if quiet else line.get("status") or ""))).strip()
                for part in filter(None, (part.strip() for part in text.split("\n"))):
                    last = [*last[1 - LAST_LINES :], part]
                    log(part)


def labels_of(image: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an image as inspected."""
    return cast("Mapping[str, str]", cast("Mapping[str, Any]", image.get("Config") or {}).get("Labels") or {})


def _listed_labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return cast("Mapping[str, str]", item.get("Labels") or {})
