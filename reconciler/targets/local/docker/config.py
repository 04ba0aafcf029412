"""A container's configuration, both ways: from the normal form to the engine's own words, and back from its report.

The names are those of https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ContainerCreate. What is
read back is what the engine reports, not what was once sent, so that whatever a hand changes shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec, from_json, to_json

PORT = 5001
KEYS_FOLDER = "/run/reconciler"
KEYS_FILE = f"{KEYS_FOLDER}/keys.json"
TLS_FILES = {"certFile": "/run/reconciler-tls/cert.pem", "keyFile": "/run/reconciler-tls/key.pem"}
LABEL = "dev.reconciler"
LABEL_TARGET = f"{LABEL}.target"
LABEL_MARK = f"{LABEL}.mark"
LABEL_SPEC = f"{LABEL}.spec"
# On a first version that is published as soon as it starts: there is nothing that it could take the place of.
LABEL_FIRST = f"{LABEL}.first"
STAGING_NETWORK = "reconciler-staging"

_HEALTH = (
    "import ssl,urllib.request as u;"
    f"u.urlopen('https://127.0.0.1:{PORT}/health/live',timeout=4,context=ssl._create_unverified_context())"
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TCP = f"{PORT}/tcp"
_GIGA = 1e9

Reveal = Callable[[Secret | SecretRef], str]
Seal = Callable[[str], Secret]


def section(spec: Spec, name: str) -> Mapping[str, Any]:
    """A map in a spec; empty if it is not there."""
    return cast("Mapping[str, Any]", spec.get(name) or {})


def configuration(
    spec: Spec,
    service: str,
    version: str,
    port: int,
    labels: Mapping[str, str],
    reveal: Reveal,
    volume: str,
    network: str = STAGING_NETWORK,
) -> dict[str, Any]:
    """What the engine is asked to create.

    Args:
        network: What it starts on; on the staging network no port is published.
        version: 64 hex digits that tell this version from others.
        port: The port to publish, also where the spec leaves the choice.
        volume: Name of the volume with the key file; "" where no key is asked for.
    """
    limits, log = section(spec, "limits"), section(spec, "log")
    host: dict[str, Any] = {
        "NetworkMode": network,
        "PortBindings": {_TCP: [{"HostIp": str(spec["host"]), "HostPort": str(port)}]},
        "RestartPolicy": restart_policy(str(spec["restart"])),
        "LogConfig": {"Type": "json-file", "Config": _rotation(log)},
        "Init": True,
        **resources(limits),
    }
    if not spec.get("readyMade"):
        host |= {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}
    if spec["readOnly"]:
        host |= {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": "mode=1777"}}  # noqa: S108 - in the container
    if limits.get("openFiles"):
        host["Ulimits"] = [{"Name": "nofile", "Soft": limits["openFiles"], "Hard": limits["openFiles"]}]
    if limits.get("gpus"):
        count = -1 if limits["gpus"] == "all" else int(limits["gpus"])
        host["DeviceRequests"] = [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    mounts = [
        {
            "Type": "bind" if str(mount["source"]).startswith("/") else "volume",
            "Source": mount["source"],
            "Target": mount["path"],
            "ReadOnly": mount["readOnly"],
        }
        for mount in cast("Sequence[Mapping[str, Any]]", spec.get("volumes") or ())
    ]
    tls = section(spec, "tls")
    mounts += [
        {"Type": "bind", "Source": tls[key], "Target": path, "ReadOnly": True} for key, path in TLS_FILES.items() if tls
    ]
    if volume:
        mounts.append({"Type": "volume", "Source": volume, "Target": KEYS_FOLDER, "ReadOnly": False})
    host["Mounts"] = mounts
    config: dict[str, Any] = {
        "Image": spec["image"],
        "Env": [f"{name}={value}" for name, value in sorted(_environment(spec, reveal).items())],
        "Labels": dict(labels),
        "ExposedPorts": {_TCP: {}},
        "StopTimeout": int(float(cast("float", spec["drainSeconds"]))) + 5,
        "HostConfig": host,
    }
    if not spec.get("readyMade"):
        config["Cmd"] = arguments(spec, service, version)
        if tls:
            # The image's own check asks without TLS; what is left out of this one stays as it is there.
            config["Healthcheck"] = {"Test": ["CMD", "python", "-c", _HEALTH]}
    return config


def _rotation(log: Mapping[str, Any]) -> dict[str, str]:
    """When a log is rotated; never for a size of 0."""
    if not log["maxMb"]:
        return {}
    return {"max-size": f"{round(float(log['maxMb']) * 1e6)}", "max-file": str(log["files"])}


def resources(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits that can also be set on a running container; 0 is the engine's word for none."""
    memory = round(float(limits.get("memoryGb") or 0) * _GIGA)
    return {"NanoCpus": round(float(limits.get("cpuCores") or 0) * _GIGA), "Memory": memory, "MemorySwap": memory}


def restart_policy(policy: str) -> dict[str, Any]:
    """The engine's words for `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:N`."""
    name, _, most = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(most or 0)}


def arguments(spec: Spec, service: str, version: str) -> list[str]:
    """The scoring runtime's arguments."""
    scoring, auth = section(spec, "scoring"), section(spec, "auth")
    words = ["--host", "0.0.0.0", "--port", str(PORT), "--log-format", "json"]  # noqa: S104 - inside the container
    words += ["--workers", str(spec["workers"]), "--service-name", service, "--service-version", version[:12]]
    words += ["--timeout-ms", str(scoring["timeoutMs"]), "--concurrency", str(scoring["maxConcurrentRequests"])]
    words += ["--graceful-seconds", f"{float(cast('float', spec['drainSeconds'])):g}"]
    if "maxBodyMb" in scoring:
        words += ["--max-body-bytes", str(round(float(scoring["maxBodyMb"]) * 1e6))]
    if "maxWaitMs" in scoring:
        words += ["--max-wait-ms", str(scoring["maxWaitMs"])]
    if spec.get("tls"):
        words += ["--tls-cert", TLS_FILES["certFile"], "--tls-key", TLS_FILES["keyFile"]]
    origins = cast("Sequence[str]", spec.get("corsOrigins") or ())
    if origins:
        words += ["--cors", ",".join(origins)]
    if auth.get("enabled"):
        words += ["--keys-file", KEYS_FILE]
    return words


def _environment(spec: Spec, reveal: Reveal) -> dict[str, str]:
    own = {
        name: value if isinstance(value, str) else reveal(cast("Secret | SecretRef", value))
        for name, value in section(spec, "environmentVariables").items()
    }
    return {**_threads(spec), **own}


def _threads(spec: Spec) -> dict[str, str]:
    """Numeric libraries count the machine's cores, not the container's share."""
    cores = section(spec, "limits").get("cpuCores")
    return dict.fromkeys(_THREADS, str(max(1, -int(-float(cores) // 1)))) if cores else {}


def labels_of(target: str, mark: Mapping[str, Any], spec: Spec) -> dict[str, str]:
    """What says whose a container is and what it was made from; secrets by fingerprint."""
    return {
        LABEL_TARGET: target,
        LABEL_MARK: json.dumps(mark, sort_keys=True, separators=(",", ":")),
        LABEL_SPEC: json.dumps(to_json(spec), sort_keys=True, separators=(",", ":")),
    }


def labelled(labels: Mapping[str, str], name: str) -> dict[str, Any]:
    """A label's JSON; empty if it is none."""
    try:
        data: object = json.loads(labels.get(name, ""))
    except ValueError:
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine's machine has, which as a limit is none: the engine cannot lift one that was set."""

    cpus: int
    memory: int


def read_back(
    report: Mapping[str, Any],
    made_from: Mapping[str, Any],
    image_env: Sequence[str],
    seal: Seal,
    machine: Machine = Machine(0, 0),
) -> Spec:
    """The normal form of a container as the engine reports it.

    Args:
        report: What inspecting it gave.
        made_from: The spec that it was made from, as JSON; only what the engine cannot report is taken from it.
        image_env: `NAME=value` that come from its image.
        seal: Makes a secret of a text that was one in the spec.
        machine: A limit of as much as this counts as none where none was asked for.
    """
    before = cast("Spec", from_json(dict(made_from)))
    config = cast("Mapping[str, Any]", report.get("Config") or {})
    host = cast("Mapping[str, Any]", report.get("HostConfig") or {})
    spec: dict[str, Any] = dict(before)
    spec["image"] = config.get("Image")
    spec["limits"] = _limits(host, section(before, "limits"), machine)
    restart = cast("Mapping[str, Any]", host.get("RestartPolicy") or {})
    retries = restart.get("MaximumRetryCount") or 0
    spec["restart"] = f"{restart.get('Name') or 'no'}{f':{retries}' if retries else ''}"
    spec["readOnly"] = bool(host.get("ReadonlyRootfs"))
    binding = published(host)
    spec["host"] = binding.get("HostIp") or "0.0.0.0"  # noqa: S104 - what the engine means by nothing
    if before.get("port") is not None or not binding:
        spec["port"] = int(binding.get("HostPort") or 0)
    log = cast("Mapping[str, Any]", cast("Mapping[str, Any]", host.get("LogConfig") or {}).get("Config") or {})
    size = _bytes(str(log.get("max-size") or 0)) / 1e6
    spec["log"] = {"maxMb": int(size) if size.is_integer() else size, "files": int(log.get("max-file") or 1)}
    spec["environmentVariables"] = _variables(config.get("Env") or (), image_env, before, seal)
    _volumes(spec, host)
    if not before.get("readyMade"):
        _arguments(spec, cast("Sequence[str]", config.get("Cmd") or ()))
    return spec


def _bytes(text: str) -> float:
    """A size in the engine's words: a number of bytes, or of 1024, 1024² or 1024³ of them (`k`, `m`, `g`)."""
    plain = text.lower().removesuffix("b")
    power = "kmg".find(plain[-1:]) + 1 if plain[-1:].isalpha() else 0
    try:
        return float(plain.rstrip("kmg")) * 1024**power
    except ValueError:
        return 0.0


def published(host: Mapping[str, Any]) -> Mapping[str, str]:
    """The address (`HostIp`, `HostPort`) that a container is configured to be reached at; empty if at none."""
    bindings = cast("Mapping[str, Sequence[Mapping[str, str]] | None]", host.get("PortBindings") or {}).get(_TCP)
    return bindings[0] if bindings else {}


def answers_at(report: Mapping[str, Any]) -> Mapping[str, str]:
    """The address that a container is reached at: the one it is configured with, or the port that it was given."""
    host = published(cast("Mapping[str, Any]", report.get("HostConfig") or {}))
    if host.get("HostPort") or not host:
        return host
    settings = cast("Mapping[str, Any]", report.get("NetworkSettings") or {})
    given = cast("Mapping[str, Sequence[Mapping[str, str]] | None]", settings.get("Ports") or {}).get(_TCP)
    return given[0] if given else host


def _limits(host: Mapping[str, Any], before: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cores, memory = float(host.get("NanoCpus") or 0) / _GIGA, float(host.get("Memory") or 0) / _GIGA
    if cores and ("cpuCores" in before or cores != machine.cpus):
        found["cpuCores"] = int(cores) if cores.is_integer() else cores
    if memory and ("memoryGb" in before or memory * _GIGA != machine.memory):
        found["memoryGb"] = int(memory) if memory.is_integer() else memory
    files = [limit["Hard"] for limit in host.get("Ulimits") or () if limit.get("Name") == "nofile"]
    if files:
        found["openFiles"] = files[0]
    devices = [d for d in host.get("DeviceRequests") or () if ["gpu"] in (d.get("Capabilities") or [])]
    if devices:
        count = devices[0].get("Count")
        found["gpus"] = "all" if count == -1 else (str(count) if isinstance(before.get("gpus"), str) else count)
    return found


def _variables(reported: Sequence[str], image_env: Sequence[str], before: Spec, seal: Seal) -> dict[str, str | Secret]:
    own = section(before, "environmentVariables")
    inherited = set(image_env)
    found: dict[str, str | Secret] = {}
    for item in reported:
        name, _, value = item.partition("=")
        if name not in own and (item in inherited or name in _THREADS):
            continue
        found[name] = seal(value) if isinstance(own.get(name), (Secret, SecretRef)) else value
    return dict(sorted(found.items()))


def _volumes(spec: dict[str, Any], host: Mapping[str, Any]) -> None:
    mounted = {mount.get("Target"): mount for mount in host.get("Mounts") or ()}
    spec.pop("tls", None)
    if tls := {key: mounted[path].get("Source") for key, path in TLS_FILES.items() if path in mounted}:
        spec["tls"] = tls
    mounts = [mount for path, mount in mounted.items() if path not in (KEYS_FOLDER, *TLS_FILES.values())]
    spec.pop("volumes", None)
    found = [{"source": m.get("Source"), "path": m.get("Target"), "readOnly": bool(m.get("ReadOnly"))} for m in mounts]
    for bind in host.get("Binds") or ():
        source, path, *options = str(bind).split(":")
        found.append({"source": source, "path": path, "readOnly": "ro" in ",".join(options).split(",")})
    if found:
        spec["volumes"] = sorted(found, key=lambda volume: str(volume["path"]))


def _arguments(spec: dict[str, Any], words: Sequence[str]) -> None:
    """The runtime's arguments back into the fields they came from."""
    given = dict(zip(words[::2], words[1::2], strict=False))
    scoring: dict[str, Any] = {
        "timeoutMs": int(given.get("--timeout-ms") or 0),
        "maxConcurrentRequests": int(given.get("--concurrency") or 0),
    }
    if "--max-body-bytes" in given:
        body = int(given["--max-body-bytes"]) / 1e6
        scoring["maxBodyMb"] = int(body) if body.is_integer() else body
    if "--max-wait-ms" in given:
        scoring["maxWaitMs"] = int(given["--max-wait-ms"])
    spec["scoring"] = scoring
    spec["workers"] = int(given.get("--workers") or 0)
    spec["corsOrigins"] = [origin for origin in given.get("--cors", "").split(",") if origin]
    drain = float(given.get("--graceful-seconds") or 0)
    spec["drainSeconds"] = int(drain) if drain.is_integer() else drain
