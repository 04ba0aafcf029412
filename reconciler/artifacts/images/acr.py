"""Images made by Azure Container Registry: the context is uploaded, a run scheduled and followed, its log kept.

For machines without a container engine. What is called is described in `acr_service`; a run is asked for its state and
its log at intervals of ours, so that it can be cancelled at any moment.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.acr_service import AcrService, Ended, RunState
from reconciler.artifacts.images.base import Base, read_probe
from reconciler.artifacts.images.builder import (
    Credentials,
    Log,
    Order,
    Presence,
    Recorded,
    Standing,
    with_last_lines,
)
from reconciler.artifacts.images.context import Context
from reconciler.artifacts.images.recipe import LABEL_IDENTITY, PROBE
from reconciler.containers.engine import split_reference
from reconciler.core.errors import AccessError, TargetError, TerminalError, ThrottledError, UnavailableError

_FACTS = re.compile(r'\{"python":.*\}')
_PATIENCE = 8
"""How many looks at a run in a row may fail before the build does."""


class AcrBuilder:
    """Implements `builder.Builder` on a registry.

    Args:
        folder: A folder of ours for what is uploaded.
        architecture: Of the machines that build, as the service calls it: `amd64`, `arm64`, `386`.
        poll_seconds: Seconds between two looks at a run.
    """

    def __init__(
        self, service: AcrService, folder: Path, architecture: str = "amd64", poll_seconds: float = 2.0
    ) -> None:
        self._service = service
        self._folder = folder
        self._architecture = architecture
        self._poll = poll_seconds

    @property
    def platforms(self) -> Sequence[str]:
        """The one that was chosen."""
        return ("",)

    def presence(self, recorded: Mapping[str, Recorded]) -> Mapping[str, Presence]:
        """One listing for each repository."""
        tags: dict[str, Mapping[str, str]] = {}
        found: dict[str, Presence] = {}
        for name, image in recorded.items():
            repository, tag = self._names(image.reference)
            if repository not in tags:
                tags[repository] = self._service.tags(repository)
            digest = tags[repository].get(tag)
            if digest == image.id:
                found[name] = Presence.THERE
            else:
                found[name] = Presence.GONE if digest is None else Presence.MOVED
        return found

    def find(self, identity: str, reference: str) -> Standing | None:
        """The image of this name, if it has this content."""
        repository, tag = self._names(reference)
        image = self._service.image(repository, tag)
        return image if image is not None and image.labels.get(LABEL_IDENTITY) == identity else None

    def base(self, reference: str, platform: str, credentials: Credentials, limits: Limits, log: Log) -> Base:
        """Looked into by a run of its own, which pushes nothing."""
        log(f"looking into {reference} at the registry")
        with self._temporary() as archive:
            context = Context(archive)
            context.text("Dockerfile", f"FROM {reference}\nUSER root\nRUN {json.dumps(list(PROBE))}\n")
            context.close()
            archive.seek(0)
            ended, lines = self._run(archive, [], credentials, limits, log)
        said = next((match[0] for line in reversed(lines) if (match := _FACTS.search(line))), "")
        if ended.state is not RunState.SUCCEEDED and not said:
            raise _failed(f"looking into base image {reference}", ended, lines)
        return read_probe(reference, "", said)

    def build(self, context: IO[bytes], order: Order, limits: Limits, log: Log) -> None:
        """By a run that pushes what it built; one that is stopped is cancelled."""
        repository, tag = self._names(order.reference)
        ended, lines = self._run(context, [f"{repository}:{tag}"], order.credentials, limits, log)
        if ended.state is not RunState.SUCCEEDED:
            raise _failed("building", ended, lines)

    def publish(self, image: Standing, order: Order, limits: Limits, log: Log) -> str:
        """It has its name, and is where it is to be."""
        return image.digest

    def remove(self, image: Recorded) -> None:
        """The image, or only its name where it has others; what its name means by now, if that is another, stays."""
        repository, tag = self._names(image.reference)
        if self._service.tags(repository).get(tag) == image.id:
            self._service.remove(repository, tag, image.id)

    def close(self) -> None:
        """Ends connections."""
        self._service.close()

    # -- a run

    def _run(
        self, context: IO[bytes], names: Sequence[str], credentials: Credentials, limits: Limits, log: Log
    ) -> tuple[Ended, list[str]]:
        with self._temporary() as packed:
            with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream:
                shutil.copyfileobj(context, stream, 1024 * 1024)
            size = packed.tell()
            packed.seek(0)
            log(f"uploading {size / 1e6:.1f} MB")
            source = self._service.upload(_Stoppable(packed, limits), size)
        seconds = int(max(300.0, min(28_800.0, limits.deadline - time.monotonic())))
        request = self._service.docker_build(source, names, self._architecture, seconds, credentials)
        run = self._service.schedule(request)
        log(f"run {run} at {self._service}")
        try:
            return self._follow(run, limits, log)
        except (TargetError, Stopped):
            # Cancelling what has ended is refused, and nothing else can be done about a registry that is not reached.
            with suppress(TargetError):
                self._service.cancel(run)
            raise

    def _follow(self, run: str, limits: Limits, log: Log) -> tuple[Ended, list[str]]:
        reader = _LogReader(self._service, run)
        failures = 0
        while True:
            try:
                ended = self._service.state(run)
                # The log is read after the state: at the end, all of it is there.
                for line in reader.new(last=ended.state.final):
                    log(line)
                failures = 0
                if ended.state.final:
                    return ended, reader.lines
            except (UnavailableError, ThrottledError) as error:
                failures += 1
                if failures >= _PATIENCE:
                    raise
                pause = min(error.retry_after or self._poll * 2**failures, 30.0)
                log(f"{error.message}; asking again in {pause:.0f} s")
                if limits.stop.wait(pause):
                    raise Stopped from None
            if time.monotonic() > limits.deadline:
                raise UnavailableError(f"run {run} at {self._service} took too long and was cancelled")
            if limits.stop.wait(self._poll):
                raise Stopped

    def _names(self, reference: str) -> tuple[str, str]:
        """Repository and tag within the registry."""
        name, _, tag = split_reference(reference)
        return name.removeprefix(f"{self._service.host}/"), tag

    def _temporary(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder)


class _LogReader:
    """A run's log, as far as it was written."""

    def __init__(self, service: AcrService, run: str) -> None:
        self._service = service
        self._run = run
        self._link = ""
        self._offset = 0
        self._rest = b""
        self.lines: list[str] = []

    def new(self, *, last: bool) -> list[str]:
        """Whole lines that are new; at the end also one that was never ended."""
        data = self._read()
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if last and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        found = [line.decode(errors="replace").rstrip("\r") for line in whole]
        self.lines += [line for line in found if line.strip()]
        return [line for line in found if line.strip()]

    def _read(self) -> bytes:
        self._link = self._link or self._service.log_link(self._run)
        if not self._link:
            return b""
        with suppress(AccessError):
            return self._service.log(self._link, self._offset)
        self._link = self._service.log_link(self._run)
        return self._service.log(self._link, self._offset)


class _Stoppable:
    """A file whose reading ends when the build is stopped."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file = file
        self._limits = limits

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        if self._limits.stop.is_set():
            raise Stopped
        return self._file.read(size)


def _failed(what: str, ended: Ended, lines: Sequence[str]) -> TargetError:
    text = f"{what}: {ended.reason}" if ended.reason else f"{what}: the run ended as {ended.state.value}"
    said = "\n".join(lines[-40:]).lower()
    if "toomanyrequests" in said or "rate limit" in said:
        return with_last_lines(ThrottledError(text, retry_after=60.0), lines)
    if ended.state in (RunState.CANCELED, RunState.ERROR, RunState.TIMEOUT):
        return with_last_lines(UnavailableError(text), lines)
    return with_last_lines(TerminalError(text), lines)
