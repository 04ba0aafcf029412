"""Keys, limits, stalled peers: what one client may not do to the others."""

import hashlib
import json
import os
import socket
import threading
from contextlib import suppress

import pytest

from .conftest import until

ECHO = "def init(): pass\ndef run(data): return data"
SLOW = """
import threading, time
def init(): pass
def run(data):
    time.sleep(float(data))
    return "done"
"""


GATED = """
from pathlib import Path
def init(): pass
def run(data):
    return Path(data).read_text()  # of a named pipe: returns when the test has written
"""


def write_keys(file, *keys):
    """A key file with the digests of keys, replaced at once as a supervisor does."""
    entries = [{"slot": str(n), "sha256": hashlib.sha256(key.encode()).hexdigest()} for n, key in enumerate(keys)]
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": entries}))
    fresh.chmod(0o600)
    fresh.rename(file)


@pytest.fixture
def keys_file(tmp_path):
    """A key file with a primary and a secondary key."""
    file = tmp_path / "keys.json"
    write_keys(file, "first", "second")
    return file


def bearer(key):
    """The Authorization header of a key."""
    return {"Authorization": f"Bearer {key}"}


def test_scoring_needs_a_key(serve, keys_file):
    """Only a Bearer key in force may score or read the API document and metrics; health needs none."""
    server = serve(ECHO, f"--keys-file={keys_file}")
    no = [{}, bearer("wrong"), {"Authorization": "Basic first"}, {"Authorization": "Bearer"}, bearer("first x")]
    yes = [bearer("first"), bearer("second"), {"Authorization": "bearer first"}]
    for headers in (*no, *yes):
        score = server.client.post("/score", content="x", headers=headers).status_code
        others = [server.client.get(path, headers=headers).status_code for path in ("/swagger.json", "/metrics")]
        assert [score, *others] == [200 if headers in yes else 401] * 3, headers
    assert [server.client.get(path).status_code for path in ("/", "/health/live", "/health/ready")] == [200] * 3


def test_keys_are_rotated_without_a_restart(serve, keys_file):
    """A new key file is in force at the order, and soon after it changed without one; a broken one changes nothing."""
    server = serve(ECHO, f"--keys-file={keys_file}")

    def score(key):
        return server.client.post("/score", content="x", headers=bearer(key)).status_code

    write_keys(keys_file, "second", "third")
    server.order("reload-keys")
    until(lambda: score("third") == 200, "the third key")
    assert (score("first"), score("second")) == (401, 200)
    write_keys(keys_file, "fourth")
    until(lambda: score("fourth") == 200, "the fourth key")
    assert score("third") == 401
    keys_file.write_text("{broken")
    server.logged("keeping the keys in force")
    assert (score("fourth"), score("broken")) == (200, 401)


def test_the_key_is_checked_before_the_body_is_read(serve, keys_file):
    """Without a key the answer comes although the body never does."""
    server = serve(ECHO, f"--keys-file={keys_file}")
    with server.connect() as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("content", ["{", '{"keys": 1}', '{"keys": [{"sha256": "short"}]}', None])
def test_an_unusable_key_file_stops_the_start(serve, tmp_path, content):
    """The server never runs without the keys that were asked for; the message tells why and shows no content."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    server = serve(ECHO, f"--keys-file={file}", wait=None)
    assert server.process.wait(20) == 4
    assert f"key file {file} cannot be used" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("wire", ["fast", "plain"])
@pytest.mark.parametrize("known_length", [True, False])
def test_a_body_above_the_limit_is_refused_while_it_comes(serve, wire, known_length, without_httptools):
    """413 as soon as it is known, and the client gets to read it although it is still sending."""
    server = serve(ECHO, "--max-body-bytes=1000", env=without_httptools[wire])
    body = b"x" * 300_000
    answer = server.client.post("/score", content=body if known_length else iter([body]))
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["message"]
    assert server.client.post("/score", content="small").json() == "small"


@pytest.mark.parametrize("wire", ["fast", "plain"])
def test_stalled_uploads_cost_nothing_and_end(serve, wire, without_httptools):
    """Peers that stop in their headers or their body hold nobody up and are let go in time."""
    server = serve(ECHO, "--header-timeout-seconds=0.5", "--body-timeout-seconds=0.5", env=without_httptools[wire])
    headers = [server.connect() for _ in range(20)]
    bodies = [server.connect() for _ in range(20)]
    silent = [server.connect() for _ in range(5)]
    for connection in headers:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: ")
    for connection in bodies:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1")
    assert server.client.post("/score", content="x", timeout=5).json() == "x"
    assert [connection.recv(1000) for connection in (*headers, *silent)] == [b""] * 25
    assert all(connection.recv(1000).startswith(b"HTTP/1.1 408") for connection in bodies)
    for connection in (*headers, *bodies, *silent):
        connection.close()
    assert server.client.post("/score", content="x").json() == "x"


@pytest.mark.parametrize("wire", ["fast", "plain"])
def test_endless_headers_are_refused(serve, wire, without_httptools):
    """Headers above 64 KiB are not kept in memory."""
    server = serve(ECHO, env=without_httptools[wire])
    with server.connect() as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 60_000)
        until(lambda: server.client.get("/health/live").status_code == 200, "health")
        with suppress(ConnectionError):
            connection.sendall(b"x" * 500_000)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert server.client.post("/score", content="x").json() == "x"


def test_a_full_queue_is_told_at_once(serve, tmp_path):
    """With all places taken the answer is 503 with Retry-After, and health still answers."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = serve(GATED, "--queue=1")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.client.post("/score", content=str(gate)).json()))
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for gauge in ('in_flight{worker="0"} 2', 'queue_depth{worker="0"} 1'):
        until(lambda gauge=gauge: gauge in server.client.get("/metrics").text, gauge)
    refused = server.client.post("/score", content=str(gate))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert server.client.get("/health/ready").status_code == 200
    for _ in threads:
        gate.write_text("done")
        until(lambda: answers, "an answer")
    for thread in threads:
        thread.join()
    assert answers == ["done", "done"]


def test_who_waits_too_long_for_a_turn_is_told(serve, tmp_path):
    """A request whose `run()` does not begin in time gets 503 and is never run; one that has begun goes on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = serve(GATED, "--max-wait-ms=500")
    answers = []
    first = threading.Thread(target=lambda: answers.append(server.client.post("/score", content=str(gate))))
    first.start()
    with gate.open("w") as pipe:  # once its `run()` reads
        refused = server.client.post("/score", content=str(gate))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "waited too long" in refused.text
        pipe.write("done")
    first.join()
    assert answers[0].json() == "done"
    assert server.client.post("/score", content=__file__).status_code == 200


@pytest.mark.parametrize(("options", "status"), [([], 504), (["--compat=azureml"], 500)])
def test_a_run_that_takes_too_long_is_answered_and_makes_the_worker_unready(serve, options, status):
    """The client gets its answer in time, readiness fails, and both recover when `run` comes back."""
    server = serve(SLOW, "--timeout-ms=200", *options)
    answer = server.client.post("/score", content="1.5")
    assert (answer.status_code, answer.json()["message"]) == (status, "Scoring timeout after 200 ms")
    assert server.event("stuck")
    assert server.client.get("/health/ready").status_code == 503
    assert server.client.get("/health/live").status_code == 200
    assert server.client.post("/score", content="0").status_code == 503
    assert server.event("recovered")
    assert server.client.post("/score", content="0").json() == "done"


def test_an_async_run_that_takes_too_long_is_stopped(serve):
    """A coroutine can be cancelled, so the worker goes on."""
    script = "import asyncio\ndef init(): pass\nasync def run(data): await asyncio.sleep(float(data))"
    server = serve(script, "--timeout-ms=200")
    assert server.client.post("/score", content="30").status_code == 504
    until(lambda: server.client.post("/score", content="0").status_code == 200, "the worker to go on")


def test_health_answers_while_the_script_works(serve):
    """A script that sleeps in `run` does not keep health waiting."""
    server = serve(SLOW)
    thread = threading.Thread(target=server.client.post, args=("/score",), kwargs={"content": "1.5"})
    thread.start()
    until(lambda: 'in_flight{worker="0"} 1' in server.client.get("/metrics").text, "the request")
    answer = server.client.get("/health/live")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 1
    thread.join()


def test_one_run_at_a_time_unless_more_are_allowed(serve):
    """By default runs never overlap; `--concurrency` lets them."""
    script = """
import threading, time
inside, most, lock = 0, 0, threading.Lock()
def init(): pass
def run(data):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
    time.sleep(0.1)
    with lock:
        inside -= 1
    return most
"""
    for options, expected in (([], 1), (["--concurrency=3"], 3)):
        server = serve(script, *options)
        results = []
        threads = [
            threading.Thread(target=lambda s=server, r=results: r.append(s.client.post("/score").json()))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(results) == expected


def test_a_request_whose_client_went_away_is_not_run(serve, tmp_path):
    """What nobody waits for any more is dropped from the queue."""
    file = str(tmp_path / "ran")
    script = f"import time\ndef init(): pass\ndef run(data):\n open({file!r}, 'a').write(data)\n time.sleep(0.5)"
    server = serve(script)
    first, second = server.connect(), server.connect()
    for connection, body in ((first, b"1"), (second, b"2")):
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" + body)
    until(lambda: 'queue_depth{worker="0"} 1' in server.client.get("/metrics").text, "the second in the queue")
    second.close()
    until(lambda: 'in_flight{worker="0"} 1' in server.client.get("/metrics").text, "the second to be gone")
    assert first.recv(1000).startswith(b"HTTP/1.1 200")
    assert server.client.post("/score", content="3").status_code == 200
    assert (tmp_path / "ran").read_text() == "13"
    first.close()


def test_a_client_that_does_not_read_its_answer_does_not_hold_the_script(serve):
    """A streamed answer that nobody reads is cut off, and the next request is served."""
    script = """
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
@rawhttp
def run(request):
    if request.args:
        return AMLResponse((b"x" * 65536 for _ in range(4000)), 200)
    return "next"
"""
    server = serve(script, "--body-timeout-seconds=0.5")
    lazy = socket.create_connection(server.host_port)
    lazy.sendall(b"GET /score?much=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.client.get("/score").json() == "next"
    lazy.close()


def test_a_private_socket_is_for_its_user_only(serve, tmp_path):
    """The Unix socket has mode 0600 and shows metrics without a key."""
    file = tmp_path / "keys.json"
    write_keys(file, "key")
    uds = tmp_path / "private.sock"
    server = serve(ECHO, f"--keys-file={file}", uds=uds, port=None)
    assert os.stat(uds).st_mode & 0o777 == 0o600
    assert server.client.get("/metrics").status_code == 200
    assert server.client.post("/score", content="x").status_code == 401
    assert server.stop() == 0
    assert not uds.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="files of other users are made by root alone")
@pytest.mark.parametrize(("owner", "mode", "warned"), [(0, 0o640, True), (1, 0o440, False), (1, 0o444, True)])
def test_a_key_file_of_another_user_is_read_by_its_group(serve, keys_file, owner, mode, warned):
    """As in a Kubernetes volume; only what more than that may read it is warned about."""
    os.chown(keys_file, owner, -1)
    keys_file.chmod(mode)
    server = serve(ECHO, f"--keys-file={keys_file}")
    assert ("can be read by others" in server.log.read_text()) is warned
