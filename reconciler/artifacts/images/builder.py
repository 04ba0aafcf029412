"""Where images are made and kept: the small interface that a container engine and a remote builder have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Protocol

from reconciler.artifacts.environments.uv import Limits
from reconciler.artifacts.images.base import Base
from reconciler.core.errors import TargetError

Log = Callable[[str], None]
LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Standing:
    """An image that is there.

    Args:
        id: What the builder tells it by: an engine's id, or the digest in a registry (`sha256:<64 hex>`).
        labels: Its labels, which say what it was made from.
        size: Bytes; 0 where that is not known.
        digest: The registry's digest of it, "" where it is in none.
    """

    id: str
    labels: Mapping[str, str]
    size: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What our record says of an image: its id, and the name it was given."""

    id: str
    reference: str


class Presence(StrEnum):
    """What became of a recorded image."""

    THERE = "there"
    MOVED = "moved"
    """Its name means another image, or none."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Credentials:
    """For registries, revealed at the moment of need.

    Args:
        base: For pulling the base image. base_registry: The host that they are for.
        push: For pushing the image.
    """

    base: Mapping[str, str] | None = None
    push: Mapping[str, str] | None = None
    base_registry: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One image to be built.

    Args:
        identity, reference: Of the image. stage: What its layers below the models follow from.
        pushed: Whether it goes to a registry.
        platform: The architecture (`linux/arm64`), "" for the builder's own.
    """

    identity: str
    reference: str
    stage: str
    pushed: bool
    credentials: Credentials
    platform: str = ""


class Builder(Protocol):
    """Builds images from contexts, and knows what became of them. Safe to use from many threads."""

    @property
    def platforms(self) -> Sequence[str]:
        """The architectures that each image is built for, "" for the builder's own."""
        ...

    def presence(self, recorded: Mapping[str, Recorded]) -> Mapping[str, Presence]:
        """What became of recorded images, by the same keys.

        Raises:
            UnavailableError: Nobody answers.
        """
        ...

    def find(self, identity: str, reference: str) -> Standing | None:
        """An image with this content, wherever it came from."""
        ...

    def base(self, reference: str, platform: str, credentials: Credentials, limits: Limits, log: Log) -> Base:
        """What a base image brings.

        Raises:
            TerminalError: There is none, or it cannot be built on. AccessError: Its registry wants (other) credentials.
        """
        ...

    def build(self, context: IO[bytes], order: Order, limits: Limits, log: Log) -> None:
        """Builds what a context (a tar archive with a Dockerfile) says. Nothing is left behind by one that fails.

        Raises:
            Stopped: `limits.stop` was set. TargetError: It failed; the message ends with the last lines.
        """
        ...

    def publish(self, image: Standing, order: Order, limits: Limits, log: Log) -> str:
        """Gives an image its name, pushes it where asked, and returns the registry's digest of it ("" for none)."""
        ...

    def remove(self, image: Recorded) -> None:
        """Removes an image of ours, or only its name where it has others.

        Raises:
            BusyError: A container uses it.
        """
        ...

    def close(self) -> None:
        """Ends connections."""
        ...


def with_last_lines(error: TargetError, lines: Sequence[str]) -> TargetError:
    """The same error with what was said last before it; what every build says is left out."""
    kept = [line for line in lines if not line.startswith(("Step ", "--->", "Removing intermediate"))]
    return type(error)("\n".join([error.message, *kept[-LAST_LINES:]]), hint=error.hint, retry_after=error.retry_after)
