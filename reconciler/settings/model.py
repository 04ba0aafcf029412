"""All settings as one value, and a listing of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from reconciler.core.dataclass import dataclass
from reconciler.settings.groups import (
    AzureSettings,
    DaemonSettings,
    Docker,
    Environments,
    Folder,
    ForgeSettings,
    Group,
    Images,
    Kubernetes,
    LogSettings,
    Models,
    RailSettings,
    Repo,
    SecretPlaces,
    SnapshotSettings,
    Targets,
)

PREFIX = "RECONCILER_"
SEPARATOR = "__"
# Variables of that prefix that are no settings.
OTHER_VARIABLES = ("RECONCILER_SETTINGS",)


class Settings(BaseSettings):
    """All of the operator's settings."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter=SEPARATOR, allow_inf_nan=False
    )

    repo: Repo = Field(default=Repo(), description="The manifest repo.")
    environment: str = Field(
        default="", description="Whose overlay is laid over the manifests. Empty: none, the manifests as they are."
    )
    state_dir: Folder | None = Field(
        default=None,
        description="Where state is kept. Null: `reconciler` in `$XDG_STATE_HOME`, else in `~/.local/state`.",
    )
    secrets: SecretPlaces = Field(default=SecretPlaces(), description="Where secrets may come from.")
    azure: AzureSettings = Field(default=AzureSettings(), description="Which Azure it is, and how to sign in to it.")
    models: Models = Field(default=Models(), description="The model registry.")
    environments: Environments = Field(default=Environments(), description="How Python environments are built.")
    images: Images = Field(default=Images(), description="How images for containers are built.")
    kubernetes: Kubernetes = Field(default=Kubernetes(), description="How Kubernetes clusters are reached.")
    docker: Docker = Field(default=Docker(), description="What services in containers may use of the machine.")
    targets: Targets = Field(default=Targets(), description="What may be deployed to.")
    rails: RailSettings = Field(default=RailSettings(), description="Safety rails.")
    daemon: DaemonSettings = Field(default=DaemonSettings(), description="The daemon.")
    forge: ForgeSettings = Field(default=ForgeSettings(), description="The forge that is told how applying went.")
    snapshot: SnapshotSettings = Field(default=SnapshotSettings(), description="Snapshots for planning elsewhere.")
    log: LogSettings = Field(default=LogSettings(), description="The daemon's log.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file; nothing else is read."""
        return (env_settings, init_settings)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its field names from the top, its type in words, its default."""

    path: tuple[str, ...]
    type: str
    default: Any
    about: str

    @property
    def key(self) -> str:
        """As written in the file: `repo.pollSeconds`."""
        return ".".join(camel(step) for step in self.path)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + SEPARATOR.join(self.path).upper()


def camel(name: str) -> str:
    """The name of a setting in the file."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def group_of(info: FieldInfo) -> type[Group] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Group) else None


def every_setting(kind: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """All settings, groups walked through, in the order of their definition."""
    for name, info in kind.model_fields.items():
        group = group_of(info)
        if group is not None:
            yield from every_setting(group, (*path, name))
        else:
            yield Setting((*path, name), _type_in_words(info), info.default, info.description or "")


def _type_in_words(info: FieldInfo) -> str:
    text = str(info.annotation)
    if "Literal" in text:
        words = " or ".join(f"`{word}`" for word in re.findall(r"'([\w-]+)'", text))
        return f"list of {words}" if "tuple" in text else words
    words = {"bool": "true or false", "float": "number", "int": "whole number"}
    if "tuple" in text:
        return "list of paths" if "Path" in text else "list of texts"
    if "Path" in text:
        return "path"
    return words.get(getattr(info.annotation, "__name__", ""), "text")
