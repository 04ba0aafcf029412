"""The scoring runtime beside azureml-inference-server-http: requests per second, and health under load.

Both serve the same script with one worker and one `run()` at a time, in turn, in several rounds; ratios are per round.
Ours has keys, limits, headers and metrics on. `rows()` gives the lines of the table of `python -m bench`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.row import Row, not_run

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 16
KEY = "bench-key"
PEER = "azureml-inference-server-http 1.5.1, same script, one worker"

EMPTY = "def init(): pass\ndef run(data): return 'ok'\n"
MODEL = """
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge


def init():
    global model
    model = Ridge().fit(*load_diabetes(return_X_y=True))


@input_schema("data", NumpyParameterType(np.array([[0.1] * 10])))
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data):
    return model.predict(data).tolist()
"""
RELEASES = "import time\ndef init(): pass\ndef run(data):\n    time.sleep(0.002)\n    return 'ok'\n"
HOLDS = """
import time


def init():
    pass


def run(data):
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    return "ok"
"""
BODY = json.dumps({"data": [[n / 10 for n in range(10)]] * 2}).encode()


def rows() -> list[Row]:
    """Measure everything of this suite."""
    return [*_throughput(), *_health()]


def _throughput() -> Iterator[Row]:
    for name, script, goal in (("an empty run", EMPTY, 6.0), ("a scikit-learn model", MODEL, 2.5)):
        what, wanted = f"scoring requests per second, {name}", f"≥ {goal:g} times"
        try:
            # The reference server's environment is that of the differential suite.
            from tests.differential.servers import oracle_python

            python = oracle_python()
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            yield not_run(what, PEER, wanted, f"the reference server cannot be installed ({type(error).__name__})")
            continue
        ours, theirs = [], []
        for number in range(ROUNDS):
            sides = [("ours", ours), ("theirs", theirs)]
            for side, results in sides if number % 2 == 0 else reversed(sides):
                with _server(side, script, python) as port:
                    results.append(_load(port, SECONDS))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        ratio = statistics.median(ratios)
        measured = f"{ratio:.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"
        rates = f"{statistics.median(ours):.0f} against {statistics.median(theirs):.0f} requests per second"
        yield Row(what, PEER, wanted, measured, ratio >= goal, rates)


def _health() -> Iterator[Row]:
    for name, script, goal in (("releases", RELEASES, 5.0), ("holds", HOLDS, None)):
        with _server("ours", script, Path(sys.executable)) as port:
            waits: list[float] = []
            stop = threading.Event()
            prober = threading.Thread(target=_probe, args=(port, stop, waits))
            prober.start()
            _load(port, 2 * SECONDS)
            stop.set()
            prober.join()
        p50, p99 = (sorted(waits)[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
        yield Row(
            f"health under full load, run() {name} the interpreter's lock",
            "-",
            "p99 ≤ 5 ms" if goal is not None else "documented",
            f"p99 {p99:.1f} ms (p50 {p50:.1f} ms, {len(waits)} probes)",
            None if goal is None else p99 <= goal,
        )


@contextmanager
def _server(side: str, script: str, python: Path) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "score.py").write_text(script)
        keys = folder / "keys.json"
        keys.write_text(json.dumps({"keys": [{"slot": "primary", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]}))
        keys.chmod(0o600)
        env = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ},
            "AML_APP_ROOT": name,
            "AZUREML_ENTRY_SCRIPT": "score.py",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]) if side == "ours" else "",
        }
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            fd, port = listening.fileno(), listening.getsockname()[1]
            command = [sys.executable, "-m", "reconciler.serving", f"--fd={fd}", f"--keys-file={keys}"]
            if side == "theirs":
                command = [str(python), "-m", "gunicorn", "--no-control-socket", "-b", f"fd://{fd}"]
                command.append("azureml_inference_server_http.server.entry:app")
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(command, env=env, cwd=name, stdout=log, stderr=log, pass_fds=(fd,))
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as first:
                    first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    assert b" 200 " in first.recv(100), (folder / "log").read_text()
                _load(port, 1)
                yield port
            finally:
                process.terminate()
                process.wait()


def _load(port: int, seconds: int) -> float:
    """Answers per second under load; fails if one was not 200."""
    kind = "application/json"
    if shutil.which("wrk"):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(f'wrk.method = "POST"\nwrk.body = {json.dumps(BODY.decode())}\n')
            script.write(f'wrk.headers["Content-Type"] = "{kind}"\nwrk.headers["Authorization"] = "Bearer {KEY}"\n')
            script.flush()
            options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
            command = ["wrk", *options, f"http://127.0.0.1:{port}/score"]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert "Non-2xx" not in said, said
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate is not None, said
        return float(rate.group(1))
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nAuthorization: Bearer {KEY}\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    command = [sys.executable, "-m", "bench.serving_load", str(port), str(seconds), str(CONNECTIONS)]
    result = subprocess.run(command, input=request, check=True, capture_output=True)
    good, bad = result.stdout.split()
    assert int(bad) == 0, f"{int(bad)} answers were not 200"
    return float(good)


def _probe(port: int, stop: threading.Event, waits: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not stop.wait(0.005):
            began = time.perf_counter()
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(4096)
            waits.append(time.perf_counter() - began)


if __name__ == "__main__":
    for row in rows():
        print(row)
