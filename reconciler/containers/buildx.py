"""`docker buildx`, the docker command's plugin that builds for other architectures and joins images into one.

The command runs with an environment of its own and a configuration folder that holds nothing but the credentials at
hand; the plugin is looked for where the docker command looks (https://docs.docker.com/build/concepts/overview/).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO

from reconciler.containers.engine import said
from reconciler.containers.place import EnginePlace
from reconciler.core.errors import TargetError, TerminalError, UnavailableError

_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "no_proxy")
_LAST_LINES = 12

# Registries by host, each with `username` and `password`.
Logins = Mapping[str, Mapping[str, str]]


class CancelledError(Exception):
    """The command was ended because `stop` was set."""


@dataclass(frozen=True, slots=True)
class Run:
    """How long a command may take, what ends it early, and who is told what it says.

    Args:
        deadline: `time.monotonic()` at which it is over.
    """

    stop: Event
    deadline: float
    log: Callable[[str], None]


class Buildx:
    """The plugin, for one engine.

    Args:
        environ: This program's environment; what the command may see is picked from it.
    """

    def __init__(self, place: EnginePlace, environ: Mapping[str, str]) -> None:
        self._place = place
        self._environ = environ

    def check(self) -> None:
        """Looks whether it is installed.

        Raises:
            TerminalError: It is not.
        """
        problem = "there is no docker command"
        if shutil.which("docker", path=self._environ.get("PATH")):
            with self._environment({}) as environment:
                done = subprocess.run(
                    ["docker", "buildx", "version"], env=environment, capture_output=True, check=False
                )
            if done.returncode == 0:
                return
            problem = "the docker command here has no buildx"
        raise TerminalError(
            f"images.platforms asks for architectures by name, and {problem}",
            hint="install the plugin (docker-buildx, docker-buildx-plugin), or take images.platforms out",
        )

    def manifest(self, reference: str, logins: Logins) -> bytes:
        """What a registry has under a name: an image's manifest, or an index of several, as JSON.

        Raises:
            TargetError: It cannot be read.
        """
        with self._environment(logins) as environment:
            command = ["docker", "buildx", "imagetools", "inspect", "--raw", reference]
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode:
            raise _failed(done.stderr.decode(errors="replace").splitlines(), f"looking at {reference}")
        return done.stdout

    def build(
        self,
        context: IO[bytes],
        tag: str,
        platform: str,
        logins: Logins,
        run: Run,
        network: str = "default",
    ) -> None:
        """Builds a context (a tar archive) for one architecture; the engine keeps the image.

        Raises:
            CancelledError: `run.stop` was set; the command has ended. TargetError: It failed.
        """
        command = ["docker", "buildx", "build", "--platform", platform, "--tag", tag, "--progress", "plain", "--load"]
        command += ["--provenance=false", "--network", network, "-"]
        self._run(command, context, logins, run, f"building for {platform}")

    def join(self, reference: str, parts: Sequence[str], logins: Logins, run: Run) -> None:
        """Gives several pushed images one name in the registry, by which each machine gets its own."""
        command = ["docker", "buildx", "imagetools", "create", "--progress", "plain", "--tag", reference, *parts]
        self._run(command, None, logins, run, f"joining {reference}")

    # -- details

    def _run(self, command: Sequence[str], source: IO[bytes] | None, logins: Logins, run: Run, what: str) -> None:
        lines: list[str] = []
        with self._environment(logins) as environment:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=source if source is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with process:
                assert process.stdout is not None
                os.set_blocking(process.stdout.fileno(), False)
                rest = b""
                while True:
                    data = process.stdout.read()
                    *whole, rest = (rest + (data or b"")).split(b"\n")
                    for raw in whole:
                        line = raw.decode(errors="replace").rstrip()
                        if line:
                            lines = [*lines[1 - 4 * _LAST_LINES :], line]
                            run.log(line)
                    if data == b"":
                        break
                    late = time.monotonic() > run.deadline
                    if run.stop.wait(0.05) or late:
                        _end(process)
                        if late:
                            raise UnavailableError(f"{what} took too long")
                        raise CancelledError
                if process.wait():
                    raise _failed(lines, what)

    @contextmanager
    def _environment(self, logins: Logins) -> Generator[dict[str, str]]:
        own = Path(self._environ.get("DOCKER_CONFIG") or f"{self._environ.get('HOME', '/root')}/.docker")
        auths = {
            host: {"auth": base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()}
            for host, login in logins.items()
        }
        with tempfile.TemporaryDirectory(prefix="reconciler-docker-") as folder:
            config = Path(folder) / "config.json"
            config.touch(mode=0o600)
            config.write_text(
                json.dumps({"auths": auths, "cliPluginsExtraDirs": [str(own / "cli-plugins"), *_PLUGINS]}), "utf-8"
            )
            environment = {name: self._environ[name] for name in _PASSED_ON if name in self._environ}
            environment |= {"DOCKER_CONFIG": folder, "DOCKER_HOST": self._place.url, "LANG": "C.UTF-8"}
            if self._place.tls:
                environment |= {"DOCKER_CERT_PATH": self._place.tls, "DOCKER_TLS_VERIFY": "1"}
            yield environment


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the command, then its whole group; the engine stops what nobody waits for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _failed(lines: Sequence[str], what: str) -> TargetError:
    """The last `ERROR:` line is the reason; what was printed before it follows."""
    reason = next((line.removeprefix("ERROR: ") for line in reversed(lines) if line.startswith("ERROR: ")), "")
    error = said(reason or (lines[-1] if lines else "it failed and said nothing"), what)
    kept = [line for line in lines[-_LAST_LINES:] if not line.startswith("ERROR: ")]
    return type(error)("\n".join([error.message, *kept]), hint=error.hint, retry_after=error.retry_after)
