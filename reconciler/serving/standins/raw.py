"""Stand-in for the raw-request modules of Azure ML's servers: `rawhttp`, `AMLRequest`, `AMLResponse`, on werkzeug."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

try:
    from werkzeug.wrappers import Request, Response
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "AMLRequest, AMLResponse and rawhttp need werkzeug, which the script's environment does not have; "
        "add werkzeug to it",
        name="werkzeug",
    ) from error

_Function = TypeVar("_Function", bound=Callable[..., Any])

_rawHttpRequested = False


def rawhttp(func: _Function) -> _Function:
    """Say that `run` wants the request itself."""
    global _rawHttpRequested
    _rawHttpRequested = True
    return func


class AMLRequest(Request):
    """The request that a raw `run` gets."""


class AMLResponse(Response):
    """An answer that goes to the client as it is.

    Args:
        message: body, or None for an empty JSON object.
        status_code: HTTP status.
        response_headers: further headers; several values of one header are given with commas.
        json_str: write `message` as JSON.
        run_function_failed: what the header `x-ms-run-function-failed` says.
    """

    default_mimetype = "text/html"

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        extra = dict(response_headers or {})
        if message is None or json_str:
            text = json.dumps({} if message is None else message)
            super().__init__(text, status=status_code, mimetype="application/json")
        else:
            super().__init__(message, status=status_code)
            if "Content-Type" in extra:
                del self.headers["Content-Type"]
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for name, value in extra.items():
            for part in value.split(","):
                self.headers.add(name, part.strip())
