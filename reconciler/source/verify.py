"""Verifying a commit's signature with `git verify-commit`."""

from __future__ import annotations

from dataclasses import replace

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
    told = replace(git, config=config, gnupg_home=verify.gnupg_home).run("verify-commit", "--raw", sha, timeout=timeout)
    if told.code != 0:
        raise InvalidError(f"commit {sha[:12]}: {last_line(told.error)}")
