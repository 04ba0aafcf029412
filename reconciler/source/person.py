"""Whoever runs a command, as their own git config knows them: name, address, and how their commits are signed.

Reading a repo never looks at any of this; only a command that commits does, for the person who asked it to. Programs
are run only if the person's own config names them, never because the repository's does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError
from reconciler.source.command import Git

# What git looks at besides its config (git-commit-tree(1), git-config(1)).
_OWN = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_SIGNING = ("GNUPGHOME", "GPG_TTY", "SSH_AUTH_SOCK")
_IDENTITY = ("author", "committer")
# These run what they name.
_PROGRAMS = (
    "gpg.program",
    "gpg.openpgp.program",
    "gpg.x509.program",
    "gpg.ssh.program",
    "gpg.ssh.defaultkeycommand",
    "credential.helper",
)
_KEPT = (*_PROGRAMS, "gpg.format", "user.signingkey")
_FOREIGN_SCOPES = ("local", "worktree")


@dataclass(frozen=True, slots=True)
class Person:
    """Who commits.

    Args:
        config: For git to be run with: identities, and how to sign.
        variables: Of the surroundings, that signing needs.
        signs: Commits are signed (`commit.gpgSign`).
    """

    config: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    signs: bool

    @property
    def name(self) -> str:
        """For messages: `Ada <ada@example.com>`."""
        return f"{self.config['author.name']} <{self.config['author.email']}>"


def person(git: Git, environ: Mapping[str, str] | None = None) -> Person:
    """Whoever runs this.

    Args:
        git: In the repository, whose config counts too where it runs nothing.
        environ: The surroundings; this process's by default.

    Raises:
        InvalidError: Neither git's config nor the surroundings say who that is.
    """
    surroundings = os.environ if environ is None else environ
    own = {name: surroundings[name] for name in _OWN if name in surroundings}
    told = git.on_behalf(own).run("config", "--list", "--show-scope", "-z")
    found: dict[str, str] = {}
    fields = told.output.decode("utf-8", "surrogateescape").split("\0")
    for scope, entry in zip(fields[::2], fields[1::2], strict=False):
        key, given, value = entry.partition("\n")
        if scope != "command" and not (scope in _FOREIGN_SCOPES and key in _PROGRAMS):
            found[key] = value if given else "true"
    config = {key: found[key] for key in _KEPT if found.get(key)}
    for who in _IDENTITY:
        for what in ("name", "email"):
            named = surroundings.get(f"GIT_{who.upper()}_{what.upper()}") or found.get(f"{who}.{what}")
            value = named or found.get(f"user.{what}") or (surroundings.get("EMAIL") if what == "email" else None)
            if not value:
                raise InvalidError(
                    f"git does not know the {what} to commit under",
                    hint=f"git config --global user.{what} …",
                )
            config[f"{who}.{what}"] = value
    home = surroundings.get("HOME") or str(Path.home())
    variables = {"HOME": home, **{name: surroundings[name] for name in _SIGNING if name in surroundings}}
    signs = found.get("commit.gpgsign", "false").lower() in ("true", "yes", "on", "1")
    return Person(config, variables, signs)
