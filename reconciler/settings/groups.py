"""The groups of settings: names, types, defaults, and what docs/settings.md says of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _home(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111  text until it is checked


Folder: TypeAlias = Annotated[Path, BeforeValidator(_home)]


class Group(BaseModel):
    """A group of settings; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Verify(Group):
    """Which signatures commits must carry; none are asked for unless one of these is set."""

    allowed_signers: Folder | None = Field(
        default=None,
        description="An allowed-signers file (`man ssh-keygen`): commits must be signed by an SSH key in it.",
    )
    gnupg_home: Folder | None = Field(
        default=None, description="A GnuPG home: commits must be signed by an OpenPGP key that is trusted there."
    )


class Repo(Group):
    """The manifest repo."""

    url: str = Field(
        default="", description="Folder or URL (https, ssh, file). Empty: the Git repo around the current folder."
    )
    ref: str = Field(default="", description="Branch, tag or commit. Empty: the repo's HEAD.")
    path: str = Field(default="", description="Folder of the manifests in the repo. Empty: its root.")
    poll_seconds: float = Field(default=30.0, ge=1, description="Seconds between looks at a remote repo.")
    username: str = Field(default="", description="User name for http(s).")
    password_env: str = Field(
        default="", description="Name of the variable that holds the password or token for http(s)."
    )
    password_file: Folder | None = Field(default=None, description="File that holds the password or token for http(s).")
    trusted: bool = Field(default=False, description="Read the repo even if its files belong to another user.")
    verify: Verify = Field(default=Verify(), description="Signatures of commits.")


VAULT_ENTRY = r"^([A-Za-z][A-Za-z0-9-]*=)?([A-Za-z][A-Za-z0-9-]*|https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/?)$"


class KeyVaultPlaces(Group):
    """Azure Key Vaults that `valueFrom: {keyVault: …}` may lead to: none by default."""

    vaults: tuple[Annotated[str, Field(pattern=VAULT_ENTRY)], ...] = Field(
        default=(),
        description="Names or URLs of the vaults; `NAME=URL` for one that is reached at another address, such as that "
        "of a private endpoint.",
    )
    suffix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]*$",
        description="What follows a vault's name in its address. Empty: that of `azure.cloud`.",
    )
    verify_challenge: bool = Field(
        default=True,
        description="A vault must ask for tokens of its own domain. An address outside of that domain needs false.",
    )
    timeout_seconds: float = Field(default=10.0, gt=0, le=300, description="Seconds for one answer.")
    attempts: int = Field(default=3, ge=1, le=10, description="How often a vault is asked that does not answer.")
    parallel: int = Field(default=8, ge=1, le=64, description="Secrets that are read at once.")


class SopsPlaces(Group):
    """Encrypted files of the repo that `valueFrom: {sops: …}` may lead to: none by default."""

    files: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Files, or folders whose files, relative to the manifest folder, may be decrypted."
    )
    key_sources: tuple[Literal["age", "pgp", "azureKeyVault"], ...] = Field(
        default=("age", "pgp"),
        description="Kinds of key that decrypting may use. A file that is encrypted for others too is refused, since "
        "who writes to the repo would decide whom sops talks to.",
    )
    binary: str = Field(default="sops", min_length=1, description="The program, looked for on PATH if it has no slash.")
    age_key_file: Folder | None = Field(default=None, description="File with the age keys that open the files.")
    gnupg_home: Folder | None = Field(default=None, description="GnuPG home with the keys that open the files.")
    timeout_seconds: float = Field(default=30.0, gt=0, description="Seconds for one file.")


class SecretPlaces(Group):
    """Where `valueFrom` in manifests may lead: nowhere by default."""

    env_prefixes: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Environment variables whose names begin so may be referred to."
    )
    folders: tuple[Folder, ...] = Field(
        default=(), description="Files below these folders may be referred to, symlinks resolved."
    )
    key_vault: KeyVaultPlaces = Field(default=KeyVaultPlaces(), description="Azure Key Vaults.")
    sops: SopsPlaces = Field(default=SopsPlaces(), description="Files of the repo that sops encrypted.")


class AzureSettings(Group):
    """Which Azure it is, and how to sign in to Microsoft Entra ID."""

    cloud: Literal["public", "china", "usGovernment"] = Field(default="public", description="Which Azure it is.")
    subscription: str = Field(default="", description="Id of the subscription where manifests and settings name none.")
    management_url: str = Field(
        default="",
        pattern=r"^(https://.+)?$",
        description="Address of Azure Resource Manager. Empty: that of `azure.cloud`.",
    )
    credential: Literal["auto", "environment", "managedIdentity", "workloadIdentity", "clientSecret", "azureCli"] = (
        Field(
            default="auto",
            description="Whose identity is used. `auto` tries environment variables, a workload identity, a managed "
            "identity and `az login`, in this order, and nothing else.",
        )
    )
    tenant_id: str = Field(default="", description="Tenant of the identity.")
    client_id: str = Field(default="", description="Client id of the application or of a user-assigned identity.")
    client_secret_env: str = Field(
        default="", description="Name of the variable that holds the secret of `credential: clientSecret`."
    )
    client_secret_file: Folder | None = Field(
        default=None, description="File that holds the secret of `credential: clientSecret`."
    )
    authority: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]*(:[0-9]{1,5})?$",
        description="Host of the sign-in endpoint. Empty: that of the cloud.",
    )
    ca_file: Folder | None = Field(default=None, description="Certificates to trust, PEM. Null: the usual ones.")


class Models(Group):
    """The model registry."""

    file_folders: tuple[Folder, ...] = Field(default=(), description="Folders in which `uri: file:…` may lie.")
    uri_prefixes: tuple[Annotated[str, Field(min_length=3)], ...] = Field(
        default=("https://",), description="Other URIs must start with one of these."
    )
    max_bytes: int = Field(default=1 << 40, ge=1, description="Bytes of one model version.")
    max_files: int = Field(default=100_000, ge=1, description="Files of one model folder.")
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds for connecting to where a URI leads.")
    read_timeout: float = Field(default=60.0, gt=0, description="Seconds from one block of a transfer to the next.")
    attempts: int = Field(default=5, ge=1, description="How often a broken transfer is continued.")
    deadline: float = Field(default=6 * 3600.0, gt=0, description="Seconds for a whole transfer.")
    parallel: int = Field(default=4, ge=1, le=64, description="Transfers at once.")
    retain_seconds: float = Field(default=7 * 86400.0, ge=0, description="How long an unused version is kept.")
    check_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Seconds between two questions to the address of a model with `lock: follow` or `warn`.",
    )


class Environments(Group):
    """How Python environments are built. Addresses may hold credentials; they are masked in every text."""

    default_index: str = Field(default="", description="Package index in place of uv's default.")
    extra_indexes: tuple[str, ...] = Field(default=(), description="Package indexes searched before the default one.")
    find_links: tuple[str, ...] = Field(default=(), description="Folders or pages with wheels.")
    no_index: bool = Field(default=False, description="Use `findLinks` alone.")
    offline: bool = Field(default=False, description="Use uv's cache alone.")
    allow_python_override: bool = Field(
        default=True,
        description="Replace a Python version that cannot be had, with a warning in the plan; false makes it an error.",
    )
    interpreters: tuple[Folder, ...] = Field(
        default=(), description="Further Python executables, preferred in this order."
    )
    config_file: Folder | None = Field(default=None, description="A uv.toml. Null: the user's or the machine's.")
    cache_dir: Folder | None = Field(default=None, description="uv's cache. Null: uv's own.")
    link_mode: Literal["hardlink", "clone", "copy", "symlink"] = Field(
        default="hardlink", description="How files come from uv's cache."
    )
    resolve_seconds: float = Field(default=300.0, gt=0, description="Longest time for resolving an environment.")
    build_seconds: float = Field(default=1800.0, gt=0, description="Longest time for building an environment.")
    parallel: int = Field(default=2, ge=1, le=64, description="Builds at once.")


class AcrSettings(Group):
    """The Azure Container Registry that builds images with `images.builder: acr`."""

    registry: str = Field(
        default="", pattern=r"^([A-Za-z0-9]{5,50})?$", description="The registry's name, without a domain."
    )
    resource_group: str = Field(default="", description="The resource group that it is in.")
    subscription: str = Field(default="", description="Id of its subscription. Empty: `azure.subscription`.")
    architecture: Literal["amd64", "arm64", "386"] = Field(
        default="amd64", description="Of the machines that images are for."
    )
    host: str = Field(
        default="",
        pattern=r"^[a-z0-9.:-]*$",
        description="Where it answers container engines. Empty: its name in the domain of `azure.cloud`.",
    )
    poll_seconds: float = Field(default=2.0, gt=0, description="Seconds between two looks at a build.")


class Images(Group):
    """How images for containers are built, and where they are pushed."""

    builder: Literal["engine", "acr"] = Field(
        default="engine", description="Who builds: this machine's container engine, or an Azure Container Registry."
    )
    acr: AcrSettings = Field(default=AcrSettings(), description="The registry that builds.")
    base: str = Field(
        default="python:{python}-slim",
        min_length=1,
        description="What is built on where no `baseImage` is named; `{python}` becomes the environment's version.",
    )
    registry: str = Field(
        default="",
        pattern=r"^[a-z0-9./:_-]*$",
        description="Registry, with a path if wanted, that images are pushed to (`myregistry.azurecr.io/ml`). Empty: "
        "they stay on the engine.",
    )
    registry_username: str = Field(default="", description="Who signs in at the registry.")
    registry_password: str = Field(
        default="",
        pattern=r"^((env|file):.+)?$",
        description="Where the password is: `env:NAME` or `file:PATH`; never the password itself.",
    )
    platforms: tuple[Annotated[str, Field(pattern=r"^linux/(amd64|arm64)$")], ...] = Field(
        default=(),
        description="Architectures that each image is built for, with `docker buildx`, and pushed under one name. "
        "Empty: the engine's own.",
    )
    offline: bool = Field(
        default=False, description="Packages are fetched by this program and copied in; the build needs no network."
    )
    network: Literal["default", "host", "none"] = Field(
        default="default", description="Network of the build's commands."
    )
    build_seconds: float = Field(default=3600.0, gt=0, description="Longest time for building an image.")
    parallel: int = Field(default=2, ge=1, le=64, description="Builds at once.")
    retain_seconds: float = Field(default=7 * 86400.0, ge=0, description="How long an unused image is kept.")
    retain_count: int | None = Field(
        default=None,
        ge=0,
        description="How many unused images are kept, the newest. Null: all of them.",
    )


class LeaderLease(Group):
    """The Lease by which several daemons agree on the one that applies."""

    namespace: str = Field(
        default="",
        description="Namespace of the Lease. Empty: there is no other daemon, and nothing is agreed on.",
    )
    name: str = Field(default="reconciler", min_length=1, description="Name of the Lease.")
    context: str = Field(
        default="", description="Context of the kubeconfig for the cluster that has it. Empty: its current one."
    )


class Kubernetes(Group):
    """How Kubernetes clusters are reached."""

    kubeconfig: str = Field(
        default="", description="The kubeconfig. Empty: KUBECONFIG, `~/.kube/config`, or the cluster it runs in."
    )
    contexts: tuple[str, ...] | None = Field(
        default=None, description="Contexts of it that targets may name. Null: all of them; an empty list: none."
    )
    clusters: tuple[str, ...] | None = Field(
        default=None,
        description="AKS clusters that targets may name or make, as `group/name` or by resource id. Null: all that the "
        "identity may use; an empty list: none.",
    )
    leader_lease: LeaderLease = Field(
        default=LeaderLease(), description="The Lease by which several daemons agree on the one that applies."
    )


class Docker(Group):
    """What services in containers may use of the machine."""

    volumes: tuple[str, ...] = Field(
        default=(), description="Folders of the machine, and names of volumes, that services may ask for."
    )


class Targets(Group):
    """What may be deployed to."""

    allowed: tuple[str, ...] | None = Field(
        default=None, description="Names of the targets that manifests may use. Null: all of them; an empty list: none."
    )


class RailSettings(Group):
    """When a plan is refused that would take away much."""

    max_delete_percent: float = Field(
        default=30.0,
        ge=0,
        le=100,
        description="Percentage of a target's resources above which deleting, or replacing untested, is refused …",
    )
    min_resources: int = Field(default=10, ge=0, description="… once the target has this many.")
    approval_targets: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Targets (or patterns such as `prod-*`) at which nothing is done until somebody approves the plan, "
        "whatever the manifests say.",
    )
    approval_days: float = Field(default=7.0, gt=0, description="Days after which an approval lapses if it is unused.")


class DaemonSettings(Group):
    """`reconciler run`."""

    listen: str = Field(
        default="127.0.0.1:9464",
        pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$",
        description="Address of `/healthz`, `/readyz`, `/metrics` and `/snapshot`; port 0 takes a free one.",
    )
    full_look_seconds: float = Field(default=60.0, ge=1, description="Seconds between full looks at everything.")
    workers: int = Field(default=4, ge=1, le=256, description="Targets that are worked on at once.")


class ForgeSettings(Group):
    """Where pull requests are, for those who tell it how applying a commit went."""

    provider: Literal["auto", "github", "gitlab", "azure-devops"] = Field(
        default="auto", description="Which forge it is. `auto` asks the variables of the CI that this runs in."
    )
    project: str = Field(
        default="", description="The repository: owner/name, group/name, or project/repository at Azure DevOps."
    )
    api_url: str = Field(
        default="",
        description="Address of the API (`https://ghe.example/api/v3`, `https://gitlab.example/api/v4`), or of the "
        "organization or collection at Azure DevOps. Empty: github.com, gitlab.com.",
    )
    token_env: str = Field(default="", description="Name of the variable that holds the token.")
    token_file: Folder | None = Field(default=None, description="File that holds the token; read anew each time.")
    ca_file: Folder | None = Field(
        default=None, description="Certificates (PEM) to trust in place of the machine's own."
    )
    commit_status: bool = Field(
        default=False, description="`reconciler run` posts a commit status: pending, then success or failure."
    )
    status_name: str = Field(
        default="",
        description="What the status is called behind `reconciler/`. Empty: the environment, or `default` for none.",
    )
    details_url: str = Field(default="", description="A page for people that the status leads to.")


class SnapshotSettings(Group):
    """Signed observations that others can plan with, and whose are believed here."""

    file: Folder | None = Field(
        default=None, description="File that `reconciler run` keeps up to date, beside `/snapshot`. Null: none."
    )
    keys: tuple[str, ...] = Field(
        default=(),
        description="Whose snapshots `plan --snapshot` believes: what `reconciler snapshot --public-key` prints.",
    )


class LogSettings(Group):
    """The daemon's log."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="`auto` is text on a terminal and JSON elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is logged.")
