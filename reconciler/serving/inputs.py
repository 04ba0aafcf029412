"""From a request's body or query to the arguments of `run`, by the rules of Azure ML's inference server."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from .errors import InputError
from .script import EntryScript, Mode

Headers = list[tuple[bytes, bytes]]
Arguments = dict[str, Any]


def reader(entry: EntryScript) -> Callable[[str, bytes, bytes, bytes], Arguments]:
    """The function that turns (method, content type, query string, body) into keyword arguments for this script.

    It raises `InputError` (400, 405, 415) for what the script cannot be given. For raw scripts the request object
    itself is the argument: see `rawrequest`.
    """
    if entry.mode is Mode.TEXT:
        name = entry.parameters[0][0]

        def read_text(method: str, content_type: bytes, query: bytes, body: bytes) -> Arguments:
            if method == "POST":
                try:
                    return {name: body.decode()}
                except UnicodeDecodeError as error:
                    raise InputError(400, f"Input cannot be decoded as UTF-8: {error}") from None
            return {name: json.dumps(from_query(query))}

        return read_text

    parameters = entry.parameters

    def read_object(method: str, content_type: bytes, query: bytes, body: bytes) -> Arguments:
        if method == "POST":
            if not is_json(content_type):
                raise InputError(415, "Expects Content-Type to be application/json")
            return pick(parse_object(body), parameters)
        return pick(from_query(query), parameters)

    return read_object


def is_json(content_type: bytes) -> bool:
    """Whether a content type says JSON: `application/json` or `application/<anything>+json`, with any parameters."""
    if content_type == b"application/json":
        return True
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


def parse_object(body: bytes) -> Mapping[str, Any]:
    """Parse a JSON object. Raises InputError 400 for anything else."""
    try:
        value = json.loads(body)
    except RecursionError:
        raise InputError(400, "POST body is nested too deeply.") from None
    except ValueError as error:
        if not body:
            raise InputError(400, "POST body is empty. Expecting a JSON dictionary.") from None
        raise InputError(400, f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(400, "POST body should be a JSON dictionary.")
    return cast("dict[str, Any]", value)


def pick(values: Mapping[str, Any], parameters: tuple[tuple[str, Any], ...]) -> Arguments:
    """One argument per parameter of `run`; defaults honoured, other keys ignored, a missing one is a 400."""
    picked: Arguments = {}
    for name, default in parameters:
        value = values.get(name, default)
        if value is inspect.Parameter.empty:
            raise InputError(400, f"A value is not provided for the {name!r} parameter.")
        picked[name] = value
    return picked


def from_query(query: bytes) -> dict[str, Any]:
    """`?a=1&b=[1,2]&c=x&c=y` as `{"a": 1, "b": [1, 2], "c": ["x", "y"]}`: values are JSON where they parse as JSON."""
    found: dict[str, list[Any]] = {}
    for key, text in parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True):
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def headers_for_script(headers: Headers) -> dict[str, str]:
    """Request headers as the `request_headers` parameter gets them: `Content-Type` spelling, last value wins."""
    return {name.decode("latin-1").title(): value.decode("latin-1") for name, value in headers}
