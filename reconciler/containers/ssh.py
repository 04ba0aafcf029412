"""An engine on another machine, spoken to through the machine's own `ssh`, with its settings, keys and agent.

Each connection is one `ssh … docker system dial-stdio`, as the docker command itself does it; nothing listens anywhere.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from reconciler.core.errors import InvalidError, TargetError, UnavailableError

_CONNECT_SECONDS = 15
_ENDS_SECONDS = 5


def ssh_command(url: str) -> list[str]:
    """The command whose input and output are the engine's socket.

    Args:
        url: `ssh://[USER@]HOST[:PORT]`.

    Raises:
        InvalidError: It names no host, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        host = port = user = None
    if not host or host.startswith("-") or (user or "").startswith("-"):
        raise InvalidError(f"'{url}' is no address of a container engine", hint="write ssh://USER@HOST or …:PORT")
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
    words += ["-l", user] if user else []
    words += ["-p", str(port)] if port else []
    return [*words, "--", host, "docker", "system", "dial-stdio"]


class SshConnection:
    """One run of the command, which ends with its connection.

    Raises:
        UnavailableError: There is no ssh.
    """

    def __init__(self, command: Sequence[str], timeout: float | None) -> None:
        self._command = command
        self._said = ""
        self.socket, far = socket.socketpair()
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever waits for the end
        try:
            # A session of its own: ssh must not ask at the terminal, and Ctrl-C is for us to handle.
            end = far.fileno()
            process = subprocess.Popen(command, stdin=end, stdout=end, stderr=said, start_new_session=True)
        except OSError as error:
            self.socket.close()
            said.close()
            raise UnavailableError(f"ssh cannot be started: {error.strerror}", hint="install it") from error
        finally:
            far.close()

        def wait() -> None:
            process.wait()
            with said:
                said.seek(0)
                self._said = said.read().decode(errors="replace").strip()

        self._waiter = threading.Thread(target=wait, name="ssh", daemon=True)
        self._waiter.start()
        self.socket.settimeout(timeout)

    def ended(self) -> TargetError | None:
        """What ssh said, if it said anything."""
        self._waiter.join(_ENDS_SECONDS)
        if not self._said:
            return None
        where = self._command[self._command.index("--") + 1]
        return UnavailableError(
            f"the container engine at {where} cannot be reached: {self._said.splitlines()[-1]}",
            hint=f"`{' '.join(self._command)}` must work without a question",
        )
