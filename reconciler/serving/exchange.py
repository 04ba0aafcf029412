"""One scoring request, from its headers to its answer: the value that passes between the event loop and `run()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .outputs import Answer, Headers


class Exchange:
    """A request under way.

    Args:
        scope: an ASGI scope, or what of it is needed: method, path, query_string, headers and, for raw scripts,
            http_version, scheme, server and client.
        headers: the scope's headers by lower-case name.
        began: when its headers were complete, in seconds.

    `refusal` is the answer where it is known without the body; `reply` gives the answer to the client, in the event
    loop; `settled` says that it has been called, or that nobody waits; `abandoned` that `run()` need not be called;
    `operation` is what telemetry knows it as, where there is any.
    """

    __slots__ = (
        "abandoned",
        "began",
        "body",
        "headers",
        "ids",
        "method",
        "operation",
        "origin",
        "refusal",
        "reply",
        "request_id",
        "scope",
        "settled",
    )

    def __init__(self, scope: dict[str, Any], headers: dict[bytes, bytes], began: float) -> None:
        self.scope = scope
        self.headers = headers
        self.began = began
        self.method: str = scope["method"]
        self.body: bytes = b""
        self.request_id = b""
        self.ids: Headers = []
        self.origin: Headers | None = None
        self.operation: Any = None
        self.refusal: Answer | None = None
        self.reply: Callable[[Answer], None] | None = None
        self.settled = False
        self.abandoned = False


@dataclass(slots=True)
class Outcome:
    """What came of an exchange. `seconds` is the time inside `run()`, None where it was not called.

    `expired` marks the outcome given to the client while `run()` is still under way.
    """

    answer: Answer
    seconds: float | None
    failed: bool = False
    expired: bool = False
