"""What clients of the scoring runtime see: answers, status codes, headers, documents."""

import json

import httpx
import pytest
from openapi_spec_validator import validate

ECHO = """
def init(): pass
def run(data): return data
"""
NUMPY = """
import numpy as np
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
def init(): pass
@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data):
    return data.sum(axis=1)
"""
PANDAS = """
import pandas as pd
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
def init(): pass
@input_schema("data", PandasParameterType(pd.DataFrame({"age": [1], "name": ["a"]})))
def run(data):
    return {"mean": float(data["age"].mean())}
"""
STANDARD = """
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
def init(): pass
@input_schema("a", StandardPythonParameterType(1))
@input_schema("b", StandardPythonParameterType(["x"]))
def run(a, b=("default",)):
    return [a, list(b)]
"""
RAW = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
@rawhttp
def run(request):
    if request.args.get("stream"):
        return AMLResponse((b"x" * 1000 for _ in range(5000)), 200, {"Content-Type": "application/octet-stream"})
    if request.args.get("break"):
        return AMLResponse(broken(), 200)
    return AMLResponse(request.get_data()[::-1], 201, {"X-Method": request.method})
def broken():
    yield b"some"
    raise ValueError("in the middle")
"""


def test_an_unchanged_script_is_served(serve):
    """A body goes in as text, a value comes back as JSON, with the headers that Azure ML's clients know."""
    answer = serve(ECHO).client.post("/score", content='{"a": 1}', headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()) == (200, '{"a": 1}')
    assert answer.headers["x-request-id"] == answer.headers["x-ms-request-id"] == "mine"
    assert answer.headers["x-ms-run-function-failed"] == "False"
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) >= 0
    assert answer.headers["x-ms-server-version"].startswith("reconciler-serving/")
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("script", "request_body", "expected"),
    [
        (NUMPY, {"data": [[1, 2], [3, 4]]}, [3.0, 7.0]),
        (PANDAS, {"data": [{"age": 2, "name": "x"}, {"age": 4, "name": "y"}]}, {"mean": 3.0}),
        (STANDARD, {"a": 5, "b": ["y"]}, [5, ["y"]]),
        (STANDARD, {"a": 5, "b": []}, [5, []]),
    ],
    ids=["numpy", "pandas", "standard", "standard-empty"],
)
def test_schema_decorators_convert_what_comes_in(serve, script, request_body, expected):
    """Decorated scripts get one argument per key, converted to the type of the sample."""
    answer = serve(script).client.post("/score", json=request_body)
    assert (answer.status_code, answer.json()) == (200, expected)


BAD = [
    (b"{", "application/json", 400, "could not be decoded as JSON"),
    (b"", "application/json", 400, "is empty"),
    (b"[1]", "application/json", 400, "should be a JSON dictionary"),
    (b'{"other": 1}', "application/json", 400, "'data' parameter"),
    (b"[" * 100_000, "application/json", 400, "POST body"),
    (b'{"data": [[1, 2, 3]]}', "application/json", 400, "does not match the schema"),
    (b"{}", "text/plain", 415, "application/json"),
]


def test_bad_input_is_the_clients_fault_and_says_what_is_wrong(serve):
    """What cannot be given to `run` is answered with 4xx and one sentence."""
    server = serve(NUMPY)
    for content, kind, status, words in BAD:
        answer = server.client.post("/score", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text


def test_compat_azureml_answers_a_schema_mismatch_with_500(serve):
    """`--compat azureml` keeps the status that Azure ML's server gives."""
    answer = serve(NUMPY, "--compat=azureml").client.post("/score", json={"data": [[1, 2, 3]]})
    assert (answer.status_code, answer.headers["x-ms-run-function-failed"]) == (500, "True")


def test_a_failing_run_tells_the_log_and_not_the_client(serve):
    """The traceback stands in the log with the request id; the client gets a sentence."""
    server = serve("def init(): pass\ndef run(data): raise ValueError('secret detail')")
    answer = server.client.post("/score", content="x", headers={"x-request-id": "r-77"})
    assert answer.status_code == 500
    assert answer.headers["x-ms-run-function-failed"] == "True"
    assert "secret detail" not in answer.text
    server.logged("ValueError: secret detail")
    server.logged("request_id=r-77")
    assert server.client.post("/score", content="x").status_code == 500


@pytest.mark.parametrize(
    ("options", "status", "body"),
    [([], 200, "[NaN, 1]"), (["--nan=null"], 200, "[null, 1]"), (["--nan=error"], 500, None)],
)
def test_nan_is_written_as_the_operator_wants(serve, options, status, body):
    """NaN is kept as Azure ML's server writes it, written as null, or refused."""
    script = "import numpy as np\ndef init(): pass\ndef run(data): return [float('nan'), np.int64(1)]"
    answer = serve(script, *options).client.post("/score", content="x")
    assert (answer.status_code, answer.text if body else None) == (status, body)


def test_numpy_results_can_be_refused(serve):
    """`--numpy refuse` treats numpy values in results as Azure ML's server does."""
    script = "import numpy as np\ndef init(): pass\ndef run(data): return np.array([1])"
    assert serve(script, "--numpy=refuse").client.post("/score", content="x").status_code == 500


@pytest.mark.parametrize("init", ["def init(): pass", "async def init(): pass"])
def test_an_async_run_is_awaited(serve, init):
    """`async def run` is served, and one at a time unless more is allowed."""
    script = f"import asyncio\n{init}\nasync def run(data):\n    await asyncio.sleep(0.01)\n    return data"
    assert serve(script).client.post("/score", content="x").json() == "x"


def test_a_raw_script_gets_the_request_and_gives_the_answer(serve):
    """`@rawhttp` scripts get the whole request and decide about status, headers and bytes."""
    server = serve(RAW)
    answer = server.client.post("/score", content=bytes(range(256)))
    assert (answer.status_code, answer.content, answer.headers["x-method"]) == (201, bytes(range(256))[::-1], "POST")
    assert server.client.get("/score").headers["x-method"] == "GET"


@pytest.mark.parametrize("wire", ["fast", "plain"])
def test_a_streamed_answer_arrives_whole_and_a_broken_one_is_cut(serve, wire, without_httptools):
    """Chunks reach the client as they are made; when the script fails in between, the client can tell."""
    server = serve(RAW, env=without_httptools[wire])
    assert len(server.client.get("/score?stream=1").content) == 5_000_000
    with pytest.raises(httpx.RemoteProtocolError):
        server.client.get("/score?break=1")
    server.logged("in the middle")
    assert server.client.get("/score").status_code == 201


@pytest.mark.parametrize("wire", ["fast", "plain"])
def test_a_chunked_upload_is_put_together(serve, wire, without_httptools):
    """A body in pieces, without a length, is one body for the script."""
    server = serve(ECHO, env=without_httptools[wire])
    answer = server.client.post("/score", content=(piece for piece in (b"a", b"b" * 200_000, b"c")))
    assert answer.json() == "a" + "b" * 200_000 + "c"


@pytest.mark.parametrize("wire", ["fast", "plain"])
def test_pipelined_requests_are_answered_in_order(serve, wire, without_httptools):
    """Several requests in one packet get their answers one after the other."""
    server = serve(ECHO, env=without_httptools[wire])
    with server.connect() as connection:
        one = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d"
        health = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n9"
        connection.sendall(one % 1 + health + one % 2 + last)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    order = [received.index(text) for text in (b'"1"', b"alive", b'"2"', b'"9"')]
    assert order == sorted(order)


def test_expect_continue_is_answered_before_the_body(serve):
    """A client that asks first is told to go on; one without a key would not be."""
    server = serve(ECHO)
    with server.connect() as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(b"ok")
        assert b'"ok"' in connection.recv(65536)


@pytest.mark.parametrize("script", [ECHO, NUMPY, PANDAS, STANDARD, RAW], ids=["plain", "numpy", "pandas", "py", "raw"])
def test_the_api_document_is_valid(serve, script):
    """Swagger 2, OpenAPI 3.0 and 3.1 documents pass openapi-spec-validator."""
    server = serve(script, "--service-name=diabetes", "--path-prefix=api/v1")
    for version in ("2", "3", "3.1"):
        document = server.client.get(f"/swagger.json?version={version}").json()
        validate(document)
        assert document["info"]["title"] == "diabetes"
        assert "/api/v1/score" in document["paths"]


def test_the_users_own_api_document_wins(serve, tmp_path):
    """A swagger.json in the app root is served as it is."""
    (tmp_path / "source0").mkdir()
    (tmp_path / "source0" / "swagger.json").write_text('{"mine": true}')
    server = serve(ECHO)
    assert server.client.get("/swagger.json").json() == {"mine": True}
    assert server.client.get("/swagger.json?version=9").status_code == 404
    assert "openapi" in server.client.get("/swagger.json?version=3").json()


def test_cors_answers_browsers_of_allowed_origins_only(serve):
    """Preflight and answers carry the CORS headers for listed origins, and none for others."""
    server = serve(ECHO, "--cors=http://good.example, http://.*[.]team[.]example")
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin in ("http://good.example", "http://a.team.example"):
        preflight = server.client.options("/score", headers={"Origin": origin, **ask})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert preflight.headers["access-control-allow-headers"] == "authorization"
        answer = server.client.post("/score", content="x", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
    refused = server.client.post("/score", content="x", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


def test_tls_from_files(serve, certificate):
    """With a certificate and key the server speaks HTTPS."""
    cert, key = certificate
    server = serve(ECHO, f"--tls-cert={cert}", f"--tls-key={key}", tls=True)
    assert server.client.post("/score", content="x").json() == "x"


def test_metrics_tell_what_happened(serve):
    """Requests by code, histograms, refusals and gauges are there in Prometheus' text format."""
    server = serve("def init(): pass\ndef run(data): return 1 / int(data)")
    for body in ("1", "1", "0"):
        server.client.post("/score", content=body)
    server.client.put("/score")
    text = server.client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    name = "reconciler_serving"
    assert lines[f'{name}_requests_total{{code="200"}}'] == "2"
    assert lines[f'{name}_requests_total{{code="500"}}'] == "1"
    assert lines[f'{name}_requests_total{{code="405"}}'] == "1"
    assert lines[f"{name}_run_failures_total"] == "1"
    assert lines[f'{name}_run_duration_seconds_bucket{{le="+Inf"}}'] == "3"
    assert lines[f"{name}_request_duration_seconds_count"] == "4"
    assert lines[f'{name}_in_flight{{worker="0"}}'] == "0"
    assert lines[f'{name}_ready{{worker="0"}}'] == "1"
    assert float(lines[f'{name}_init_seconds{{worker="0"}}']) > 0


def test_json_logs_are_one_object_per_line(serve):
    """`--log-format json --access-log` writes a JSON object per event, also for scripts' own logging."""
    script = "import logging\ndef init(): logging.info('from the script')\ndef run(data): return 1"
    server = serve(script, "--log-format=json", "--access-log")
    server.client.post("/score", content="x", headers={"x-request-id": "r1"})
    server.logged('"event": "request"')
    events = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert "from the script" in [event["event"] for event in events]
    request = next(event for event in events if event["event"] == "request")
    assert (request["status"], request["request_id"], request["path"]) == (200, "r1", "/score")
