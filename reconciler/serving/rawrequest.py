"""The request object of raw scripts (`@rawhttp`): werkzeug's, which is what Azure ML's server gives them too."""

from __future__ import annotations

import io
from typing import Any

from .inputs import Headers

_OWN_NAMES = {"CONTENT_TYPE", "CONTENT_LENGTH"}


def environ(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """A WSGI environment (PEP 3333) for an ASGI scope and its whole body."""
    host, port = scope.get("server") or ("localhost", None)
    client = scope.get("client")
    result: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    headers: Headers = scope["headers"]
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        if name == "TRANSFER_ENCODING":
            continue
        key = name if name in _OWN_NAMES else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        joint = "; " if key == "HTTP_COOKIE" else ","
        result[key] = f"{result[key]}{joint}{value}" if key in result else value
    result["CONTENT_LENGTH"] = str(len(body))
    return result


def from_scope(scope: dict[str, Any], body: bytes) -> Any:
    """The request as a script's `AMLRequest`."""
    from .standins.raw import AMLRequest

    return AMLRequest(environ(scope, body))
