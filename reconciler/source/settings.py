"""What is needed to read a manifest repo, and the forms its address may have."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError
from reconciler.source.command import mask
from reconciler.source.limits import Limits

SCHEMES = ("file", "http", "https", "ssh")

# git-clone(1), "GIT URLS": the scp-like form `[user@]host:path`; a slash before the colon makes it a path.
_SCP = re.compile(r"^(?:(?P<user>[\w.-]+)@)?(?P<host>[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\]):(?!//)(?P<path>[^:].*)$")
_TRANSPORT_HELPER = re.compile(r"^[A-Za-z0-9+.-]*::")


@dataclass(frozen=True, slots=True)
class Credentials:
    """For HTTP(S); a token goes into `password`. Never on a command line, never in a message."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Verify:
    """Which signatures a commit may carry; at least one of them is set.

    Args:
        allowed_signers: An allowed-signers file (ssh-keygen(1)) for SSH signatures.
        gnupg_home: A GnuPG home whose keys are the trusted ones, for OpenPGP signatures.
    """

    allowed_signers: Path | None = None
    gnupg_home: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One manifest repo.

    Args:
        location: A folder (working copy, worktree or bare repo) or a URL (file, http, https, ssh, `user@host:path`).
        ref: Branch, tag, full ref name or commit; "" is the repo's HEAD.
        path: The manifest folder in the repo; "" is its root.
        dirty: Read the working copy's files as they are, not the last commit. Working copies only.
        credentials: For http(s); those in the URL count too.
        verify: Commits without such a signature are refused.
        trusted: Read the repo even if its files belong to another user.
        timeout: Seconds for one local operation, and for asking a remote for its refs.
        fetch_timeout: Seconds for one fetch.
        limits: Of files and depth.
    """

    location: str
    ref: str = ""
    path: str = ""
    dirty: bool = False
    credentials: Credentials | None = None
    verify: Verify | None = None
    trusted: bool = False
    timeout: float = 60.0
    fetch_timeout: float = 600.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Address:
    """A remote's URL, credentials apart.

    Args:
        url: What git is given; holds no password.
        origin: `scheme://host[:port]/` that credentials are bound to; empty unless http(s).
    """

    url: str
    origin: str = ""
    credentials: Credentials | None = field(default=None, repr=False)


def parse_location(text: str) -> Path | Address:
    """A folder's path, or a remote's address.

    Raises:
        InvalidError: It is empty, reads as an option, names a transport helper or a scheme that is not allowed.
    """
    if not text or text != text.strip() or any(ord(char) < 32 for char in text):
        raise InvalidError("the location of the manifest repo is empty or holds blanks or control characters")
    if text.startswith("-"):
        raise InvalidError(f"{text!r} is not a location: it starts with a dash", hint="write ./-name for such a folder")
    if _TRANSPORT_HELPER.match(text):
        raise InvalidError(
            f"{mask(text)!r} names a git transport helper, which could run commands",
            hint=f"use one of {', '.join(SCHEMES)}",
        )
    if "://" in text:
        return _url(text)
    if _SCP.match(text) and not Path(text).exists():
        match = _SCP.match(text)
        assert match is not None
        if match["path"].startswith("-"):
            raise InvalidError(f"{text!r} has a path that starts with a dash")
        return Address(text)
    return Path(text).expanduser()


def _url(text: str) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidError(f"{mask(text)!r} is not a URL: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise InvalidError(f"{mask(text)!r}: the scheme {scheme!r} is not allowed", hint=f"use {', '.join(SCHEMES)}")
    host = parts.hostname or ""
    if scheme == "file":
        if host not in ("", "localhost"):
            raise InvalidError(f"{text!r}: a file URL has no host", hint="write file:///path")
        return Address(urlunsplit(("file", "", parts.path, "", "")))
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        raise InvalidError(f"{mask(text)!r} has no usable host")
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if scheme == "ssh":
        if parts.password:
            raise InvalidError(f"{mask(text)!r}: ssh takes no password from a URL", hint="use a key or an agent")
        user = f"{parts.username}@" if parts.username else ""
        return Address(urlunsplit((scheme, user + netloc, parts.path, "", "")))
    credentials = None
    if parts.username is not None or parts.password is not None:
        credentials = Credentials(unquote(parts.username or ""), unquote(parts.password or ""))
    url = urlunsplit((scheme, netloc, parts.path, parts.query, ""))
    return Address(url, f"{scheme}://{netloc}/", credentials)


def parse_path(text: str) -> str:
    """A manifest path in normal form: no leading, trailing or doubled slash, no dots.

    Raises:
        InvalidError: It is absolute or leads out of the repo.
    """
    if text.startswith("/"):
        raise InvalidError(f"the manifest path {text!r} is absolute", hint="give it relative to the repo's root")
    steps = [step for step in text.split("/") if step not in ("", ".")]
    if ".." in steps or "\0" in text:
        raise InvalidError(f"the manifest path {text!r} leads out of the repo")
    return "/".join(steps)


_ANCESTORS = re.compile(r"(?<=.)([~^][0-9]{0,6})+$")


def parse_ref(text: str, *, ancestors: bool = False) -> str:
    """A ref that git cannot take for anything else.

    Args:
        ancestors: Whether it may end in `~2` or `^`, as in gitrevisions(7); only a whole history can answer that.

    Raises:
        InvalidError: It starts with a dash or holds characters that git-check-ref-format(1) forbids.
    """
    if text.startswith("-"):
        raise InvalidError(f"{text!r} is not a ref: it starts with a dash")
    name = _ANCESTORS.sub("", text) if ancestors else text
    if any(ord(char) <= 32 or char in "~^:?*[\\\x7f" for char in name) or ".." in name or "@{" in name:
        raise InvalidError(f"{text!r} is not a branch, tag or commit", hint="name one of these")
    return text
