"""Verifying a commit's signature with `git verify-commit`."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.core.dataclass import replace
from reconciler.core.errors import InvalidError
from reconciler.source.command import Git, last_line
from reconciler.source.settings import Verify


def verify_commit(git: Git, sha: str, verify: Verify, *, timeout: float) -> None:
    """Checks that a commit carries a good signature by one of the trusted keys.

    Raises:
        InvalidError: It has none, a bad one, or one by a key that is not trusted.
    """
    config = dict(git.config)
    if verify.allowed_signers is not None:
        if not verify.allowed_signers.is_file():
            raise InvalidError(f"the allowed-signers file {verify.allowed_signers} is not there")
        config["gpg.ssh.allowedSignersFile"] = str(verify.allowed_signers.absolute())
    # Without a home gpg would make one; it gets one that cannot exist, so that no key is trusted.
    home = verify.gnupg_home or Path(os.devnull)
    told = replace(git, config=config, gnupg_home=home).run("verify-commit", "--raw", sha, timeout=timeout)
    if told.code == 0:
        return
    if not told.error:
        raise InvalidError(
            f"commit {sha[:12]} is not signed, and the operator's settings accept signed commits only",
            hint="sign it (git commit -S) and push again",
        )
    trusted = " or ".join(str(each) for each in (verify.allowed_signers, verify.gnupg_home) if each is not None)
    raise InvalidError(
        f"commit {sha[:12]} carries no good signature by a key in {trusted}: {_telling(told.error)}",
        hint="sign it with a trusted key, or add the key to the operator's settings",
    )


def _telling(text: str) -> str:
    # gpg's machine-readable lines (DETAILS, "ERRSIG", "BADSIG" …) say nothing to people.
    return last_line("\n".join(line for line in text.splitlines() if not line.startswith("[GNUPG:]")))
