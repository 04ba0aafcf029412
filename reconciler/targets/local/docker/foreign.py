"""A container that somebody else made, as it would read if it served a finished image of ours.

Field names are those of https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ContainerInspect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from reconciler.core.described import Unsaid
from reconciler.core.suspects import may_be_secret
from reconciler.core.values import Spec
from reconciler.targets.local.docker.config import PORT, Machine, Seal, published, read_back
from reconciler.targets.local.docker.look import Container, state_of

# What only arguments of our runtime and our own labels could tell; a finished image has neither.
_ASSUMED: Spec = {
    "models": [],
    "workers": 1,
    "scoring": {"timeoutMs": 60_000, "maxConcurrentRequests": 1},
    "readyTimeoutSeconds": 300,
    "drainSeconds": 30,
    "corsOrigins": [],
    "auth": {"enabled": False},
    "readyMade": True,
}
_COMPOSE = "com.docker.compose"
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")

# Read back field by field, or without effect on what runs.
_SAID = frozenset(
    [
        "Binds",
        "LogConfig",
        "NetworkMode",
        "PortBindings",
        "RestartPolicy",
        "Mounts",
        "NanoCpus",
        "Memory",
        "MemorySwap",
        "ReadonlyRootfs",
        "ContainerIDFile",
        "VolumeDriver",
        "ConsoleSize",
        "Annotations",
    ]
)
# What the engine sets by itself.
_USUAL: Mapping[str, Sequence[Any]] = {
    "CgroupnsMode": ("host", "private"),
    "IpcMode": ("private", "shareable"),
    "Isolation": ("", "default"),
    "Runtime": ("runc",),
    "ShmSize": (67_108_864,),
    "MemorySwappiness": (-1,),
    "PidsLimit": (-1,),
    "OomScoreAdj": (0,),
    "Init": (True,),
}
# Paths that the engine hides in every container that is not privileged.
_ENGINES_OWN = ("MaskedPaths", "ReadonlyPaths")
_EFFECT = "it stays while this container does; a new version of the service is made without it"
_LONGEST = 80


def foreign_spec(container: Container, image_env: Sequence[str], seal: Seal, machine: Machine) -> Spec:
    """The normal form of a container that is not ours; variables that may be secrets are sealed."""
    report = container.report
    host = _section(report, "HostConfig")
    spec: dict[str, Any] = dict(read_back(report, {**_ASSUMED, "port": 0}, image_env, seal, machine))
    if not published(host).get("HostPort"):
        # Published at whatever port was free, or not at all.
        spec["port"] = None if published(host) else 0
    inherited = set(image_env)
    own = (item.partition("=") for item in _section(report, "Config").get("Env") or () if item not in inherited)
    spec["environmentVariables"] = {
        name: seal(value) if may_be_secret(name, value) else value for name, _, value in sorted(own)
    }
    spec.pop("volumes", None)
    volumes = [each for each in _mounts(report) if not _anonymous(each)]
    if volumes:
        spec["volumes"] = sorted((_volume(each) for each in volumes), key=lambda volume: str(volume["path"]))
    spec["networks"] = sorted(container.networks)
    limits = cast("Mapping[str, Any]", spec["limits"])
    if limits.get("gpus") is not None:
        spec["limits"] = {**limits, "gpus": str(limits["gpus"])}
    spec["state"] = state_of(container, container.name)
    return spec


def unsaid_of(container: Container, image: Mapping[str, Any]) -> Iterator[Unsaid]:
    """What of a container no manifest can say.

    Args:
        image: As the engine inspects it.
    """
    report = container.report
    host, config = _section(report, "HostConfig"), _section(report, "Config")
    made = cast("Mapping[str, Any]", image.get("Config") or {})
    for key in ("Entrypoint", "Cmd", "User", "WorkingDir", "Healthcheck", "StopSignal"):
        if (config.get(key) or None) != (made.get(key) or None):
            # Arguments may hold secrets: that they differ is told, not what they are.
            value = _shown(config.get(key)) if key in ("User", "WorkingDir", "StopSignal") else "not that of the image"
            yield Unsaid(f"Config.{key}: {value}", _EFFECT)
    yield from _labels(config, made)
    for port, bindings in cast("Mapping[str, Any]", host.get("PortBindings") or {}).items():
        others = bindings[1:] if port == f"{PORT}/tcp" else bindings
        for each in others or ():
            where = f"{each.get('HostIp') or '0.0.0.0'}:{each.get('HostPort') or '(free)'}"  # noqa: S104  as it reads
            yield Unsaid(f"port {port} at {where}", _EFFECT)
    for name, network in cast("Mapping[str, Any]", _section(report, "NetworkSettings").get("Networks") or {}).items():
        own = {container.name, container.id[:12], str(config.get("Hostname") or "")}
        for alias in sorted({*(network.get("Aliases") or ())} - own):
            yield Unsaid(f"network {name}: it is also called {alias}", _EFFECT)
        if network.get("IPAMConfig"):
            yield Unsaid(f"network {name}: a fixed address", _EFFECT)
    log = cast("Mapping[str, Any]", host.get("LogConfig") or {})
    if log.get("Type") not in (None, "", "json-file"):
        yield Unsaid(f"HostConfig.LogConfig.Type: {_shown(log['Type'])}", "a new version logs to a file")
    if int(host.get("MemorySwap") or 0) not in (0, int(host.get("Memory") or 0), 2 * int(host.get("Memory") or 0)):
        yield Unsaid(f"HostConfig.MemorySwap: {host['MemorySwap']}", "a new version may use no swap")
    for each in _mounts(report):
        if _anonymous(each):
            yield Unsaid(f"an unnamed volume at {each.get('Destination')}", "a new version gets an empty one")
    for key, value in sorted(host.items()):
        if key in _SAID or key in _ENGINES_OWN or not value or value in _USUAL.get(key, ()):
            continue
        if key in ("Ulimits", "DeviceRequests") and _read_back(key, value):
            continue
        yield Unsaid(f"HostConfig.{key}: {_shown(value)}", _EFFECT)


def _labels(config: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[Unsaid]:
    """Labels that are not the image's, by name alone: their text may be a secret."""
    labels, inherited = (cast("Mapping[str, str]", each.get("Labels") or {}) for each in (config, made))
    project = labels.get(f"{_COMPOSE}.project")
    if project:
        service = labels.get(f"{_COMPOSE}.service") or ""
        yield Unsaid(
            f"service {service} of Docker Compose project {project}",
            "take it out of that project, or Compose goes on with it, too",
        )
    own = sorted(name for name, text in labels.items() if inherited.get(name) != text and _COMPOSE not in name)
    if own:
        yield Unsaid(f"Config.Labels: {', '.join(own)}", _EFFECT)


def _read_back(key: str, value: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all of it is among the limits of a service."""
    if key == "Ulimits":
        return all(each.get("Name") == "nofile" and each.get("Soft") == each.get("Hard") for each in value)
    return len(value) == 1 and value[0].get("Capabilities") == [["gpu"]] and not value[0].get("DeviceIDs")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _section(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", report.get(name) or {})


def _mounts(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in report.get("Mounts") or () if each.get("Type") in ("bind", "volume")]


def _anonymous(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume" and bool(_ANONYMOUS.fullmatch(str(mount.get("Name") or "")))


def _volume(mount: Mapping[str, Any]) -> dict[str, Any]:
    source = mount.get("Name") if mount.get("Type") == "volume" else mount.get("Source")
    return {"source": source, "path": mount.get("Destination"), "readOnly": not mount.get("RW", True)}
