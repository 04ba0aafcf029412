"""Telling systemd how we are: the sd_notify(3) protocol, one datagram to a unix socket, without a library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states (`READY=1`, `STOPPING=1`, `WATCHDOG=1`) to the service manager, if there is one.

    Args:
        environment: Where NOTIFY_SOCKET and WATCHDOG_USEC are looked up.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET", "")
        # An address that begins with @ is an abstract one (sd_notify(3)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        usec = given.get("WATCHDOG_USEC", "")
        self._watchdog = int(usec) / 1e6 if usec.isdecimal() else 0.0

    @property
    def watchdog_seconds(self) -> float:
        """How often the manager wants a sign of life, halved as sd_watchdog_enabled(3) advises; 0 for never."""
        return self._watchdog / 2 if self._address else 0.0

    def tell(self, state: str) -> None:
        """Sends a state; silence where nobody listens."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError:
            # A manager that went away must not take the daemon with it.
            return
