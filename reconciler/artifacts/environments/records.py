"""What an environment's folder says about it: built, being built, failed, interrupted, or not ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from reconciler.artifacts.environments.build import is_building, missing_entries
from reconciler.artifacts.environments.places import Place, read_json, write_json
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import ENVIRONMENTS_TARGET
from reconciler.core.errors import (
    AccessError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Health, Mark, Observed, ResourceId
from reconciler.core.values import digest

_CLASSES = {kind.code: kind for kind in (AccessError, TerminalError, ThrottledError, UnavailableError)}


@dataclass(frozen=True, slots=True)
class Record:
    """An environment as its folder tells it.

    Args:
        spec: The desired spec it was (to be) built from; empty if nothing readable says so.
        built: It is complete and nothing is missing.
        complete: It was built, even if something is missing by now.
    """

    spec: Mapping[str, Any]
    mark: Mark | None
    built: bool = False
    complete: bool = False
    busy: bool = False
    health: Health = Health.HEALTHY
    reason: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def version(self) -> str:
        """Changes with whatever a write would have to take into account."""
        mark = self.mark.to_json() if self.mark else None
        return digest({"spec": dict(self.spec), "mark": mark, "built": self.built})[:16]

    def observed(self, name: str) -> Observed:
        """The record as the driver reports it: `built` in the spec is what differs when something is wrong."""
        return Observed(
            ResourceId(ENVIRONMENTS_TARGET, "environment", name),
            {**self.spec, "built": self.built} if self.spec else {},
            self.mark,
            self.health,
            self.reason,
            self.version,
            self.outputs,
            self.busy,
        )


def read_record(
    place: Place, *, running: Mapping[str, Any] | None = None, error: TargetError | None = None
) -> Record | None:
    """What stands at an environment's place; None if there is nothing.

    Args:
        running: The request that this process builds, or is about to.
        error: A failure that could not be written to disk.
    """
    if running is None and not place.folder.exists():
        return None
    marker = read_json(place.marker)
    source = running or marker or read_json(place.request) or {}
    mark = _mark(source)
    # The engine takes a mark with the desired digest for the end of the work: only what is built carries it.
    unbuilt = replace(mark, spec_digest="") if mark else None
    spec = source.get("spec")
    spec = cast("dict[str, Any]", spec) if isinstance(spec, dict) else {}
    if running is not None or (marker is None and is_building(place)):
        return Record(spec, unbuilt, busy=True, health=Health.PROGRESSING, reason="being built")
    if marker is not None:
        whole = _complete(place, marker, spec, mark)
        return whole if whole.built else replace(whole, mark=unbuilt)
    if error is None and (failed := read_json(place.failure)):
        error = failure_from(failed)
    if error is not None:
        reason = error.message + (f"\n{error.hint}" if error.hint else "")
        return Record(spec, unbuilt, health=Health.DEGRADED, reason=reason)
    if mark is None:
        return Record(spec, None, health=Health.UNKNOWN, reason="no record says what this is")
    return Record(spec, unbuilt, health=Health.DEGRADED, reason="its build was interrupted")


def _complete(place: Place, marker: Mapping[str, Any], spec: Mapping[str, Any], mark: Mark | None) -> Record:
    gone = missing_entries(place, [str(entry) for entry in marker.get("entries") or ()])
    reason = ""
    if not place.python.exists():
        reason = "its Python is gone from this machine" if place.python.is_symlink() else "its Python is missing"
    elif not (place.venv / "pyvenv.cfg").is_file():
        reason = "pyvenv.cfg is missing"
    elif gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        reason = f"files are missing: {', '.join(gone[:3])}{more}"
    outputs = {
        "python": str(place.python),
        "pythonVersion": marker.get("python", ""),
        "lock": marker.get("lock", ""),
        "packages": marker.get("packages", 0),
        "path": str(place.venv),
    }
    health = Health.DEGRADED if reason else Health.HEALTHY
    return Record(spec, mark, not reason, True, health=health, reason=reason, outputs=outputs)


def write_failure(place: Place, error: TargetError) -> None:
    """Records why a build failed, to be reported by the next `apply` and shown by `observe`."""
    data = {"code": error.code, "message": error.message, "hint": error.hint, "retryAfter": error.retry_after}
    write_json(place.failure, {**data, "reported": False})


def failure_from(data: Mapping[str, Any]) -> TargetError:
    """A recorded failure as the error it was."""
    kind = _CLASSES.get(str(data.get("code")), TerminalError)
    after = data.get("retryAfter")
    return kind(
        str(data.get("message")),
        hint=str(data.get("hint") or ""),
        retry_after=float(after) if isinstance(after, (int, float)) else None,
    )


def take_failure(place: Place) -> TargetError | None:
    """The failure that nobody was told yet; it counts as told from now on, so that the next try builds again."""
    data = read_json(place.failure)
    if data is None or data.get("reported"):
        return None
    write_json(place.failure, {**data, "reported": True})
    return failure_from(data)


def write_mark(place: Place, mark: Mark) -> None:
    """Puts another mark on an environment."""
    for path in (place.request, place.marker):
        if data := read_json(path):
            write_json(path, {**data, "mark": mark.to_json()})


def _mark(data: Mapping[str, Any]) -> Mark | None:
    mark = data.get("mark")
    return Mark.from_json(cast("dict[str, Any]", mark)) if isinstance(mark, dict) else None
