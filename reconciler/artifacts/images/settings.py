"""What the operator decides about images: what is built on, where they are pushed, limits."""

from __future__ import annotations

from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Registry


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """The operator's settings for building images.

    Args:
        default_base: What is built on where no `baseImage` is named; `{python}` becomes the environment's version.
        registry: Where images are pushed, with credentials; None keeps them on the engine.
        offline: Wheels are downloaded here and copied in, so that the build itself needs no network.
        network: The network mode of the build's commands (`default`, `host`, `none`).
        build_seconds: Longest time for a whole build.
        parallel: How many builds run at once.
        retain_seconds: How long an unused image is kept.
        platforms: Architectures (`linux/arm64`) that each image is built for; empty for the builder's own.
        retain_count: How many unused images are kept at most; the newest of them.
    """

    default_base: str = "python:{python}-slim"
    registry: Registry | None = field(default=None)
    offline: bool = False
    network: str = "default"
    build_seconds: float = 3600.0
    parallel: int = 2
    retain_seconds: float = 7 * 86400.0
    retain_count: int | None = None
    platforms: tuple[str, ...] = ()
