"""Telemetry at the wire: a real runtime with the real exporter, and an endpoint that answers as Azure does."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import Serve, Server
from tests.serving.ingestion import KEY, Ingestion, answering, switched_on

SCRIPT = """
import json, logging, sys, time
logger = logging.getLogger("model")
def init():
    print("weights loaded")
def run(data):
    numbers = json.loads(data)["data"]
    # A request that takes less than a millisecond is told as none.
    time.sleep(0.005)
    print("scoring", len(numbers), end=" ")
    print("numbers\\nand done")
    logger.warning("%d outliers", 3)
    sys.stdout.buffer.flush()
    if numbers == [13]:
        raise LookupError("no such number")
    return sum(numbers)
"""
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def ingestion(certificate: tuple[Path, Path]) -> Iterator[Ingestion]:
    """An ingestion endpoint."""
    with answering(*certificate) as made:
        yield made


def messages(ingestion: Ingestion) -> list[tuple[str, int, str]]:
    """What was printed and logged: text, severity, and the operation's id ("0…" outside of requests)."""
    return [
        (
            item["data"]["baseData"]["message"],
            item["data"]["baseData"]["severityLevel"],
            item["tags"]["ai.operation.id"],
        )
        for item in ingestion.of("Message")
    ]


def test_what_a_service_tells(serve: Serve, ingestion: Ingestion, tmp_path: Path) -> None:
    """A record per request, with its caller as parent; prints, log records and exceptions with it; nothing else."""
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_text(json.dumps({"keys": [{"slot": "primary", "sha256": hashlib.sha256(b"key-canary").hexdigest()}]}))
    server = serve(SCRIPT, "--service-name=diabetes", f"--keys-file={keys}", env=ingestion.environment())
    key = {"authorization": "Bearer key-canary"}
    called = {
        **key,
        "traceparent": f"00-{TRACE}-{CALLER}-01",
        "x-request-id": "request-1",
        "x-ms-client-request-id": "client-1",
    }
    body = json.dumps({"data": [1, 2], "who": "body-canary"})
    assert server.client.post("/score?code=query-canary", content=body, headers=called).json() == 3
    assert server.client.post("/score", json={"data": [13]}, headers=key).status_code == 500
    assert server.client.post("/score", json={"data": []}).status_code == 401
    assert server.client.get("/health/ready").status_code == 200
    # Three requests, what was said at the start and in two of them, and one exception.
    ingestion.arrived(3 + 1 + 2 * 3 + 1)
    assert server.stop() == 0

    told = [
        (data["name"], data["url"], data["responseCode"], data["success"])
        for data in (item["data"]["baseData"] for item in ingestion.of("Request"))
    ]
    assert told == [
        ("POST /score", "/score", "200", True),
        ("POST /score", "/score", "500", False),
        ("POST /score", "/score", "401", False),
    ]
    first, second, _ = ingestion.of("Request")
    assert first["data"]["baseData"]["duration"] > "0.00:00:00.000"
    own: dict[str, Any] = first["data"]["baseData"]["properties"]
    assert (own["Request Id"], own["Client Request Id"], own["Service Name"]) == ("request-1", "client-1", "diabetes")
    tags = first["tags"]
    assert (tags["ai.operation.id"], tags["ai.operation.parentId"]) == (TRACE, CALLER)
    assert tags["ai.cloud.role"] == "diabetes"
    assert tags["ai.cloud.roleInstance"] == socket.gethostname()
    other = second["tags"]["ai.operation.id"]
    assert other != TRACE
    assert "ai.operation.parentId" not in second["tags"]

    nowhere = "0" * 32
    assert messages(ingestion) == [
        ("weights loaded", 1, nowhere),
        *(
            (text, level, trace)
            for trace in (TRACE, other)
            for text, level in (
                ("scoring 2 numbers" if trace == TRACE else "scoring 1 numbers", 1),
                ("and done", 1),
                ("3 outliers", 2),
            )
        ),
    ]
    assert {item["tags"]["ai.operation.parentId"] for item in ingestion.of("Message")[1:4]} == {
        first["data"]["baseData"]["id"]
    }
    (failed,) = ingestion.of("Exception")
    (raised,) = failed["data"]["baseData"]["exceptions"]
    assert (raised["typeName"], raised["message"]) == ("LookupError", "no such number")
    assert "score.py" in raised["stack"]
    assert (failed["data"]["baseData"]["severityLevel"], failed["tags"]["ai.operation.id"]) == (3, other)

    assert ingestion.paths == {"/v2.1/track"}
    assert {item["iKey"] for item in ingestion.items} == {KEY}
    assert not [word for word in (b"canary", b"Bearer") if word in ingestion.raw]
    log = server.log.read_text()
    assert "weights loaded\n" in log
    assert "scoring 2 numbers\nand done\n" in log
    assert [word for word in (KEY, "canary", "Transmission", "/v2.1/track", " telemetry ") if word in log] == []


def test_without_the_switch_nothing_of_it_is_loaded(serve: Serve) -> None:
    """A connection string alone changes nothing, and no service pays for what it did not ask for."""
    script = """
import sys
def init():
    pass
def run(data):
    names = ("opentelemetry", "azure", "reconciler.serving.telemetry", "reconciler.serving.insights", "requests")
    return [name for name in sys.modules if name.startswith(names)] + [type(sys.stdout).__name__]
"""
    connection = {"APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY}"}
    server = serve(script, env=connection)
    assert server.client.post("/score", content="").json() == ["TextIOWrapper"]
    assert server.event("ready")["warnings"] == []


def _without(folder: Path, module: str) -> dict[str, str]:
    """Variables with which Python does not find a module that is installed, as where it is not."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Nowhere:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Nowhere())\n"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("variables", "missing", "said"),
    [
        (
            {"APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY}"},
            "azure",
            "the script's environment does not have azure-monitor-opentelemetry-exporter (no module azure); "
            "add it to the environment or image",
        ),
        (
            {},
            "",
            "set APPLICATIONINSIGHTS_CONNECTION_STRING to the connection string of the Application Insights resource",
        ),
        pytest.param(
            {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=canary"},
            "",
            "APPLICATIONINSIGHTS_CONNECTION_STRING is no connection string of an Application Insights resource",
            marks=pytest.mark.long,
        ),
    ],
    ids=["no package", "no connection string", "no connection string at all"],
)
def test_a_service_that_cannot_send_says_so_once(
    serve: Serve, tmp_path: Path, variables: dict[str, str], missing: str, said: str
) -> None:
    """It serves all the same; its log and whoever started it know why, and no secret."""
    without = _without(tmp_path / "without", missing) if missing else {}
    server = serve(SCRIPT, env={"AML_APP_INSIGHTS_ENABLED": "true", **variables, **without})
    assert [server.client.post("/score", json={"data": [n]}).json() for n in range(3)] == [0, 1, 2]
    assert server.event("ready")["warnings"] == [f"no telemetry is sent: {said}"]
    assert server.stop() == 0
    log = server.log.read_text()
    assert log.count(f"no telemetry is sent: {said}") == 1
    assert "canary" not in log
    assert KEY not in log


def _timed_stop(server: Server) -> float:
    began = time.monotonic()
    assert server.stop() == 0
    return time.monotonic() - began


@pytest.mark.long
def test_an_endpoint_that_does_not_answer_holds_up_nothing(serve: Serve, ingestion: Ingestion) -> None:
    """Requests are answered while a batch hangs; what does not fit is dropped and counted; the end waits two seconds.

    One attempt of the exporter's takes ten seconds, and there are two.
    """
    ingestion.open.clear()
    server = serve("def init(): pass\ndef run(data): return 1\n", env=ingestion.environment())
    answered = 0
    while not ingestion.asked.is_set():
        assert server.client.post("/score", content="").json() == 1
        answered += 1
    for _ in range(2600):
        assert server.client.post("/score", content="").json() == 1
    assert _timed_stop(server) < 15
    assert "telemetry of the last requests was not sent within 2 s" in server.log.read_text()


@pytest.mark.long
def test_what_is_too_much_is_dropped_and_counted(serve: Serve, ingestion: Ingestion) -> None:
    """While an endpoint does not answer, no more than the queue holds is kept; afterwards all goes on."""
    ingestion.open.clear()
    server = serve("def init(): pass\ndef run(data): return 1\n", env=ingestion.environment())
    count = 0
    while not ingestion.asked.is_set():
        server.client.post("/score", content="")
        count += 1
    for _ in range(3000):
        server.client.post("/score", content="")
    ingestion.open.set()
    server.logged(" records of telemetry were dropped: there were more than could be sent")
    before = len(ingestion.items)
    server.client.post("/score", content="", headers={"x-request-id": "afterwards"})
    assert server.stop() == 0
    assert 0 < before < 3000 + count


@pytest.mark.long
def test_a_dead_endpoint_is_told_once(serve: Serve, certificate: tuple[Path, Path]) -> None:
    """Nobody listens there: requests are answered, the log says so once without any key."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"https://127.0.0.1:{taken.getsockname()[1]}/"
        server = serve(SCRIPT, env=switched_on(endpoint, certificate[0]))
        sending = threading.Event()
        while not sending.is_set():
            assert server.client.post("/score", json={"data": [1]}).json() == 1
            if "telemetry cannot be sent" in server.log.read_text():
                sending.set()
        assert server.client.post("/score", json={"data": [1]}).json() == 1
        assert _timed_stop(server) < 15
    log = server.log.read_text()
    assert log.count("telemetry cannot be sent and is dropped, requests are answered all the same: ") == 1
    assert KEY not in log


@pytest.mark.long
@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_is_said_belongs_to_its_request(serve: Serve, ingestion: Ingestion, concurrency: int) -> None:
    """In threads, in tasks, and in a streamed answer that is made after `run` has returned."""
    plain = """
import time
def init(): pass
def run(data):
    print(f"begin {data}")
    time.sleep(0.01)
    print(f"end {data}")
    return data
"""
    tasks = (
        plain.replace("def run", "async def run")
        .replace("time.sleep", "await asyncio.sleep")
        .replace("import time", "import asyncio")
    )
    for script in (plain, tasks):
        before = len(ingestion.items)
        server = serve(script, f"--concurrency={concurrency}", env=ingestion.environment())

        def score(number: int, server: Server = server) -> None:
            headers = {"x-request-id": f"r{number}"}
            assert server.client.post("/score", content=str(number), headers=headers).json() == str(number)

        threads = [threading.Thread(target=score, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ingestion.arrived(before + 3 * 8)
        assert server.stop() == 0
        said = {
            (item["data"]["baseData"]["message"], item["data"]["baseData"]["properties"]["Request Id"])
            for item in ingestion.items[before:]
            if item["data"]["baseType"] == "MessageData"
        }
        assert said == {(f"{word} {n}", f"r{n}") for word in ("begin", "end") for n in range(8)}
