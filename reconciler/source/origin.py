"""Whether two addresses name the same repository, however each is spelt."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:]+):(?P<path>(?!//).+)$")


def same_origin(one: str, other: str) -> bool:
    """Whether both name one repository: scheme, user, port and `.git` do not count, nor does the host's casing.

    `https://host/team/repo.git`, `git@host:team/repo` and `ssh://git@host:22/team/repo` are the same.
    """
    return _plain(one) == _plain(other)


def _plain(origin: str) -> str:
    text = origin.strip()
    if "://" in text:
        parts = urlsplit(text)
        host, path = parts.netloc.rpartition("@")[2], parts.path
        if not host.startswith("["):
            host = host.partition(":")[0]
        if parts.scheme == "file":
            host = ""
    elif (match := _SCP.match(text)) is not None:
        host, path = match["host"], "/" + match["path"]
    else:
        host, path = "", text
    path = "/" + path.strip("/").removesuffix(".git").rstrip("/")
    return f"{host.lower()}{path}"
