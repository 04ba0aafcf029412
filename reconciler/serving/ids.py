"""Request ids: what comes in, what goes back. The headers and their limits are those of Azure ML's server."""

from __future__ import annotations

import random

Headers = list[tuple[bytes, bytes]]

LIMIT = 100


def identify(headers: dict[bytes, bytes]) -> tuple[bytes, Headers, str]:
    """The request's id, the headers that go back with the answer, and what is wrong with the ids (for a 431), or ""."""
    request_id = headers.get(b"x-request-id") or _new()
    legacy, client = headers.get(b"x-ms-request-id"), headers.get(b"x-ms-client-request-id")
    trace = headers.get(b"traceid")
    back: Headers = [] if trace is None else [(b"traceid", trace)]
    if len(request_id) > LIMIT:
        return b"", back, f"x-request-id must not exceed {LIMIT} characters"
    back.append((b"x-request-id", request_id))
    if not legacy and not client:
        back.append((b"x-ms-request-id", request_id))
        return request_id, back, ""
    client = client or legacy or b""
    legacy = legacy or client
    if len(legacy) > LIMIT or len(client) > LIMIT:
        return request_id, back, f"x-ms-request-id and x-ms-client-request-id must not exceed {LIMIT} characters"
    back += [(b"x-ms-request-id", legacy), (b"x-ms-client-request-id", client)]
    return request_id, back, ""


def _new() -> bytes:
    digits = b"%032x" % random.getrandbits(128)
    return b"-".join((digits[:8], digits[8:12], b"4" + digits[13:16], b"a" + digits[17:20], digits[20:]))
