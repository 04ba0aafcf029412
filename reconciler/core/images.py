"""What an image is called: its identity over all that is declared, known before anything is built."""

from __future__ import annotations

import re

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import IMAGES_TARGET, Deployment
from reconciler.core.resources import ResourceId
from reconciler.core.values import digest

# Where an image is not pushed, its name begins with this, so that it is told apart in `docker images`.
LOCAL_PREFIX = "reconciler"
DIGITS = 12
# Counts up when targets begin to ask something of the scoring runtime that the one in images made before refuses.
RUNTIME_INTERFACE = 3


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image's identity and names.

    Args:
        identity: SHA-256 over the declared inputs, 64 hex digits: the same on any machine.
        repository: The last part of its name in a registry, from the first model or the script.
    """

    identity: str
    repository: str

    @property
    def tag(self) -> str:
        """The tag: the identity's first digits."""
        return self.identity[:DIGITS]

    @property
    def id(self) -> ResourceId:
        """The resource that building it makes."""
        return ResourceId(IMAGES_TARGET, "image", f"{self.repository}:{self.tag}")

    def reference(self, registry: str) -> str:
        """What engines call it: `<registry>/<repository>:<tag>`; without a registry below `reconciler/`."""
        return f"{registry or LOCAL_PREFIX}/{self.repository}:{self.tag}"


def image_name(deployment: Deployment, default_base: str) -> ImageName:
    """The name of the image that a deployment needs.

    The versions of the recipe and of the scoring runtime are not part of it: a new release of this program must not
    replace every image. Which ones an image was built with stands in its labels and its spec. Only where a runtime
    would not understand what it is started with, it is another image.

    Args:
        default_base: What is built on where the inference config names no `baseImage`.
    """
    image, entry = deployment.image, deployment.entry
    identity = digest(
        {
            "base": image.base_image or default_base,
            "registry": image.registry.address if image.registry else None,
            "environment": deployment.environment.identity,
            "entry": [entry.path, entry.object_id, entry.single_file],
            "models": sorted([m.name, m.version, m.digest or "", m.file_name] for m in deployment.models),
            "extraSteps": image.extra_steps.data.hex() if image.extra_steps else None,
            "interface": RUNTIME_INTERFACE,
            "gpu": [image.enable_gpu, image.cuda_version],
        }
    )
    return ImageName(identity, _repository(deployment))


def _repository(deployment: Deployment) -> str:
    """A valid repository name (lower case, digits, single separators), as the distribution spec wants it."""
    models = deployment.models
    words = models[0].name if models else deployment.entry.path.rpartition("/")[2].removesuffix(".py")
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:100].strip("-") or "service"
