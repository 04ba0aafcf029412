"""What an image is as a resource: what the plan shows of it, and what has to be built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.artifacts.images.settings import ImageSettings
from reconciler.core.deployment import IMAGES_TARGET, Deployment
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.images import image_name
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Problem, Severity, errors_of
from reconciler.core.resources import Desired
from reconciler.core.values import Unknown, Value

if TYPE_CHECKING:
    from reconciler.artifacts.environments.requirements import Requirement

KIND = "image"
# Where conda packages come from if the conda file does not say.
DEFAULT_CHANNELS = ("conda-forge",)
JAVA_HINT = (
    "name a `baseImage` with Java, install one in `extraDockerFileSteps`, or take `openjdk` from conda "
    "(`condaPackages: baseImage`)"
)
# Stands in labels and in the spec of every image; what an image is called does not depend on it.
RECIPE = 2
# A new release of this program rebuilds nothing by itself.
_POLICY = Policy(rules=(DriftRule("/recipe", FieldPolicy.CREATE_ONLY), DriftRule("/runtime", FieldPolicy.CREATE_ONLY)))


class ImageRenderer:
    """Implements `core.driver.Renderer` for `registry/images`.

    Args:
        runtime: Version of the scoring runtime that is put into images.
    """

    def __init__(self, settings: ImageSettings, runtime: str) -> None:
        self._settings = settings
        self._runtime = runtime

    @property
    def target(self) -> str:
        """The built-in target's name."""
        return IMAGES_TARGET

    @property
    def capabilities(self) -> Capabilities:
        """Images are retained after their last use and never changed, only built again."""
        return Capabilities(
            kinds=frozenset({KIND}),
            retained=frozenset({KIND}),
            retain_seconds=self._settings.retain_seconds,
            retain_count=self._settings.retain_count,
            parallel=self._settings.parallel,
            deadline_seconds=self._settings.build_seconds + 60.0,
        )

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The image that a deployment needs in a container; none where a ready-made one is named. Pure.

        Raises:
            InvalidError: Its environment asks for what cannot be had; every problem with its position.
        """
        if deployment.image.image:
            return []
        from reconciler.artifacts.environments.declared import declared
        from reconciler.artifacts.environments.machine import SPARK

        asked = declared(deployment.environment, conda=deployment.environment.conda_packages)
        if errors := errors_of(asked.problems):
            count = f"{len(errors)} problems" if len(errors) > 1 else "a problem"
            raise InvalidError(f"the environment cannot be built: {count}", problems=errors)
        name = image_name(deployment, self._settings.default_base)
        image, entry, registry = deployment.image, deployment.entry, self._settings.registry
        base = image.base_image or self._settings.default_base
        host = registry_host(image.registry.address) if image.registry else ""
        if host and not base.startswith(f"{host}/"):
            base = f"{host}/{base}"
        spec: dict[str, Value] = {
            "identity": name.identity,
            "reference": name.reference(registry.address if registry else ""),
            "base": base.replace("{python}", python_for(asked.python or "")),
            "environment": deployment.environment.identity,
            "requirements": [item.line for item in asked.requirements],
            "rawRequests": deployment.environment.raw_requests,
            "entry": {"script": entry.path, "source": entry.object_id},
            "models": [
                {"name": m.name, "version": m.version, "digest": m.digest or Unknown(str(m.id), "/digest")}
                for m in deployment.models
            ],
            "recipe": RECIPE,
            "runtime": self._runtime,
            "built": True,
        }
        java = deployment.environment.runtime == SPARK and not _brings_java(deployment, asked.conda)
        if java:
            spec["needsJava"] = True
        if image.extra_steps:
            spec["extraSteps"] = image.extra_steps.data.decode("utf-8", "replace")
        if registry:
            spec["pushed"] = registry.address
        count = len(asked.requirements)
        words = f"build on {spec['base']}, {count} requirement{'' if count == 1 else 's'}"
        if asked.conda:
            spec["conda"] = {
                "channels": list(asked.channels or DEFAULT_CHANNELS),
                "packages": [item.text for item in asked.conda],
                "python": python_for(asked.python or ""),
                "places": {item.name: str(item.position) for item in asked.conda if item.position},
            }
            words += f", {len(asked.conda)} from conda"
        warnings = (*asked.problems, *(_java(deployment, str(spec["base"])) if java and not image.base_image else ()))
        depends = tuple(dict.fromkeys(model.id for model in deployment.models))
        return [Desired(name.id, spec, depends_on=depends, policy=_POLICY, summary=words, warnings=warnings)]


def _brings_java(deployment: Deployment, conda: Sequence[Requirement]) -> bool:
    """Whether something other than the base image may bring a Java runtime; what steps install is not looked into."""
    return deployment.image.extra_steps is not None or any(item.name in ("openjdk", "java") for item in conda)


def _java(deployment: Deployment, base: str) -> tuple[Problem, ...]:
    message = f"the runtime spark-py needs a Java runtime in the image, and nothing says that {base} has one"
    at = deployment.environment.position or deployment.position
    return (Problem("spark-needs-java", message, at, JAVA_HINT, severity=Severity.WARNING),)


def registry_host(address: str) -> str:
    """The host of a registry as engines take it, from its address as people write it.

    Docker Hub has several spellings, and a name without a domain is that of an Azure Container Registry.
    """
    host = address.removeprefix("https://").removeprefix("http://").rstrip("/").removesuffix("/v1").removesuffix("/v2")
    if host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com", "registry.hub.docker.com"):
        return "docker.io"
    return f"{host.lower()}.azurecr.io" if host and host.isalnum() and host != "localhost" else host


def python_for(declared_: str) -> str:
    """The Python of the default base image: the newest of those we know that the declaration admits, else 3.11."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(declared_)
    except InvalidSpecifier:
        return "3.11"
    return next((v for v in ("3.11", "3.12", "3.13", "3.10") if wanted.contains(f"{v}.99") or v in wanted), "3.11")
