"""What the operator allows: where references in manifests may lead. Nowhere, unless something is named here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Vaults:
    """Azure Key Vaults that may be read.

    Args:
        urls: Of the allowed ones, by their names where they have one; keys are in lower case.
        suffix: What follows a vault's name in its URL (`vault.azure.net`).
        verify_challenge: The resource that a vault asks a token for must be its own domain.
        timeout: Seconds for one answer.
        attempts: How often a vault is asked that does not answer.
        parallel: Secrets that are read at once.
    """

    urls: Mapping[str, str] = field(default_factory=dict[str, str])
    suffix: str = "vault.azure.net"
    verify_challenge: bool = True
    timeout: float = 10.0
    attempts: int = 3
    parallel: int = 8

    @classmethod
    def of(cls, named: Sequence[str], suffix: str, **more: float) -> Vaults:
        """From `NAME`, `URL` or `NAME=URL`, the last for a vault that is reached somewhere else."""
        urls: dict[str, str] = {}
        for text in named:
            name, _, url = text.rpartition("=")
            url = url.rstrip("/").lower()
            urls[name.lower() or url] = url if url.startswith("https://") else f"https://{url}.{suffix}"
        return cls(urls, suffix, **more)  # pyright: ignore[reportArgumentType]  # the settings' own types

    def url_of(self, vault: str) -> str | None:
        """Where an allowed vault is, by name or URL; None if it is not allowed."""
        given = vault.rstrip("/").lower()
        known = self.urls.get(given)
        if known is not None:
            return known
        url = given if given.startswith("https://") else f"https://{given}.{self.suffix}"
        if url in self.urls.values():
            return url
        # A vault allowed by its name may be written as the URL that this name stands for.
        name = re.fullmatch(rf"https://([a-z0-9-]+)\.{re.escape(self.suffix)}", url)
        return self.urls.get(name[1]) if name else None


@dataclass(frozen=True, slots=True)
class Sops:
    """Encrypted files of the repo that may be read, and what with.

    Args:
        files: Files, or folders whose files, relative to the manifest folder.
        key_sources: Kinds of key, as sops names them, that decrypting may use.
        binary: The program; looked for on PATH if it has no slash.
        age_key_file, gnupg_home: Where the keys are.
        environment: Further variables of the child process, such as those that sign in to Azure.
        timeout: Seconds for one file.
    """

    files: Sequence[str] = ()
    key_sources: frozenset[str] = frozenset({"age", "pgp"})
    binary: str = "sops"
    age_key_file: Path | None = None
    gnupg_home: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 30.0

    def allows(self, path: str) -> bool:
        """Whether a file of the repo may be read."""
        return any(path == allowed or path.startswith(f"{allowed}/") for allowed in (f.strip("/") for f in self.files))


@dataclass(frozen=True, slots=True)
class Scope:
    """Where references may lead.

    Args:
        env_prefixes: Names of environment variables must begin with one of these.
        folders: Files must lie below one of these, symlinks resolved.
        environment: The variables to look in.
    """

    env_prefixes: Sequence[str] = ()
    folders: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    vaults: Vaults = field(default_factory=Vaults)
    sops: Sops = field(default_factory=Sops)
