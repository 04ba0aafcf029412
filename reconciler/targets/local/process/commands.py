"""The driver's side of a supervisor: starting it, and telling it what to do."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import reconciler
from reconciler.core.resources import ResourceId
from reconciler.targets.local.process.layout import (
    CONTROL,
    IDENTITY,
    lock_holder,
    remove_leftovers,
    sockets_folder,
    write_json,
)
from reconciler.targets.local.process.look import View
from reconciler.targets.local.process.refusals import Refusal
from reconciler.targets.local.process.wire import ask

_START_SECONDS = 20.0
_ANSWER_SECONDS = 2.0


def create_folder(
    root: Path,
    resource: ResourceId,
    installation: str,
    service: str,
    *,
    adopt: View | None = None,
) -> None:
    """Makes a service's folder, marked from the first moment on; with `adopt` the existing one is marked anew."""
    identity: dict[str, Any] = {
        "format": 1,
        "installation": installation,
        "service": service,
        "self": str(resource),
        "uid": adopt.uid if adopt and adopt.uid else secrets.token_hex(16),
    }
    if adopt:
        write_json(str(adopt.folder / IDENTITY), identity, durable=True)
        return
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(str(root), resource.name)
    nascent = root / f".{resource.name}.{identity['uid'][:8]}.new"
    nascent.mkdir(mode=0o700)
    try:
        write_json(str(nascent / IDENTITY), identity, durable=True)
        nascent.rename(root / resource.name)
    except BaseException:
        shutil.rmtree(nascent, ignore_errors=True)
        raise


def control_socket(folder: Path, uid: str) -> str:
    """Where the supervisor of a folder takes commands."""
    return f"{sockets_folder(str(folder), uid)}/{CONTROL}"


class Supervisor:
    """The supervisor of a folder, reached by its control socket; one that keeps another service refuses."""

    def __init__(self, folder: Path, uid: str) -> None:
        self._uid = uid
        self._path = control_socket(folder, uid)

    @classmethod
    def ensure(cls, folder: Path, uid: str) -> Supervisor:
        """The living supervisor of a folder, started if there is none.

        Raises:
            OSError: It cannot be started, or does not answer in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        supervisor = cls(folder, uid)
        started = False
        while True:
            if not started and lock_holder(str(folder)) is None:
                started = _start(folder)
            try:
                supervisor.do("status")
            except (ConnectionError, FileNotFoundError):
                # Another starter's supervisor has the lock and is about to answer, or one that ends had it until now.
                if time.monotonic() > deadline or (started and lock_holder(str(folder)) is None):
                    raise
                time.sleep(0.01)
            else:
                return supervisor

    def do(self, command: str, **arguments: Any) -> Mapping[str, Any]:
        """Sends a command and returns the state after it.

        Raises:
            Refusal: The supervisor says no. OSError: It does not answer.
        """
        answer = ask(self._path, {"do": command, "uid": self._uid, **arguments}, _ANSWER_SECONDS)
        if "error" in answer:
            raise Refusal(answer)
        return answer["state"]


def _start(folder: Path) -> bool:
    """Starts a supervisor that outlives this process and shares nothing with it: session, descriptors, environment.

    Returns:
        Whether it is there; False if another one has the folder.
    """
    package = Path(next(iter(reconciler.__path__))).parent
    process = subprocess.run(
        [sys.executable, "-S", "-P", "-m", "reconciler.targets.local.process.supervisor", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(package)},
        start_new_session=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if process.returncode not in (0, 2):
        said = process.stdout.decode(errors="replace").strip()
        raise OSError(f"the supervisor of {folder.name} did not start: {said[-1000:]}")
    return process.returncode == 0
