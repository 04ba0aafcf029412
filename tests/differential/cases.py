"""The requests that each script of the corpus is sent, on both servers."""

import json
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Ask:
    """One request. `body` is sent as it is."""

    name: str
    method: str = "POST"
    path: str = "/score"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Case:
    """A script with its requests. `env` is set for both servers."""

    script: str
    asks: tuple[Ask, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    swagger: bool = False


def js(name: str, value: Any, **more: Any) -> Ask:
    """A JSON body with its content type."""
    return Ask(name, headers=JSON, body=json.dumps(value).encode(), **more)


def text(name: str, body: str) -> Ask:
    """A text body."""
    return Ask(name, headers={"Content-Type": "text/plain"}, body=body.encode())


BOUNDARY = "----corpus"
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    f"Content-Type: image/png\r\n\r\n{'x' * 1000}\r\n--{BOUNDARY}--\r\n"
).encode()
ROW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
RETURNED = ("none", "str", "json-str", "empty-str", "unicode", "list", "dict", "tuple", "int", "float", "bool", "nan")
REFUSED = (
    *(
        "inf",
        "ndarray",
        "np-int",
        "np-float",
        "np-in-list",
        "bytes",
        "set",
        "date",
        "decimal",
        "int-keys",
        "tuple-keys",
    ),
    "generator",
)
GENERAL = (
    Ask("root", "GET", "/"),
    Ask("root-head", "HEAD", "/"),
    Ask("root-post", "POST", "/"),
    Ask("unknown-path", "GET", "/nothing"),
    Ask("unknown-path-post", "POST", "/nothing"),
    Ask("score-slash", "POST", "/score/"),
    Ask("put", "PUT"),
    Ask("delete", "DELETE"),
    Ask("options", "OPTIONS"),
    Ask("head", "HEAD"),
    Ask("swagger-unknown-version", "GET", "/swagger.json?version=9"),
    Ask("swagger-post", "POST", "/swagger.json"),
)

CASES = (
    Case(
        "plain",
        (
            js("ok", {"data": [1, 2]}),
            js("ok-charset", {"data": [1]}),
            Ask("not-utf8", headers=JSON, body=b'{"data": "\xff"}'),
            Ask("empty", headers=JSON),
            Ask(
                "form-content-type", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b'{"data":[1]}'
            ),
            Ask("no-content-type", body=b'{"data": [3]}'),
            Ask("get", "GET", "/score?data=[1,2]"),
            Ask("get-repeated", "GET", "/score?data=1&data=2"),
            Ask("request-id", headers={**JSON, "x-request-id": "mine-1"}, body=b'{"data": [1]}'),
            Ask("client-request-id", headers={**JSON, "x-ms-client-request-id": "c-1"}, body=b'{"data": [1]}'),
            Ask("legacy-request-id", headers={**JSON, "x-ms-request-id": "l-1"}, body=b'{"data": [1]}'),
            Ask(
                "all-ids",
                headers={**JSON, "x-request-id": "r", "x-ms-request-id": "l", "x-ms-client-request-id": "c"},
                body=b'{"data": [1]}',
            ),
            Ask("long-request-id", headers={**JSON, "x-request-id": "i" * 101}, body=b'{"data": [1]}'),
            Ask("long-client-id", headers={**JSON, "x-ms-client-request-id": "i" * 101}, body=b'{"data": [1]}'),
            Ask("trace-id", headers={**JSON, "TraceId": "t-1"}, body=b'{"data": [1]}'),
            Ask("root-request-id", "GET", "/", {"x-request-id": "mine-2"}),
            Ask("swagger-request-id", "GET", "/swagger.json", {"x-request-id": "mine-3"}),
            *GENERAL,
        ),
        swagger=True,
    ),
    Case(
        "numpy_schema",
        (
            js("ok", {"data": [ROW, ROW]}),
            Ask(
                "charset",
                headers={"Content-Type": "application/json; charset=utf-8"},
                body=json.dumps({"data": [ROW]}).encode(),
            ),
            Ask(
                "vendor-json",
                headers={"Content-Type": "application/vnd.x+json"},
                body=json.dumps({"data": [ROW]}).encode(),
            ),
            Ask("get", "GET", f"/score?data={json.dumps([ROW]).replace(' ', '')}"),
            Ask("get-missing", "GET", "/score"),
            Ask("text-plain", headers={"Content-Type": "text/plain"}, body=b'{"data": []}'),
            Ask("no-content-type", body=b'{"data": []}'),
            Ask("form-content-type", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"data=1"),
            Ask("bad-json", headers=JSON, body=b'{"data": [1,'),
            Ask("empty", headers=JSON),
            js("not-a-dictionary", [1, 2]),
            js("missing-key", {"other": 1}),
            js("extra-key", {"data": [ROW], "other": 1}),
            js("wrong-shape", {"data": [[1.0, 2.0]]}),
            js("wrong-dimensions", {"data": [1.0, 2.0]}),
            js("wrong-type", {"data": [["a"] * 10]}),
            js("not-a-list", {"data": "text"}),
            Ask("nan", headers=JSON, body=b'{"data": [[NaN,1,1,1,1,1,1,1,1,1]]}'),
        ),
        swagger=True,
    ),
    Case(
        "pandas_schema",
        (
            js("ok", {"data": [{"age": 3, "name": "b", "when": "2021-02-03"}]}),
            js("wrong-column-type", {"data": [{"age": "x", "name": "b", "when": "2021-02-03"}]}),
            js("missing-column", {"data": [{"age": 3}]}),
        ),
        swagger=True,
    ),
    Case(
        "pandas_split",
        (js("ok", {"data": {"columns": ["age", "name"], "index": [0], "data": [[3, "b"]]}}),),
        swagger=True,
    ),
    Case(
        "standard_types",
        (
            js("ok", {"text": "a", "number": 1, "items": [3], "options": {"deep": False}}),
            js("wrong-type", {"text": "a", "number": "no", "items": 3, "options": {}}),
            Ask("get", "GET", '/score?text=a&number=2&items=[1]&options={"deep":1}'.replace('"', "%22")),
        ),
        swagger=True,
    ),
    Case(
        "nested",
        (
            js("ok", {"inputs": {"array": [[1, 2], [3, 4]], "frame": [{"a": 2}], "plain": 5}}),
            js("wrong-inner-type", {"inputs": {"array": "x", "frame": [{"a": 2}], "plain": 5}}),
            js("not-a-dictionary", {"inputs": 1}),
        ),
        swagger=True,
    ),
    Case("defaults", (js("default", {"data": [1]}), js("given", {"data": [1], "method": "proba"})), swagger=True),
    Case("request_headers", (Ask("ok", headers={**JSON, "x-mine": "yes"}, body=b"{}"),)),
    Case(
        "returns",
        tuple(text(name, name) for name in (*RETURNED, *REFUSED)),
    ),
    Case(
        "raw_echo",
        (
            Ask("post", headers={"Content-Type": "text/plain", "X-Mine": "1", "Cookie": "a=b"}, body=b"hello"),
            Ask("get", "GET", "/score?a=1&a=2&b=%20x"),
            Ask("form", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"a=1&b=2"),
            Ask("multipart", headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body=MULTIPART),
            Ask("json", headers=JSON, body=b'{"a": 1}'),
            Ask("put", "PUT", body=b"x"),
        ),
    ),
    Case(
        "raw_bytes",
        (
            Ask("post", headers={"Content-Type": "application/octet-stream"}, body=bytes(range(256))),
            Ask("get", "GET", "/score?b=1"),
            Ask("get-bare", "GET", "/score"),
            Ask("options", "OPTIONS"),
            Ask("head", "HEAD"),
        ),
    ),
    Case("raw_stream", (Ask("post", body=b"x"), Ask("get", "GET"))),
    Case("raw_plain_values", (js("json", {"a": 1}), Ask("fails", "GET", "/score?fail=1"))),
    Case("aml_response", tuple(text(name, name) for name in ("none", "json", "teapot", "failed", "a,b"))),
    Case(
        "run_fails", tuple(text(name, name) for name in ("zero", "timeout", "exit", "base", "unprintable", "recursion"))
    ),
    Case("init_fails"),
    Case("no_run"),
    Case("star_arguments"),
    Case("syntax_error"),
    Case("raw_and_schema"),
    Case("async_run", (text("ok", "hello"),)),
    Case("sdk_v1_model", (text("ok", "x"),)),
    Case("slow", (text("in-time", "0"), text("too-long", "2")), env={"SCORING_TIMEOUT_MS": "500"}),
    Case(
        "cors",
        (
            Ask("allowed", headers={"Origin": "http://www.example.com"}, body=b"x"),
            Ask("refused", headers={"Origin": "http://evil.example"}, body=b"x"),
            Ask("no-origin", body=b"x"),
            Ask(
                "preflight",
                "OPTIONS",
                headers={
                    "Origin": "http://www.example.com",
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,content-type",
                },
            ),
            Ask(
                "preflight-refused",
                "OPTIONS",
                headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
            ),
            Ask("root", "GET", "/", {"Origin": "http://www.example.com"}),
        ),
        env={"AML_CORS_ORIGINS": "http://www.example.com, http://two.example.com"},
    ),
    Case("driver", (js("ok", {"data": [1]}),)),
    Case("state", (text("ok", "x"),)),
)
