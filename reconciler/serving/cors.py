"""Cross-origin requests of browsers: which origins may read answers. Follows what flask-cors does for Azure ML."""

from __future__ import annotations

import re

Headers = list[tuple[bytes, bytes]]

_PATTERN_CHARACTERS = set("*\\[]?$^|()+")


class Cors:
    """Origins that may ask. An entry with characters of a regular expression is matched as one; `*` allows all."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._exact = {origin.lower() for origin in origins if not _is_pattern(origin)}
        self._patterns = [re.compile(o, re.IGNORECASE) for o in origins if o != "*" and _is_pattern(o)]

    def headers(self, origin: bytes | None) -> Headers:
        """Headers for an answer to a request from `origin`; empty where it is not allowed."""
        if origin is None:
            if self._any:
                return [(b"access-control-allow-origin", b"*")]
            return []
        if not self._allowed(origin.decode("latin-1")):
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    def preflight(self, request: dict[bytes, bytes]) -> Headers:
        """Headers for the answer to an OPTIONS request that a browser sends before the real one."""
        allowed = self.headers(request.get(b"origin"))
        if not allowed or b"access-control-request-method" not in request:
            return allowed
        wanted = request.get(b"access-control-request-headers")
        if wanted is not None:
            names = b", ".join(name.strip() for name in wanted.split(b","))
            allowed.append((b"access-control-allow-headers", names))
        return [*allowed, (b"access-control-allow-methods", b"GET, POST")]

    def _allowed(self, origin: str) -> bool:
        return self._any or origin.lower() in self._exact or any(p.match(origin) for p in self._patterns)


def _is_pattern(origin: str) -> bool:
    return bool(_PATTERN_CHARACTERS & set(origin))
