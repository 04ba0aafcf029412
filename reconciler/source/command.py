"""Runs git with nothing of the surroundings in it: a clean environment, no hooks, no prompts, no foreign protocols.

Git is called directly and not through GitPython's `Git`: that class hands every child the whole environment of this
process, and importing it costs more than a whole offline plan of a small repo (docs/decisions.md).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.errors import InvalidError, UnavailableError

# What git, ssh and curl may need to reach a remote; nothing else of the environment is passed on.
PASSED_ON = (
    "PATH", "SSH_AUTH_SOCK", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
)  # fmt: skip

PROTOCOLS = "file:http:https:ssh"

_FIXED = {
    "LC_ALL": "C",
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=15 -oClearAllForwardings=yes -oPermitLocalCommand=no",
    "GIT_ALLOW_PROTOCOL": PROTOCOLS,
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}

_OF_A_PERSON = ("HOME", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")

_CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.attributesFile": os.devnull,
    "core.alternateRefsCommand": "",
    "core.quotePath": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "true",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "log.showSignature": "false",
    "gpg.program": "gpg",
    "gpg.openpgp.program": "gpg",
    "gpg.x509.program": "gpgsm",
    "gpg.ssh.program": "ssh-keygen",
    "gpg.ssh.defaultKeyCommand": "false",
    "gpg.ssh.allowedSignersFile": os.devnull,
    "gpg.ssh.revocationFile": "",
    "gpg.minTrustLevel": "undefined",
}

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]*@")


def mask(text: str) -> str:
    """A message without the credentials that URLs in it hold."""
    return _USERINFO.sub(r"\g<scheme>***@", text)


@dataclass(frozen=True, slots=True)
class Result:
    """How a git command ended; `error` is its masked message."""

    code: int
    output: bytes
    error: str


@dataclass(frozen=True, slots=True)
class Git:
    """Git as seen from one folder.

    Args:
        folder: Where it runs; a working copy, a bare repo or any folder.
        bare: The folder itself is the repository; git does not look for one above it.
        trusted: Read the repository even if it belongs to another user.
        config: More settings, passed in the environment and so not visible in the process list.
        gnupg_home: Where gpg finds its keys; nowhere unless given.
        own: In place of the fixed variables that keep a person's own config out of it: only for what a person asked
            to be done in their name. What the config here says still wins.
    """

    folder: Path
    bare: bool = False
    trusted: bool = False
    config: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    gnupg_home: Path | None = None
    own: Mapping[str, str] | None = field(default=None, repr=False)

    def on_behalf(self, variables: Mapping[str, str], config: Mapping[str, str] | None = None) -> Git:
        """The same git, with a person's own variables and more settings."""
        return replace(self, own=variables, config={**self.config, **(config or {})})

    def environment(self) -> dict[str, str]:
        """The whole environment of the child."""
        settings = {**_CONFIG, **self.config}
        if self.trusted:
            settings["safe.directory"] = "*"
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= _FIXED
        if self.own is not None:
            environment = {name: value for name, value in environment.items() if name not in _OF_A_PERSON}
            environment |= self.own
        if self.bare:
            environment["GIT_DIR"] = str(self.folder)
        if self.gnupg_home is not None:
            environment["GNUPGHOME"] = str(self.gnupg_home.absolute())
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for index, (key, value) in enumerate(settings.items()):
            environment[f"GIT_CONFIG_KEY_{index}"] = key
            environment[f"GIT_CONFIG_VALUE_{index}"] = value
        return environment

    def start(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, discard: bool = False, errors: bool = False
    ) -> subprocess.Popen[bytes]:
        """A running git whose output the caller reads; with `discard` there is none to read.

        Args:
            errors: The caller reads what it says of errors, too, which else is lost where it has an input.

        Raises:
            UnavailableError: There is no git on the PATH.
        """
        try:
            return subprocess.Popen(
                ["git", *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=stdin,
                stdout=subprocess.DEVNULL if discard else subprocess.PIPE,
                stderr=subprocess.PIPE if discard or errors or stdin == subprocess.DEVNULL else subprocess.DEVNULL,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not self.folder.is_dir():
                raise InvalidError(f"{self.folder} is not a folder") from error
            raise UnavailableError("git was not found", hint="install git 2.31 or newer and put it on PATH") from error
        except (NotADirectoryError, PermissionError) as error:
            raise InvalidError(f"{self.folder} cannot be entered: {error.strerror}") from error

    def run(self, *arguments: str, timeout: float = 60.0, given: bytes | None = None, discard: bool = False) -> Result:
        """Runs git to its end.

        Args:
            timeout: Seconds.
            given: What it reads from its standard input.
            discard: Do not keep its output.

        Raises:
            UnavailableError: It took longer than `timeout` (it and its children are killed), or is missing.
        """
        process = self.start(
            *arguments,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            discard=discard,
            errors=True,
        )
        return self.finish(process, arguments, timeout=timeout, given=given)

    def finish(
        self,
        process: subprocess.Popen[bytes],
        arguments: Sequence[str],
        *,
        timeout: float = 60.0,
        given: bytes | None = None,
    ) -> Result:
        """Waits for a git that was started to end; see `run`."""
        try:
            output, error = process.communicate(given, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            raise UnavailableError(f"git {arguments[0]} did not end within {timeout:g} s") from expired
        finally:
            end(process)
        return Result(process.returncode, output or b"", mask((error or b"").decode("utf-8", "replace").strip()))


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a git process with all its children, if it still runs, and closes its pipes."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()


def last_line(text: str, arguments: Sequence[str] = ()) -> str:
    """The telling line of git's messages: the first `fatal:` or `error:` one, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        for prefix in ("fatal: ", "error: "):
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    return lines[-1] if lines else f"git {' '.join(arguments)} said nothing"
