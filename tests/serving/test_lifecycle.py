"""How a server starts, fails, stops and is found: exit codes, reasons, signals, several workers, a copied tree."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import TREE, until

ECHO = "def init(): pass\ndef run(data): return data"
SLOW = "import time\ndef init(): pass\ndef run(data):\n    time.sleep(float(data))\n    return 'done'"
PID = "import os\ndef init(): pass\ndef run(data): return os.getpid()"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def init(): raise ValueError('no model here')\ndef run(data): pass", "failed: ValueError: no model here"),
        ("def init()\n    pass", "score.py:1:11: expected ':'"),
        ("import nothing_like_it", "does not have nothing_like_it"),
        ("def init(): pass", "has no run() function"),
        ("def run(data): pass", "has no init() function"),
        ("def init(): pass\ndef run(*data): pass", "*args"),
        ("def init(): pass\ndef run(): pass", "needs an argument"),
        ("def init(): raise SystemExit(0)\ndef run(data): pass", "ended the process"),
        (
            "from azureml.core import Workspace\ndef init(): Workspace.from_config()\ndef run(d): pass",
            "needs an Azure ML",
        ),
        ("import inference_schema.parameter_types.spark_parameter_type", "a Java runtime"),
        pytest.param("from sklearn.externals import six", "add six", marks=pytest.mark.long),
    ],
)
def test_a_script_that_cannot_start_ends_with_3_and_the_reason(serve, script, words, without_six):
    """Exit code 3, a readable line in the log, and the same reason on the control socket."""
    server = serve(script, wait=None, env=without_six)
    assert server.process.wait(60) == 3
    assert words in server.log.read_text()
    assert words in server.event("failed")["reason"]


def test_several_workers_that_cannot_start_end_with_3_too(serve):
    """The workers' exit code is the server's."""
    server = serve("def init(): raise ValueError('no model here')\ndef run(d): pass", "--workers=2", wait=None)
    assert server.process.wait(60) == 3
    assert "failed: ValueError: no model here" in server.log.read_text()


@pytest.fixture
def without_six(tmp_path):
    """An environment in which six cannot be found."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    code = (
        "import sys\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'six': raise ModuleNotFoundError(\"No module named 'six'\", name='six')\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_wrong_arguments_end_with_2_and_a_message(serve):
    """Arguments that make no sense are told with what would."""
    for options, words in (
        (["--timeout-ms=0"], "at least 1"),
        (["--queue=x"], "'x' is not a number"),
        (["--hold", "--control-fd=99"], "99"),
        (["--tls-key=k.pem"], "--tls-key needs --tls-cert"),
        (["--workers=2", "--uds=/tmp/x"], "--workers goes with"),
        (["--nonsense"], "--nonsense"),
    ):
        server = serve(ECHO, *options, wait=None)
        assert server.process.wait(20) in (1, 2, 4)
        assert words in server.log.read_text()


def test_an_address_in_use_ends_with_4_and_says_so(serve):
    """The message names the address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = serve(ECHO, port=port, wait=None)
        assert server.process.wait(20) == 4
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_sigterm_finishes_what_is_under_way_and_ends_with_0(serve):
    """A request in `run` at SIGTERM is answered; then the process ends with 0."""
    server = serve(SLOW)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.client.post("/score", content="0.5")))
    thread.start()
    until(lambda: 'in_flight{worker="0"} 1' in server.client.get("/metrics").text, "the request")
    assert server.stop() == 0
    thread.join()
    assert (answers[0].status_code, answers[0].headers["connection"]) == (200, "close")


def test_a_kept_connection_may_ask_once_more_after_sigterm(serve):
    """It is answered and told that this was the last time; nothing waits for it any longer."""
    server = serve(ECHO, "--stop-idle-seconds=60")
    connection = http.client.HTTPConnection(*server.host_port, timeout=20)
    connection.request("POST", "/score", "1")
    assert connection.getresponse().read() == b'"1"'
    kept = connection.sock
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in server.log.read_text(), "the drain")
    connection.request("POST", "/score", "2")
    assert connection.sock is kept
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.headers["connection"]) == (200, b'"2"', "close")
    assert server.process.wait(20) == 0


def test_a_script_that_does_not_return_is_left_behind_in_time(serve):
    """After the graceful time the process ends although `run` does not."""
    server = serve(SLOW, "--graceful-seconds=0.3")
    with server.connect() as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n60")
        until(lambda: 'in_flight{worker="0"} 1' in server.client.get("/metrics").text, "the request")
        assert server.stop() == 0


def test_sigterm_during_init_ends_at_once(serve):
    """A long `init` does not delay the end; live answers and ready does not meanwhile."""
    server = serve("import time\ndef init(): time.sleep(60)\ndef run(data): pass", wait="listening")
    assert server.client.get("/health/live").status_code == 200
    assert server.client.get("/health/ready").status_code == 503
    refused = server.client.post("/score", content="x")
    assert (refused.status_code, "starting" in refused.json()["message"]) == (503, True)
    assert server.stop() == 0


def test_a_worker_whose_supervisor_dies_ends_too(serve):
    """End of file on the control socket: no orphans."""
    server = serve(ECHO)
    server.control.shutdown(socket.SHUT_RDWR)
    assert server.process.wait(20) == 0
    assert "the supervisor is gone" in server.log.read_text()


def test_a_held_worker_serves_its_private_socket_only(serve, tmp_path):
    """Before `accept`, connections to the shared socket wait; the private one is answered, even during `init`."""
    with socket.create_server(("127.0.0.1", 0)) as shared:
        fd = shared.fileno()
        server = serve(ECHO, "--hold", f"--fd={fd}", port=None, pass_fds=(fd,), uds=tmp_path / "p.sock")
        waiting = socket.create_connection(shared.getsockname())
        waiting.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        assert server.client.post("/score", content="private").json() == "private"
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(10)
        server.order("accept")
        waiting.settimeout(20)
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
        waiting.close()


def test_several_workers_share_one_socket_and_their_metrics(serve):
    """Both workers answer; one that is killed is started again; SIGHUP replaces both; SIGTERM ends all with 0."""
    server = serve(PID, "--workers=2", wait=None)
    server.logged("listening address=")
    server.address = server.log.read_text().partition("listening address=")[2].split()[0]

    def pids():
        return {fresh(server) for _ in range(30)}

    until(lambda: len(pids()) == 2, "two workers")
    first = pids()
    os.kill(min(first), signal.SIGKILL)
    until(lambda: len(pids() - first) == 1, "a new worker for the killed one")
    second = pids()
    server.process.send_signal(signal.SIGHUP)
    server.logged("reloaded")
    until(lambda: not pids() & second, "two new workers")
    total = server.client.get("/metrics").text.partition('requests_total{code="200"} ')[2].split()[0]
    assert int(total) > 90
    assert server.stop() == 0


def fresh(server):
    """Score over a connection of its own."""
    try:
        with server.connect() as connection:
            connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except ConnectionError:
        return 0
    return int(answer.rpartition(b"\n")[2] or 0)


def test_a_worker_with_a_stuck_run_is_replaced(serve):
    """Among several workers, one whose `run` does not return gives its place to a new one."""
    server = serve(SLOW, "--workers=2", "--timeout-ms=300", "--graceful-seconds=1", wait=None)
    server.logged("ready init_seconds")
    server.address = server.log.read_text().partition("listening address=")[2].split()[0]
    assert server.client.post("/score", content="60").status_code == 504
    server.logged("replacing it")
    until(lambda: server.log.read_text().count("ready init_seconds") == 3, "the new worker")
    assert server.stop() == 0


@pytest.mark.parametrize("style", ["module", "folder"])
def test_a_copied_tree_runs_where_reconciler_is_not_installed(serve, tmp_path, style):
    """A folder with nothing but the runtime on the path is enough."""
    root = tmp_path / "runtime"
    (root / "reconciler").mkdir(parents=True)
    (root / "reconciler" / "__init__.py").touch()
    shutil.copytree(TREE / "reconciler" / "serving", root / "reconciler" / "serving")
    command = {
        "module": [sys.executable, "-m", "reconciler.serving"],
        "folder": [sys.executable, str(root / "reconciler" / "serving")],
    }[style]
    script = "import reconciler\ndef init(): pass\ndef run(data): return reconciler.__file__"
    server = serve(script, command=command, env={"PYTHONPATH": str(root)})
    assert Path(server.client.post("/score", content="x").json()).is_relative_to(root)


def test_it_imports_nothing_but_what_it_requires():
    """Of packages that are not the standard library's, the runtime imports starlette, uvicorn, anyio and theirs."""
    code = (
        "import sys; import reconciler.serving.worker, reconciler.serving.parent, reconciler.serving.cli;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    allowed = {
        "anyio",
        "click",
        "h11",
        "httptools",
        "idna",
        "reconciler",
        "starlette",
        "typing_extensions",
        "uvicorn",
        "watchfiles",
    }
    loaded = {name for name in said if not name.startswith("_")}
    assert loaded <= allowed | {"uvloop", "sniffio", "cython_runtime"}
    code = "import sys, reconciler.serving.cli; print('reconciler.core' in sys.modules, 'pydantic' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
