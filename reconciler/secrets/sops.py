"""Values of files in the repo that sops encrypted: decrypted in memory by the real program, never written anywhere.

The file's bytes come from Git's objects. They are attacker's input: who may write to the repo also writes the metadata
that tells sops where to ask for keys, so kinds of key and vaults that the settings do not name are refused before sops
sees the file. The child process gets the variables named here and none of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, cast

from reconciler.core.errors import AccessError, InvalidError, RefusedError, UnavailableError
from reconciler.core.sealed import SealedFile
from reconciler.core.secrets import SecretRef
from reconciler.core.values import MISSING, lookup
from reconciler.secrets.found import Found
from reconciler.secrets.scope import Sops, Vaults

_KEPT = 64
_AZURE = "azure_kv"
# cmd/sops/codes/codes.go of sops 3.11.
_NO_KEY = 128
_ALTERED = (24, 25, 51, 52)


class SopsFiles:
    """Reads values of encrypted files. Safe to use from many threads.

    Args:
        read: A file's bytes by path and Git's id ("" for the newest revision's).
        parse: What a file tells without any key.
    """

    def __init__(
        self,
        sops: Sops,
        vaults: Vaults,
        read: Callable[[str, str], bytes],
        parse: Callable[[bytes, str], SealedFile],
    ) -> None:
        self._sops = sops
        self._vaults = vaults
        self._read = read
        self._parse = parse
        self._lock = Lock()
        self._known: dict[bytes, Any] = {}

    def read(self, ref: SecretRef) -> Found:
        """The value that a reference leads to.

        Raises:
            RefusedError: The settings do not allow the file, or a key that it is encrypted for.
            InvalidError: It cannot be read or decrypted.
            AccessError, UnavailableError: No key at hand opens it.
        """
        path, _, pointer = ref.name.partition("#")
        if not self._sops.allows(path):
            raise RefusedError(f"the operator's settings do not allow the encrypted file {path} (secrets.sops.files)")
        data = self._read(path, ref.object_id)
        with self._lock:
            values = self._known.get(data)
            if values is None:
                values = self._decrypted(path, data)
                while len(self._known) >= _KEPT:
                    del self._known[next(iter(self._known))]
                self._known[data] = values
        value = lookup(values, pointer)
        if value is MISSING or value is None or isinstance(value, (dict, list)):
            raise InvalidError(f"{path} has no single value at {pointer}")
        return Found(value if isinstance(value, str) else json.dumps(value))

    def _decrypted(self, path: str, data: bytes) -> Mapping[str, Any]:
        sealed = self._parse(data, path)
        self._check(path, sealed)
        program = shutil.which(self._sops.binary)
        if program is None:
            raise InvalidError(
                f"{path} needs the program sops, which is not installed here ({self._sops.binary})",
                hint="install it (https://getsops.io), or name it: secrets.sops.binary",
            )
        command = [program, "--decrypt", "--input-type", sealed.format, "--output-type", "json", "/dev/stdin"]
        code, output = _run(command, data, self._environment(), self._sops.timeout, path)
        if code:
            raise _failure(code, path, sealed)
        try:
            return cast("Mapping[str, Any]", json.loads(output))
        except ValueError:
            # Not chained: the exception holds the decrypted text.
            raise InvalidError(f"{path}: sops gave something that is not JSON") from None

    def _check(self, path: str, sealed: SealedFile) -> None:
        strange = sorted(set(sealed.keys) - self._sops.key_sources)
        if strange:
            raise RefusedError(
                f"{path} is encrypted for {', '.join(strange)} too, which the settings do not allow to be asked "
                "(secrets.sops.keySources)",
                hint="take those keys out of the file with `sops rotate`, or allow them",
            )
        foreign = [vault for vault in sealed.vaults if self._vaults.url_of(vault) is None]
        if foreign:
            raise RefusedError(
                f"{path} is encrypted for a key vault that the settings do not allow (secrets.keyVault.vaults)"
            )

    def _environment(self) -> dict[str, str]:
        found = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/nonexistent"}
        if self._sops.age_key_file is not None:
            found["SOPS_AGE_KEY_FILE"] = str(self._sops.age_key_file.absolute())
        if self._sops.gnupg_home is not None:
            found["GNUPGHOME"] = str(self._sops.gnupg_home.absolute())
        return found | dict(self._sops.environment)


def _run(command: list[str], data: bytes, environment: dict[str, str], timeout: float, path: str) -> tuple[int, bytes]:
    # What it says on standard error is for developers of sops; its exit codes say enough.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(data, timeout=timeout)
        except BaseException as exc:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise UnavailableError(f"{path}: sops did not end within {timeout:g} s") from None
            raise
    return process.returncode, output


def _failure(code: int, path: str, sealed: SealedFile) -> Exception:
    if code == _NO_KEY:
        message = f"no key at hand opens {path}, which is encrypted for {', '.join(sealed.keys) or 'nobody'}"
        if _AZURE in sealed.keys:
            return UnavailableError(message, hint="check that the vault can be reached and its key be used by us")
        return AccessError(
            message, hint="check secrets.sops.ageKeyFile or gnupgHome, and for whom the file is encrypted"
        )
    if code in _ALTERED:
        return InvalidError(f"{path} was changed after it was encrypted", hint="edit it with `sops edit`, not by hand")
    return InvalidError(f"{path} cannot be decrypted: sops ended with code {code}")
