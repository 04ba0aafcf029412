"""What the engine says of a service's containers: which one serves, which one is staged, and how they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reconciler.core.resources import Health, Mark
from reconciler.targets.local.docker.config import (
    LABEL_FIRST,
    LABEL_MARK,
    LABEL_SPEC,
    LABEL_TARGET,
    STAGING_NETWORK,
    labelled,
)

STAGED_SUFFIX = ".next"
RETIRED_SUFFIX = ".old"
NAMED = "named "


@dataclass(frozen=True, slots=True)
class Container:
    """One container as inspected."""

    report: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The engine's id."""
        return str(self.report["Id"])

    @property
    def name(self) -> str:
        """The engine's name for it, without the slash."""
        return str(self.report.get("Name", "")).lstrip("/")

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return cast("Mapping[str, str]", cast("Mapping[str, Any]", self.report.get("Config") or {}).get("Labels") or {})

    @property
    def ours(self) -> bool:
        """Whether it was made by a reconciler."""
        return LABEL_TARGET in self.labels and LABEL_MARK in self.labels

    @property
    def mark(self) -> Mark | None:
        """The mark it was made with."""
        data = labelled(self.labels, LABEL_MARK)
        return Mark.from_json(data) if data else None

    @property
    def service(self) -> str:
        """Name of the service it was made for, by its mark; "" if it carries none."""
        return self.mark.self_ref.rpartition("/")[2] if self.mark else ""

    @property
    def made_from(self) -> Mapping[str, Any]:
        """The spec it was made from, as JSON."""
        return labelled(self.labels, LABEL_SPEC)

    @property
    def scheme(self) -> str:
        """How it is spoken to."""
        return "https" if self.made_from.get("tls") else "http"

    @property
    def networks(self) -> frozenset[str]:
        """Names of the networks it is attached to."""
        settings = cast("Mapping[str, Any]", self.report.get("NetworkSettings") or {})
        return frozenset(cast("Mapping[str, Any]", settings.get("Networks") or {}))

    @property
    def first(self) -> bool:
        """Whether it was published as soon as it started, since there was no version before it."""
        return LABEL_FIRST in self.labels

    @property
    def retired(self) -> bool:
        """Whether it was taken off every network, so that another could take its port."""
        return not self.networks

    @property
    def address(self) -> str:
        """Where it is reached while it waits: on the staging network, else on the one it began on; "" if nowhere."""
        settings = cast("Mapping[str, Any]", self.report.get("NetworkSettings") or {})
        networks = cast("Mapping[str, Mapping[str, Any]]", settings.get("Networks") or {})
        name = STAGING_NETWORK if STAGING_NETWORK in networks else next(iter(networks), "")
        return str(networks.get(name, {}).get("IPAddress") or "")

    @property
    def state(self) -> Mapping[str, Any]:
        """The engine's `State`."""
        return cast("Mapping[str, Any]", self.report.get("State") or {})


def state_of(container: Container, name: str) -> str:
    """What a hand did to a container: `running` if nothing, since the engine itself restarts what it was told to.

    Args:
        name: What it is to be called, but for the suffixes of a roll-out.
    """
    if container.name not in (name, name + STAGED_SUFFIX, name + RETIRED_SUFFIX):
        return f"{NAMED}{container.name}"
    status = str(container.state.get("Status") or "")
    if status == "paused":
        return "paused"
    host = cast("Mapping[str, Any]", container.report.get("HostConfig") or {})
    policy = str(cast("Mapping[str, Any]", host.get("RestartPolicy") or {}).get("Name") or "")
    return "stopped" if status in ("exited", "dead") and policy in ("always", "unless-stopped") else "running"


def health_of(container: Container, last_lines: Sequence[str] = ()) -> tuple[Health, str]:
    """How a container is, and why if it is not well.

    Args:
        last_lines: Of its log, for the reason where it does not run.
    """
    state = container.state
    status = str(state.get("Status") or "")
    said = "".join(f"\n{line}" for line in last_lines)
    restarts = int(container.report.get("RestartCount") or 0)
    host = cast("Mapping[str, Any]", container.report.get("HostConfig") or {})
    if status == "running":
        return _running(state, restarts)
    if status == "restarting":
        return Health.DEGRADED, f"{_ended(state, host)}, restarted {restarts} times{said}"
    if status == "created":
        error = str(state.get("Error") or "")
        return (Health.DEGRADED, f"it could not be started: {error}") if error else (Health.PROGRESSING, "made")
    if status == "paused":
        return Health.SUSPENDED, "paused by hand"
    if status in ("exited", "dead"):
        return Health.DEGRADED, f"{_ended(state, host)}{said}"
    return Health.UNKNOWN, f"the engine says '{status}'"


def _running(state: Mapping[str, Any], restarts: int) -> tuple[Health, str]:
    check = cast("Mapping[str, Any]", state.get("Health") or {})
    again = f"; restarted {restarts} times" if restarts else ""
    match check.get("Status") or "none":
        case "healthy" | "none":
            return Health.HEALTHY, ""
        case "starting":
            return Health.PROGRESSING, f"starting{again}"
        case "unhealthy":
            log = cast("Sequence[Mapping[str, Any]]", check.get("Log") or ())
            output = str(log[-1].get("Output") or "").strip() if log else ""
            last = output.splitlines()[-1:] or [f"exit code {log[-1].get('ExitCode')}" if log else "no answer"]
            return Health.DEGRADED, f"its health check fails: {last[0][:300]}{again}"
        case other:
            return Health.UNKNOWN, f"the engine says '{other}' of its health"


def _ended(state: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        memory = float(host.get("Memory") or 0) / 1e9
        return f"killed for using more memory than its limit of {memory:g} GB"
    error = str(state.get("Error") or "")
    code = int(state.get("ExitCode") or 0)
    words = f"killed by signal {code - 128}" if 128 < code < 160 else f"ended with exit code {code}"
    return f"{words}: {error}" if error else words
