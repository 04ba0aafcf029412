"""How a version that waits to be promoted stands: starting, ready, or not to become so."""

from __future__ import annotations

import http.client
import ssl
from datetime import UTC, datetime

from reconciler.core.resources import Health, Staged
from reconciler.targets.local.docker.config import PORT
from reconciler.targets.local.docker.group import Group
from reconciler.targets.local.docker.look import Container, health_of
from reconciler.targets.local.docker.streams import Tail

LAST_LINES = 5


def staged_of(group: Group, tail: Tail) -> Staged | None:
    """What is staged beside, or left behind, the serving version; None if nothing is.

    Args:
        tail: Reads the last lines of a container's log, for the reason where it failed.
    """
    container = group.staged
    if container is None:
        left = group.retired
        if left is None:
            return None
        return Staged(left.mark.spec_digest if left.mark else "", Health.DEGRADED, "a replaced version is left")
    wanted = container.mark.spec_digest if container.mark else ""
    health, reason = health_of(container)
    status = str(container.state.get("Status") or "")
    if status == "running" and not container.report.get("RestartCount"):
        if _ready(container):
            return Staged(wanted, Health.HEALTHY)
        if _late(container):
            lines = "".join(f"\n{line}" for line in tail(container, LAST_LINES))
            return Staged(wanted, Health.DEGRADED, f"it did not become ready in time{lines}")
        return Staged(wanted, Health.PROGRESSING, "starting")
    if status == "created" and health is Health.PROGRESSING:
        return Staged(wanted, Health.PROGRESSING, "starting")
    lines = tail(container, LAST_LINES)
    health, reason = health_of(container, lines)
    if health is not Health.DEGRADED:
        reason = "it ended and was started again" + "".join(f"\n{line}" for line in lines)
    return Staged(wanted, Health.DEGRADED, reason)


def _ready(container: Container) -> bool:
    """Whether it answers where nobody else reaches it."""
    if not container.address:
        return False
    path = "/" if container.made_from.get("readyMade") else "/health/ready"
    connection: http.client.HTTPConnection
    if container.scheme == "https":
        # By its address on a network of this machine, which no certificate names.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(container.address, PORT, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(container.address, PORT, timeout=2)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status < 500 if container.made_from.get("readyMade") else status == 200


def _late(container: Container) -> bool:
    started = str(container.state.get("StartedAt") or "")
    limit = float(container.made_from.get("readyTimeoutSeconds") or 300)
    try:
        since = datetime.fromisoformat(started.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC)
    except ValueError:
        return False
    return (datetime.now(UTC) - since).total_seconds() > limit
