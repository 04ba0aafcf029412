"""Everything a version needs on disk, and the command that starts it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from reconciler.core.contents import Contents
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import TerminalError
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec, to_json
from reconciler.targets.local.keys import key_digests
from reconciler.targets.local.process.layout import BELONGS_TO, VERSIONS, remove_tree
from reconciler.targets.local.process.render import version_of, whole_cores

LOG_MAX_MB = 10.0
LOG_FILES = 5

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a version come from.

    Args:
        contents: Bytes by object id.
        python_of: Interpreter of an environment, by its identity (64 hex digits).
        runtime_path: Folder to put on PYTHONPATH so that `reconciler.serving` can be imported.
        model_root: Lays models (`name`, `version`, `digest`) out on disk and returns AZUREML_MODEL_DIR.
        reveal: The text of a secret, or of a reference to one.
    """

    contents: Contents
    python_of: Callable[[str], Path]
    runtime_path: Callable[[], Path]
    model_root: Callable[[Sequence[Mapping[str, Any]]], Path]
    reveal: Callable[[Secret | SecretRef], str]


def prepare(parts: Parts, folder: Path, uid: str, service: str, spec: Spec, spec_digest: str) -> dict[str, Any]:
    """Lays a version out below a service's folder and returns the launch that its supervisor is sent.

    Raises:
        InvalidError: The source is not in the repo. TerminalError: It does not fit on this machine. OSError: Disk.
    """
    version = version_of(spec)
    place = folder / VERSIONS / f"{version[:12]}-{secrets.token_hex(3)}"
    try:
        entry = _section(spec, "entry")
        code = place / "code"
        _lay_out(parts.contents, entry, code)
        if not (code / str(entry["script"])).is_file():
            raise TerminalError(
                f"entry script {entry['script']} is not in the source directory",
                hint="paths are relative to sourceDirectory",
            )
        models = cast("Sequence[Mapping[str, Any]]", spec.get("models") or ())
        model_dir = parts.model_root(models)
        python = parts.python_of(str(_section(spec, "environment")["identity"]))
        scratch = place / "home"
        scratch.mkdir()
    except BaseException:
        remove_tree(str(place))
        raise
    limits, log = _section(spec, "limits"), _section(spec, "log")
    return {
        "id": version,
        "folder": str(place),
        "argv": [str(python), "-m", "reconciler.serving", *_arguments(spec, service, version, code)],
        "env": _environment(parts, spec, service, version, uid, python, code, model_dir, scratch),
        # Names of the variables that hold secrets: what a worker says last is shown to people, without their values.
        "secrets": [n for n, v in _section(spec, "environmentVariables").items() if not isinstance(v, str)],
        "cwd": str(code),
        "limits": {
            "files": limits.get("openFiles"),
            "memoryBytes": int(float(limits["memoryGb"]) * 1e9) if limits.get("memoryGb") else None,
            "cpus": processors(limits.get("cpuCores"), service),
        },
        "log": {
            "maxBytes": int(float(log.get("maxMb") or LOG_MAX_MB) * 1e6),
            "backups": int(log.get("files") or LOG_FILES) - 1,
        },
        "replicas": int(cast("int", spec["workers"])),
        "readySeconds": spec["readyTimeoutSeconds"],
        "drainSeconds": spec["drainSeconds"],
        "host": spec["host"],
        "port": spec["port"],
        "keys": key_digests(parts.reveal, spec),
        "spec": to_json(spec),
        "specDigest": spec_digest,
    }


def processors(cores: float | None, service: str) -> list[int] | None:
    """The processors a service is held to, spread over the machine by its name; None for all of them."""
    if cores is None or sys.platform != "linux":
        return None
    available = sorted(os.sched_getaffinity(0))
    count = whole_cores(float(cores))
    if count >= len(available):
        return None
    first = int(hashlib.sha256(service.encode()).hexdigest(), 16) % len(available)
    return sorted(available[(first + step) % len(available)] for step in range(count))


def _section(spec: Spec, name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", spec.get(name) or {})


def _lay_out(contents: Contents, entry: Mapping[str, Any], code: Path) -> None:
    code.mkdir(parents=True)
    root = code.resolve()
    for file in contents.files(str(entry["source"])):
        path = code / (file.path or str(entry["script"]))
        if not path.resolve().is_relative_to(root):
            raise TerminalError(f"{file.path!r} leads out of the source directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        with contents.open(file.object_id) as source, path.open("xb") as copy:
            shutil.copyfileobj(source, copy, 1024 * 1024)
        path.chmod(0o500 if file.executable else 0o400)


def _arguments(spec: Spec, service: str, version: str, code: Path) -> list[str]:
    scoring = _section(spec, "scoring")
    arguments = ["--entry", str(_section(spec, "entry")["script"]), "--source-dir", str(code), "--hold"]
    arguments += ["--workers", "1", "--log-format", "json"]
    arguments += ["--service-name", service, "--service-version", version[:12]]
    arguments += ["--timeout-ms", str(scoring["timeoutMs"]), "--concurrency", str(scoring["maxConcurrentRequests"])]
    arguments += ["--graceful-seconds", f"{float(cast('float', spec['drainSeconds'])):g}"]
    if "maxBodyMb" in scoring:
        arguments += ["--max-body-bytes", str(int(float(scoring["maxBodyMb"]) * 1e6))]
    if "maxWaitMs" in scoring:
        arguments += ["--max-wait-ms", str(scoring["maxWaitMs"])]
    tls = _section(spec, "tls")
    if tls:
        arguments += ["--tls-cert", str(tls["certFile"]), "--tls-key", str(tls["keyFile"])]
    origins = cast("Sequence[str]", spec.get("corsOrigins") or ())
    if origins:
        arguments += ["--cors", ",".join(origins)]
    return arguments


def _environment(
    parts: Parts,
    spec: Spec,
    service: str,
    version: str,
    uid: str,
    python: Path,
    code: Path,
    model_dir: Path,
    scratch: Path,
) -> dict[str, str]:
    """From scratch: nothing of this process's environment is passed on."""
    own = {
        name: value if isinstance(value, str) else parts.reveal(cast("Secret | SecretRef", value))
        for name, value in _section(spec, "environmentVariables").items()
    }
    env = {
        "PATH": f"{python.parent}:{_SYSTEM_PATH}",
        "HOME": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "AML_APP_ROOT": str(code),
        "SERVICE_NAME": service,
        "SERVICE_VERSION": version[:12],
    }
    cores = _section(spec, "limits").get("cpuCores")
    if cores is not None:
        env.update(dict.fromkeys(_THREADS, str(whole_cores(float(cores)))))
    env.update(own)
    # These are not the user's to choose: without them the version is not the one that was planned.
    runtime = str(parts.runtime_path())
    env["PYTHONPATH"] = f"{runtime}:{own['PYTHONPATH']}" if own.get("PYTHONPATH") else runtime
    env["PYTHONSAFEPATH"] = "1"
    env["AZUREML_MODEL_DIR"] = str(model_dir)
    env[BELONGS_TO] = uid
    return env
