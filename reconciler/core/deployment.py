"""One service with its references resolved: what a driver renders resources from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from reconciler.core.dataclass import dataclass, field
from reconciler.core.policy import Policy
from reconciler.core.problems import Position
from reconciler.core.resources import ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import digest

MODELS_TARGET = "registry/models"
IMAGES_TARGET = "registry/images"
ENVIRONMENTS_TARGET = "registry/environments"
CLUSTERS_TARGET = "registry/clusters"

# Part of every environment's identity: raising it must be a decision, since it gives every environment a new name.
ENVIRONMENT_RECIPE = 1


@dataclass(frozen=True, slots=True)
class File:
    """A small file of the manifest repo, read at one revision."""

    path: str
    object_id: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model at one version, content known by digest.

    Args:
        version: A positive integer in decimal.
        digest: `sha256:<64 hex>`: of the bytes for a file, of the sorted `(path, sha256)` list for a folder;
            None for a `uri` without `sha256` that was never registered here.
        size: Bytes, where known before registering.
        path: Path in the repo, or "" if it comes from a URI.
        object_id: Git's id of that file or folder, by which its bytes are read.
        uri: Where else it comes from.
        lfs: The blob is a Git LFS pointer; digest and size are those it names.
    """

    name: str
    version: str
    digest: str | None = None
    size: int | None = None
    path: str = ""
    object_id: str = ""
    folder: bool = False
    uri: str = ""
    lfs: bool = False
    framework: str = ""
    framework_version: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    position: Position | None = None

    @property
    def id(self) -> ResourceId:
        """The resource that registering it makes."""
        return ResourceId(MODELS_TARGET, "model", f"{self.name}:{self.version}")

    @property
    def file_name(self) -> str:
        """The last part of the path or URI: the name the entry script finds below the version's folder."""
        return (self.path or self.uri.split("?")[0]).rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Registry:
    """A container registry with its credentials."""

    address: str
    username: SecretRef | str | None = None
    password: SecretRef | None = None


@dataclass(frozen=True)
class Environment:
    """The declared inputs of a Python environment; its identity is their digest, its lock is an output.

    What only conda has comes from the base image's conda if `conda_packages`; what sends telemetry is in it if
    `telemetry`.

    Without slots, so that one environment that thousands of services share computes its identity once.
    """

    runtime: str = "python"
    python: str = ""
    conda_file: File | None = None
    requirements_file: File | None = None
    requirements: tuple[str, ...] = ()
    raw_requests: bool = False
    conda_packages: bool = False
    telemetry: bool = False
    position: Position | None = None

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the declared inputs, 64 hex digits: the same on any machine."""
        return digest(
            {
                "recipe": ENVIRONMENT_RECIPE,
                "runtime": self.runtime,
                "python": self.python,
                "condaFile": self.conda_file.data.hex() if self.conda_file else None,
                "requirementsFile": self.requirements_file.data.hex() if self.requirements_file else None,
                "requirements": list(self.requirements),
                "rawRequests": self.raw_requests,
                **({"condaPackages": True} if self.conda_packages else {}),
                **({"telemetry": True} if self.telemetry else {}),
            }
        )

    @cached_property
    def id(self) -> ResourceId:
        """The resource that building it makes."""
        return ResourceId(ENVIRONMENTS_TARGET, "environment", f"py-{self.identity[:12]}")


@dataclass(frozen=True, slots=True)
class ImageInputs:
    """What an image needs beyond the environment; unused by targets that run processes."""

    base_image: str = ""
    registry: Registry | None = None
    extra_steps: File | None = None
    enable_gpu: bool = False
    cuda_version: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class EntryScript:
    """The code that answers requests.

    Args:
        path: Of the script, relative to the source directory (`score.py`).
        directory: The source directory in the repo ("" for the root).
        object_id: Git's id of the source directory (of the script alone where no directory was named).
        single_file: Only the script is shipped, not a directory.
    """

    path: str
    directory: str
    object_id: str
    single_file: bool = False
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """Keys of the endpoint; where it is enabled, each is there, referred to or generated."""

    enabled: bool = False
    primary: SecretRef | Secret | None = None
    secondary: SecretRef | Secret | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Deployment settings that mean the same at every target; None is "the target's default".

    Args:
        cpu_cores: Cores, fractions allowed. memory_gb: 10^9 bytes.
        replicas: Worker processes at a process target, containers elsewhere.
        scoring_timeout_ms, max_request_wait_time: Milliseconds.
        max_concurrent_requests: `run()` calls at once per replica.
    """

    port: int | None = None
    host: str | None = None
    cpu_cores: float | None = None
    memory_gb: float | None = None
    replicas: int = 1
    max_concurrent_requests: int = 1
    scoring_timeout_ms: int = 60_000
    max_request_wait_time: int | None = None
    max_body_mb: float | None = None
    ready_timeout_seconds: float = 300.0
    drain_seconds: float = 30.0
    cors_origins: tuple[str, ...] = ()
    environment_variables: Mapping[str, str | SecretRef | Secret] = field(
        default_factory=dict[str, "str | SecretRef | Secret"]
    )
    block: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Target:
    """A named place to deploy to.

    Args:
        block: The settings of its type, validated.
        approval: Its policy asks for somebody to approve what is done there.
        policy: Of its own document, for what it is made of where it is not only named.
    """

    name: str
    type: str
    block: Mapping[str, Any] = field(default_factory=dict[str, Any])
    position: Position | None = None
    approval: bool = False
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One service, resolved; `settings.block` is the block of the resolved target's type.

    Args:
        moved_from: The name it had before, as far as its document says so.
        key_name: The name that its generated keys are made of, where that is not its own.
    """

    service: str
    target: Target
    models: tuple[ModelVersion, ...]
    entry: EntryScript
    environment: Environment
    image: ImageInputs = field(default_factory=ImageInputs)
    auth: Auth = field(default_factory=Auth)
    settings: Settings = field(default_factory=Settings)
    tests: tuple[SmokeTest, ...] = ()
    policy: Policy = field(default_factory=Policy)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    position: Position | None = None
    moved_from: str = ""
    key_name: str = ""
