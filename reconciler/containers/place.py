"""Which engine is meant: by URL, by a context of the docker command, or by the machine's own default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reconciler.containers.ssh import ssh_command
from reconciler.core.errors import InvalidError

DEFAULT = "unix:///var/run/docker.sock"
SCHEMES = ("unix", "tcp", "ssh")


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Where an engine answers.

    Args:
        url: `unix://PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`.
        tls: Folder with `ca.pem`, `cert.pem` and `key.pem`; "" for none.
        origin: How it was found, in words for people.
    """

    url: str = DEFAULT
    tls: str = ""
    origin: str = "the machine's own"

    @property
    def here(self) -> bool:
        """Whether it runs on this machine, so that its networks can be reached."""
        return self.url.startswith("unix://")


def find_place(block: Mapping[str, Any], environ: Mapping[str, str]) -> EnginePlace:
    """The engine that a target's block means, else the one the environment or the docker command's context names.

    Args:
        block: `dockerHost`, `dockerContext`, `dockerTlsDir` of a Local target, all optional.
        environ: The daemon's own environment: `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_CERT_PATH`, `DOCKER_TLS_VERIFY`
            and `DOCKER_CONFIG` as https://docs.docker.com/reference/cli/docker/ has them.

    Raises:
        InvalidError: The URL's scheme is none of `SCHEMES`, it names no host, or there is no such context.
    """
    config = Path(environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '/root')}/.docker")
    if url := str(block.get("dockerHost") or ""):
        return _checked(EnginePlace(url, str(block.get("dockerTlsDir") or ""), "the target's dockerHost"))
    if name := str(block.get("dockerContext") or ""):
        return _context(config, name, "the target's dockerContext")
    if url := environ.get("DOCKER_HOST", ""):
        tls = environ.get("DOCKER_CERT_PATH", str(config)) if environ.get("DOCKER_TLS_VERIFY") else ""
        return _checked(EnginePlace(url, tls, "DOCKER_HOST"))
    name = environ.get("DOCKER_CONTEXT") or str(_json(config / "config.json").get("currentContext") or "")
    if name and name != "default":
        return _context(config, name, "the docker command's context")
    return EnginePlace()


def _context(config: Path, name: str, origin: str) -> EnginePlace:
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(config / "contexts" / "meta" / folder / "meta.json")
    endpoint = cast("Mapping[str, Any]", cast("Mapping[str, Any]", meta.get("Endpoints") or {}).get("docker") or {})
    if not endpoint.get("Host"):
        raise InvalidError(f"there is no docker context '{name}'", hint="`docker context ls` lists them")
    tls = config / "contexts" / "tls" / folder / "docker"
    return _checked(EnginePlace(str(endpoint["Host"]), str(tls) if tls.is_dir() else "", f"{origin} '{name}'"))


def _checked(place: EnginePlace) -> EnginePlace:
    scheme, separator, _ = place.url.partition("://")
    if not separator or scheme not in SCHEMES:
        listed = ", ".join(f"{known}://" for known in SCHEMES)
        raise InvalidError(f"'{place.url}' is no address of a container engine", hint=f"it begins with one of {listed}")
    if scheme == "ssh":
        ssh_command(place.url)
    return place


def _json(path: Path) -> Mapping[str, Any]:
    try:
        data: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}
