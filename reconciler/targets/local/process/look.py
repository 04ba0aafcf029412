"""Reading a service's folder: whose it is, whether its supervisor lives, how the service is.

Nothing is asked of supervisors here: each keeps its state file up to date, and the lock that only it can hold says
whether it lives. So looking at a thousand services wakes none of them.
"""

from __future__ import annotations

import json
import pwd
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.resources import Health, Mark, Observed, Owner, ResourceId, Staged
from reconciler.core.values import Spec, from_json
from reconciler.targets.local.keys import by_digest
from reconciler.targets.local.process.layout import IDENTITY, STATE, lock_holder, stamp

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class View:
    """What a folder says.

    Args:
        identity: None if there is none: then the folder is not ours.
        state: As the supervisor last wrote it; empty before the first time.
        pid: The living supervisor, None if there is none.
        keys_changed: The serving version's key file is not what the supervisor wrote.
        keys: What stands in it then, SHA-256 digests by slot; None where that cannot be read.
        keys_owner: Whose it is then, and when it was written.
    """

    folder: Path
    identity: Mapping[str, Any] | None
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pid: int | None = None
    keys_changed: bool = False
    keys: Mapping[str, str] | None = None
    keys_owner: Owner | None = None

    @property
    def uid(self) -> str:
        """Tells this folder from one of the same name made earlier or later."""
        return str(self.identity["uid"]) if self.identity else ""

    @property
    def version(self) -> str:
        """Precondition of writes: changes with every promotion and rewritten mark, not with restarts."""
        return f"{self.uid[:8]}-{self.state.get('generation', 0)}" if self.identity else ""

    @property
    def record(self) -> Mapping[str, Any]:
        """What was last promoted; empty if nothing was."""
        return cast("Mapping[str, Any]", self.state.get("record") or {})

    @property
    def serving(self) -> Mapping[str, Any] | None:
        """The serving version, None while none serves."""
        return self.state.get("serving") if self.pid else None

    @property
    def staged(self) -> Mapping[str, Any] | None:
        """The staged version, None while there is none."""
        return self.state.get("staged") if self.pid else None

    @property
    def mark(self) -> Mark | None:
        """Whose it is. Before the first promotion the folder itself is the mark, of no version."""
        if self.identity is None:
            return None
        whose = {name: self.identity.get(name, "") for name in ("installation", "service", "self")}
        return Mark.from_json({**self.record.get("mark", {}), **whose})


def look(folder: Path) -> View | None:
    """Reads a folder; None if it is not there.

    Raises:
        OSError: It cannot be read. ValueError: A file in it is damaged.
    """
    try:
        identity = (folder / IDENTITY).read_bytes()
    except FileNotFoundError:
        return View(folder, None) if folder.is_dir() else None
    except NotADirectoryError:
        if not folder.is_file():
            raise
        return View(folder, None)
    # The lock first: a supervisor that ends after this leaves a state that was true when we looked.
    pid = lock_holder(str(folder))
    try:
        raw = (folder / STATE).read_bytes()
    except FileNotFoundError:
        raw = b"{}"
    state, known = _object(STATE, raw), _object(IDENTITY, identity)
    if "uid" not in known:
        raise ValueError(f"its {IDENTITY} is damaged")
    view = View(folder, known, state, pid)
    file = str(view.state.get("keysFile") or "")
    if pid is None or not file or stamp(file) == view.state.get("keysStamp"):
        return view
    keys = _keys(Path(file))
    if keys is not None and keys == view.state.get("keys"):
        return view
    return replace(view, keys_changed=True, keys=keys, keys_owner=_owner(Path(file)))


def _object(name: str, data: bytes) -> dict[str, Any]:
    try:
        found: object = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"its {name} is damaged")
    return cast("dict[str, Any]", found)


def _keys(file: Path) -> Mapping[str, str] | None:
    """What a key file holds that somebody else wrote; the runtime goes on with the last one it could read."""
    try:
        found: Any = json.loads(file.read_bytes())
        keys = {str(key["slot"]): str(key["sha256"]) for key in found["keys"]}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return keys if all(_SHA256.fullmatch(digest) for digest in keys.values()) else None


def _owner(file: Path) -> Owner | None:
    try:
        status = file.stat()
    except OSError:
        return None
    try:
        name = f"user {pwd.getpwuid(status.st_uid).pw_name}"
    except KeyError:
        name = f"user id {status.st_uid}"
    return Owner(name, status.st_mtime)


def observed(view: View, resource: ResourceId, job: Staged | None) -> Observed:
    """The resource as the contract wants it.

    Args:
        job: What the driver itself is preparing or failed to, which the supervisor does not know of.
    """
    if view.identity is None:
        return Observed(resource, {}, None, Health.UNKNOWN, "a folder of that name stands here and is not ours")
    state = view.state
    staged = job
    if view.staged is not None and (job is None or job.health is not Health.PROGRESSING):
        staged = Staged(
            str(view.staged["specDigest"]), Health(str(view.staged["health"])), str(view.staged.get("reason", ""))
        )
    if view.pid is None:
        health, reason = Health.MISSING, _gone(state)
    else:
        health, reason = Health(str(state.get("health", "Missing"))), str(state.get("reason", ""))
    serves = view.serving is not None
    return Observed(
        resource,
        _spec(view) if serves else {},
        view.mark,
        health,
        reason,
        view.version,
        _outputs(view),
        busy=view.pid is not None and bool(state.get("busy")),
        staged=staged,
        events=tuple(f"{_time(event['at'])} {event['text']}" for event in state.get("events", ())),
        owners={"/auth/keys": view.keys_owner} if view.keys_owner else {},
    )


def _spec(view: View) -> Spec:
    spec = dict(from_json(view.record["spec"]))
    if view.keys_changed:
        spec["auth"] = {**spec["auth"], "keys": None if view.keys is None else _live(view, spec["auth"].get("keys"))}
    return spec


def _live(view: View, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys in a file that somebody else wrote; those that are still ours are what the record says they are."""
    ours: Mapping[str, str] = view.state.get("keys") or {}
    known = recorded or {}
    return {
        slot: known[slot] if ours.get(slot) == digest and slot in known else by_digest(digest)
        for slot, digest in (view.keys or {}).items()
    }


def _gone(state: Mapping[str, Any]) -> str:
    if not state.get("record") and not state.get("pid"):
        return "it was never started"
    if state.get("ended"):
        return str(state["ended"])
    events = state.get("events") or [{"text": "none"}]
    return (
        f"its supervisor (process {state.get('pid')}) is gone without a word: killed, or the machine restarted; "
        f"last event: {events[-1]['text']}"
    )


def _outputs(view: View) -> dict[str, Any]:
    if view.pid is None or view.serving is None:
        return {}
    port, host = view.state.get("port"), str(view.record.get("host", ""))
    return {
        "url": url(view),
        "host": host,
        "port": port,
        "pid": view.pid,
        "workers": [worker["pid"] for worker in view.serving["workers"]],
    }


def url(view: View) -> str:
    """Where a client on this machine connects to."""
    host, port = str(view.record.get("host", "")), view.state.get("port")
    scheme = "https" if view.record["spec"].get("tls") else "http"
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{reachable}:{port}"


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
