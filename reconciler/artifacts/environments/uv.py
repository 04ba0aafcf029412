"""Runs uv: with an environment and a configuration of its own, no longer than allowed, its errors named and masked.

uv gets only the variables in `_PASSED` of the daemon's environment. It reads one configuration file, the operator's,
and none that lies beside the state or in a manifest repo. Index addresses reach it by environment variables, since an
argument list is public on the machine. What it prints is masked before it is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import IO
from urllib.parse import urlsplit

from reconciler.artifacts.environments.reasons import failure
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import UnavailableError

_PASSED = re.compile(
    r"^(PATH|HOME|TMPDIR|LANG|LC_ALL|NETRC|XDG_CACHE_HOME|XDG_DATA_HOME|XDG_CONFIG_HOME"
    r"|https?_proxy|no_proxy|all_proxy|HTTPS?_PROXY|NO_PROXY|ALL_PROXY"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE"
    r"|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|KEYRING_PROVIDER|NATIVE_TLS"
    r"|SYSTEM_CERTS|INSECURE_HOST|OFFLINE|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES|CACHE_DIR|EXCLUDE_NEWER"
    r"|TORCH_BACKEND|CONCURRENT_[A-Z]+|CREDENTIALS_DIR)"
    r"|UV_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD))$"
)
_HOLDS_ADDRESS = re.compile(
    r"^(UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS)|(all|https?)_proxy)$", re.I
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s)`'\"<>]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run may take, and what ends it early.

    Args:
        deadline: `time.monotonic()` at which it is over.
        held: A file descriptor that uv inherits: a lock on it lasts until uv itself has ended.
    """

    deadline: float
    stop: Event
    held: int


class Stopped(Exception):
    """The run was ended because `stop` was set."""


class Uv:
    """uv with one set of settings.

    Args:
        environ: The daemon's environment; what uv may see is picked from it.
        folder: An empty folder of ours to run in.
    """

    def __init__(self, settings: EnvironmentSettings, environ: Mapping[str, str], folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self.environ = _environment(settings, environ)
        if not {"UV_CACHE_DIR", "XDG_CACHE_HOME", "HOME"} & self.environ.keys():
            self.environ["UV_CACHE_DIR"] = str(folder / "cache")
        self._config = settings.config_file or _config_file(environ)
        self._masked = _hosts_and_secrets(self.environ)

    def run(self, arguments: Sequence[str], limits: Limits, log: Callable[[str], None]) -> None:
        """Runs one uv command to its end, its messages line by line into `log`, masked.

        Raises:
            Stopped: `limits.stop` was set; uv has ended.
            TargetError: It failed; the class says how to go on, the message holds the last lines of its reason.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        config = ["--config-file", str(self._config)] if self._config else ["--no-config"]
        from uv import find_uv_bin  # the package that brings the program; only builds need it

        common = ["--color", "never", "--no-progress", "--no-python-downloads", *config]
        if self._settings.offline:
            common.append("--offline")
        lines: list[str] = []
        command = [find_uv_bin(), *arguments, *common]
        with subprocess.Popen(
            command,
            cwd=self._folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(limits.held,),
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            try:
                for line in _lines(process.stderr, limits):
                    lines.append(self.mask(line))
                    log(lines[-1])
                code = process.wait()
            except BaseException:
                _end(process)
                raise
        if code != 0:
            raise failure(code, lines)

    def mask(self, text: str) -> str:
        """The text without addresses, hosts of indexes and credentials."""
        text = _ADDRESS.sub("(address)", _COLOUR.sub("", text))
        for secret in self._masked:
            text = text.replace(secret, "(masked)")
        return text.rstrip()

    @property
    def index_arguments(self) -> list[str]:
        """The options about indexes that hold no address."""
        return ["--no-index"] if self._settings.no_index else []


def _lines(stream: IO[bytes], limits: Limits) -> Iterator[str]:
    """The stream's lines as they come.

    Raises:
        Stopped: As soon as `stop` is set.
        UnavailableError: The deadline passed.
    """
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if limits.stop.is_set():
                raise Stopped
            if time.monotonic() > limits.deadline:
                raise UnavailableError(
                    "the build took longer than allowed and was ended",
                    hint="the next try goes on with what is downloaded already",
                )
            if not selector.select(timeout=0.2):
                continue
            data = os.read(stream.fileno(), 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(settings: EnvironmentSettings, environ: Mapping[str, str]) -> dict[str, str]:
    passed = {name: value for name, value in environ.items() if _PASSED.match(name) and value}
    _from_pip(passed, environ)
    if settings.default_index:
        passed.pop("UV_INDEX_URL", None)
        passed["UV_DEFAULT_INDEX"] = settings.default_index
    if settings.extra_indexes:
        passed.pop("UV_EXTRA_INDEX_URL", None)
        passed["UV_INDEX"] = " ".join(settings.extra_indexes)
    if settings.find_links:
        passed["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.cache_dir:
        passed["UV_CACHE_DIR"] = str(settings.cache_dir)
    return passed | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def _from_pip(passed: dict[str, str], environ: Mapping[str, str]) -> None:
    """Machines set up for pip alone: uv does not read pip's variables."""
    if not any(name.startswith(("UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL")) for name in passed):
        if index := environ.get("PIP_INDEX_URL"):
            passed["UV_DEFAULT_INDEX"] = index
        if extra := environ.get("PIP_EXTRA_INDEX_URL"):
            passed["UV_INDEX"] = extra
    if "UV_FIND_LINKS" not in passed and (links := environ.get("PIP_FIND_LINKS")):
        passed["UV_FIND_LINKS"] = ",".join(links.split())
    if "SSL_CERT_FILE" not in passed and (certificate := environ.get("PIP_CERT")):
        passed["SSL_CERT_FILE"] = certificate


def _config_file(environ: Mapping[str, str]) -> Path | None:
    """The user's or the machine's uv.toml (uv's documentation, "Configuration files"); never a project's."""
    home = Path(environ.get("HOME") or "/nonexistent")
    candidates = [Path(named)] if (named := environ.get("UV_CONFIG_FILE")) else []
    candidates.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml")
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    candidates.extend(Path(folder) / "uv" / "uv.toml" for folder in folders if folder)
    candidates.append(Path("/etc/uv/uv.toml"))
    return next((path for path in candidates if path.is_file()), None)


def _hosts_and_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    found: set[str] = set()
    for name, value in environ.items():
        if name.endswith(("_PASSWORD", "_USERNAME")):
            found.add(value)
        elif _HOLDS_ADDRESS.match(name):
            for address in re.split(r"[\s,]+", value):
                parts = urlsplit(address.partition("=")[2] if re.match(r"[\w-]+=", address) else address)
                found |= {parts.password or "", parts.username or ""}
                if parts.hostname and "." in parts.hostname:
                    found.add(parts.hostname)
    return tuple(sorted((secret for secret in found if len(secret) >= 4), key=len, reverse=True))
