"""From what `run` returned to an answer: JSON, or a response object of the script's own passed through."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from .settings import Nan, Numpy

Headers = list[tuple[bytes, bytes]]

JSON_TYPE: tuple[bytes, bytes] = (b"content-type", b"application/json")
SUCCEEDED: tuple[bytes, bytes] = (b"x-ms-run-function-failed", b"False")
FAILED: tuple[bytes, bytes] = (b"x-ms-run-function-failed", b"True")
BROKEN_RESULT = "An unexpected internal error occurred. Check the logs for more info."


@dataclass(slots=True)
class Answer:
    """What goes back to the client. `stream` yields the rest of the body, in the run thread, after `body`."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    close: Callable[[], None] | None = field(default=None)


def message(status: int, text: str, failed: bool = False, headers: Headers | None = None) -> Answer:
    """A JSON answer `{"message": text}`; `failed` says that `run()` itself is to blame."""
    body = json.dumps({"message": text}).encode()
    return Answer(status, [JSON_TYPE, FAILED if failed else SUCCEEDED, *(headers or [])], body)


def encoder(nan: Nan, numpy: Numpy) -> Callable[[Any], bytes]:
    """The function that turns a returned value into JSON bytes, in the spelling of `json.dumps`.

    Args:
        nan: `keep` writes `NaN` as Azure ML's server does (not valid JSON, but what Python clients read), `null`
            writes null, `error` refuses.
        numpy: `convert` turns arrays and numpy scalars into lists and numbers, `refuse` treats them as an error.

    The returned function raises TypeError or ValueError for a value that has no JSON form.
    """
    default = _convert if numpy == "convert" else None

    dumps = json.JSONEncoder(default=default, allow_nan=nan == "keep").encode

    def encode(value: Any) -> bytes:
        if value is None:
            return b"{}"
        if nan == "null":
            value = _without_nan(value, default)
        return dumps(value).encode()

    return encode


def render(value: Any, encode: Callable[[Any], bytes]) -> Answer:
    """The answer for a value returned by `run`. Raises what `encode` raises."""
    if isinstance(value, (str, list, dict, int, float, type(None))):
        return Answer(200, [JSON_TYPE, SUCCEEDED], encode(value))
    wrappers: Any = sys.modules.get("werkzeug.wrappers")
    if wrappers is not None and isinstance(value, wrappers.Response):
        return _pass_through(value)
    return Answer(200, [JSON_TYPE, SUCCEEDED], encode(value))


def _pass_through(response: Any) -> Answer:
    headers: Headers = [(k.lower().encode("latin-1"), str(v).encode("latin-1")) for k, v in response.headers.items()]
    status = int(response.status_code)
    if status >= 500:
        headers = [h for h in headers if h[0] != FAILED[0]] + [FAILED]
    if response.is_streamed or response.direct_passthrough:
        return Answer(status, headers, stream=iter(response.iter_encoded()), close=response.close)
    body: bytes = response.get_data()
    return Answer(status, [h for h in headers if h[0] != b"content-length"], body)


def _convert(value: Any) -> Any:
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        converted: Any = value.tolist()
        if not isinstance(converted, (bytes, complex)):
            return converted
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _without_nan(value: Any, default: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else None
    if isinstance(value, dict):
        return {k: _without_nan(v, default) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v, default) for v in cast("list[Any]", value)]
    if default is not None and not isinstance(value, (str, int, type(None))):
        return _without_nan(default(value), default)
    return value
