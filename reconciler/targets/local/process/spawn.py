"""Starting a worker process: its own group, its limits, and an end of its own when the supervisor ends."""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

from reconciler.targets.local.process.layout import BELONGS_TO
from reconciler.targets.local.process.wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1  # prctl(2)


def spawn(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    *,
    output: int,
    control: int,
    pass_fds: list[int],
    limits: dict[str, Any],
) -> int:
    """Starts a process and returns its id, which is also that of its group.

    Args:
        output: Descriptor that becomes stdout and stderr.
        control: The worker's end of its control socket; also tells if the program could not be started.
        pass_fds: Descriptors it inherits beside these.
        limits: `files` (descriptors), `memoryBytes` (RLIMIT_DATA), `cpus` (numbers of the processors it may use).
    """
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        _become(argv, env, cwd, output, control, pass_fds, limits, parent)
    # In both processes, so that the group exists whoever comes first.
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    return pid


def _become(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    output: int,
    control: int,
    pass_fds: list[int],
    limits: dict[str, Any],
    parent: int,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        _end_with(parent)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for fd in (control, *pass_fds):
            os.set_inheritable(fd, True)
        _limit(limits)
        os.chdir(cwd)
        os.execve(argv[0], argv, env)  # noqa: S606 - no shell, by design
    except BaseException as error:  # noqa: BLE001 - nothing of this copy of the supervisor may go on
        name = getattr(error, "filename", None)
        text = f"{argv[0]} cannot be started: {error}" if name else f"the worker cannot be started: {error}"
        with contextlib.suppress(OSError):
            os.write(control, encode({"event": "failed", "reason": text, "detail": ""}))
    os._exit(127)


def _end_with(parent: int) -> None:
    """The kernel kills this process when the supervisor ends (Linux); elsewhere the closed control socket tells."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(127)


def _limit(limits: dict[str, Any]) -> None:
    files, memory, cpus = limits.get("files"), limits.get("memoryBytes"), limits.get("cpus")
    if files:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = int(files) if hard == resource.RLIM_INFINITY else min(int(files), hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    if cpus and sys.platform == "linux":
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sweep(uid: str) -> list[int]:
    """Kills what is left of a service's processes after its supervisor was killed, known by their environment.

    Returns:
        The ids of the processes killed. Linux only (proc(5)); elsewhere nothing is found.
    """
    killed: list[int] = []
    sign = f"{BELONGS_TO}={uid}".encode()
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return killed
    for name in names:
        pid = int(name)
        if pid == os.getpid() or not _carries(pid, sign):
            continue
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Looked at again through the handle's lifetime, so that the id cannot have passed to another process.
            if _carries(pid, sign):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                killed.append(pid)
        except OSError:
            pass
        finally:
            os.close(handle)
    return killed


def _carries(pid: int, sign: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return sign in file.read().split(b"\0")
    except OSError:
        return False
