"""Commands without the second that Python takes to load them: a process that has loaded everything forks for each.

What runs is a real process with the folder, the variables and the three streams it is given, and an exit code of its
own; only the imports are behind it. What is about starting (which modules are loaded, how Python is set up) must
not be tested this way, and variables that an interpreter reads as it starts lead to one of its own.
"""

from __future__ import annotations

import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

_READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "MALLOC_", "COVERAGE")
_OF_NO_MATTER = {"PYTHONDONTWRITEBYTECODE"}
_ROOT = Path(__file__).parents[1]


def run(
    module: str, words: tuple[str, ...], cwd: Path, env: Mapping[str, str], *, text: str = "", timeout: float = 100.0
) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE WORDS…` to its end.

    Args:
        text: What it reads from its standard input.
        timeout: Seconds after which it is killed.

    Raises:
        subprocess.TimeoutExpired: It was.
    """
    command = [sys.executable, "-m", module, *words]
    changed = {name for name in {*env, *os.environ} if env.get(name) != os.environ.get(name)}
    if any(name.startswith(_READ_AT_START) for name in changed - _OF_NO_MATTER):
        return subprocess.run(
            command, cwd=cwd, env=dict(env), input=text, capture_output=True, text=True, check=False, timeout=timeout
        )
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(_parent().address)
        (stdin, feed), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        order = json.dumps({"module": module, "words": words, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(link, [len(order).to_bytes(8)], [stdin, stdout, stderr])
        link.sendall(order)
        for handle in (stdin, stdout, stderr):
            os.close(handle)
        answers = link.makefile("r")
        pid = int(answers.readline())
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            os.kill(pid, signal.SIGKILL)

        timer = threading.Timer(timeout, kill)
        timer.start()
        said: dict[int, str] = {}
        readers = [threading.Thread(target=_read, args=(handle, said)) for handle in (out, err)]
        readers.append(threading.Thread(target=_feed, args=(feed, text)))
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = int(answers.readline())
        timer.cancel()
    if killed.is_set():
        raise subprocess.TimeoutExpired(command, timeout, said[out], said[err])
    return subprocess.CompletedProcess(command, code, said[out], said[err])


def _read(handle: int, said: dict[int, str]) -> None:
    with open(handle, encoding="utf-8") as stream:
        said[handle] = stream.read()


def _feed(handle: int, text: str) -> None:
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except BrokenPipeError:
        pass


class _Parent:
    """The process that forks; it ends with this one, whose end of a pipe it holds."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="prefork-")
        self.address = str(Path(self._folder.name) / "s")
        command = [sys.executable, "-m", "tests.prefork", self.address]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _serve(address: str) -> None:
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            link, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _wait(link)
            link.close()


def _load() -> None:
    package = importlib.import_module("reconciler")
    for module in pkgutil.walk_packages(package.__path__, "reconciler."):
        if not module.name.startswith("reconciler.serving") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()


def _wait(link: socket.socket) -> None:
    """Begins one command, and tells how it ended."""
    head, handles, _, _ = socket.recv_fds(link, 8, 3)
    with link.makefile("rb") as stream:
        order = json.loads(stream.read(int.from_bytes(head)))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        link.close()
        _become(order, handles)
    for handle in (*handles, 0, 1):
        os.close(handle)
    link.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    link.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: dict[str, object], handles: list[int]) -> None:
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(errors, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[call-overload]
    os.chdir(str(order["cwd"]))
    sys.argv[1:] = order["words"]  # type: ignore[assignment]
    sys.path[0] = str(order["cwd"])
    runpy.run_module(str(order["module"]), run_name="__main__", alter_sys=True)
    raise SystemExit


if __name__ == "__main__":
    _serve(sys.argv[1])
