"""What stands at a target, in the words of manifests: what a driver tells for `reconciler import`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.core.dataclass import dataclass, field
from reconciler.core.resources import Observed


@dataclass(frozen=True, slots=True)
class Unsaid:
    """Something that stands there and that no manifest can say.

    Args:
        what: In the target's own words, without secrets ("HostConfig.Privileged: true").
        effect: What becomes of it.
    """

    what: str
    effect: str


def told(unsaid: Iterable[Unsaid]) -> Iterator[str]:
    """In lines, each effect once: what shares one stands below it."""
    found: dict[str, list[str]] = {}
    for each in unsaid:
        found.setdefault(each.effect, []).append(each.what)
    for effect, things in found.items():
        if len(things) == 1:
            yield f"{things[0]}: {effect}"
        else:
            yield f"{effect}:"
            yield from (f"  {thing}" for thing in things)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the code that is served; `path` is relative to the source directory."""

    path: str
    data: bytes = field(repr=False)
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """What is served, where that is a script and not an image.

    Args:
        script: Path of the entry script, relative to the source directory.
        object_id: Git's id of the source directory, or of the script alone.
        environment: Name and identity of the Python environment (`py-…`, 64 hex digits).
        files: The source as it stands at the target; empty where it is not there any more.
    """

    script: str
    object_id: str
    single_file: bool
    environment: tuple[str, str]
    files: tuple[SourceFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A service as it stands at a target; the inverse of `Renderer.render`.

    Args:
        observed: The very resource, under the id that the service's own would have, with all fields that are compared.
        deployment: `spec.deployment` of a Service, whole: null for what is not set. A variable's value is a text, or
            the secret that stands there, without fingerprint where it cannot be compared.
        models: Name and version of each.
        auth: Whether requests need a key.
        code: What is served, unless it is an image.
        image: The finished image that is served.
        built: The image was made of an InferenceConfig.
        unsaid: What no manifest can say.
        steps: What has to be done before planning, each a command or an edit with what it is for.
    """

    observed: Observed
    deployment: Mapping[str, Any]
    models: tuple[tuple[str, str], ...] = ()
    auth: bool = False
    code: Code | None = None
    image: str = ""
    built: bool = False
    unsaid: tuple[Unsaid, ...] = ()
    steps: tuple[str, ...] = ()
