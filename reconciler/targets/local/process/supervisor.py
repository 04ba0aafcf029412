"""`python -m reconciler.targets.local.process.supervisor <service folder>`: the process that keeps a service.

It detaches, takes the folder's lock, answers on the control socket and waits for commands. The starting process ends
with 0 once commands are answered; otherwise it prints why not and ends with 1 (2: another supervisor has the folder).
"""

from __future__ import annotations

import os
import signal
import sys

from reconciler.targets.local.process.control import Control
from reconciler.targets.local.process.layout import IDENTITY, LOG, STATE, read_json, sockets_folder, take_lock
from reconciler.targets.local.process.loop import Loop
from reconciler.targets.local.process.service import Service
from reconciler.targets.local.process.spawn import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DRAIN_AT_SHUTDOWN = 10.0


def main() -> int:
    """Detaches and runs; returns in the starting process only."""
    folder = sys.argv[1]
    os.umask(0o077)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        said = b""
        while chunk := os.read(reader, 4096):
            said += chunk
        if said == b"ok":
            return 0
        sys.stdout.write(said.decode(errors="replace") or "the supervisor ended while it started\n")
        return 2 if said.startswith(b"another") else 1
    os.close(reader)
    try:
        os.chdir("/")
        lock = take_lock(folder)
        if lock is None:
            os.write(writer, b"another supervisor keeps this service\n")
            os._exit(2)
        loop = _set_up(folder)
        _redirect(folder)
    except Exception as error:  # noqa: BLE001 - told to the starter in words
        os.write(writer, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.write(writer, b"ok")
    os.close(writer)
    loop.run()
    os._exit(0)


def _set_up(folder: str) -> Loop:
    identity = read_json(f"{folder}/{IDENTITY}")
    if identity is None:
        raise FileNotFoundError(f"{folder} is not the folder of a service")
    try:
        state: dict[str, Any] = read_json(f"{folder}/{STATE}") or {}
    except ValueError:
        state = {}  # a damaged state file costs the port and the events, not the service
    identity["sockets"] = sockets_folder(folder, str(identity["uid"]))
    left = sweep(str(identity["uid"]))
    loop = Loop()
    control = Control(loop, identity["sockets"])
    service = Service(loop, folder, identity, state, control.announce)
    for pid in left:
        service.journal.event(f"process {pid} of an earlier run was left over and killed")
    service.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        why = f"the supervisor was told to end by {number.name}"
        loop.on_signal(number, lambda why=why: service.stop(_DRAIN_AT_SHUTDOWN, remove=False, why=why))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    service.save()
    control.serve(service)
    return loop


def _redirect(folder: str) -> None:
    """Standard streams away from whoever started this; what Python itself may say goes to the log."""
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(f"{folder}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main())
