"""A new worker takes over the listening socket from an old one under load: no request may be lost."""

import http.client
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

ECHO = """
def init(): pass
def run(data): return {"worker": NAME, "data": data}
NAME = %r
"""


@dataclass
class Load:
    """Clients in threads, each asking for answers all the time; what went wrong is kept."""

    port: int
    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, keep_alive: int, fresh: int, pause: float = 0.0) -> None:
        """Start clients that keep their connection until told to close it, and ones that never do."""
        kinds = [True] * keep_alive + [False] * fresh
        self.threads = [threading.Thread(target=self._client, args=(n, keep, pause)) for n, keep in enumerate(kinds)]
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        """Stop all clients."""
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _client(self, number: int, keep_alive: bool, pause: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        count = 0
        while not self.stop.is_set():
            count += 1
            body = f"{number}-{count}"
            headers = {} if keep_alive else {"Connection": "close"}
            try:
                connection.request("POST", "/score", body, headers)
                answer = connection.getresponse()
                text = answer.read().decode()
                good = answer.status == 200 and f'"data": "{body}"' in text
                self.answers["new" if '"worker": "new"' in text else "old"] += 1
                if not good:
                    self.failures.append(f"{answer.status} {text}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"client {number}, request {count}: {error!r}")
                connection.close()
            self.stop.wait(pause)
        connection.close()


@pytest.fixture
def listening():
    """A listening socket as a supervisor owns it."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=256)
    yield sock
    sock.close()


def hand_over(serve, tmp_path, listening, load_arguments, env=None):
    """Old worker accepts; under load the new one accepts, then the old one drains."""
    fd = listening.fileno()

    def worker(name):
        uds = tmp_path / f"{name}.sock"
        return serve(ECHO % name, "--hold", f"--fd={fd}", port=None, env=env, pass_fds=(fd,), uds=uds)

    old = worker("old")
    old.order("accept")
    old.event("accepting")
    load = Load(listening.getsockname()[1])
    load.start(**load_arguments)
    try:
        deadline = time.monotonic() + 20
        while load.answers["old"] < 200 and time.monotonic() < deadline:
            load.stop.wait(0.01)
        new = worker("new")
        assert load.answers["new"] == 0
        assert new.client.post("/score", content="probe").json() == {"worker": "new", "data": "probe"}
        new.order("accept")
        new.event("accepting")
        old.order("drain")
        old.event("drained")
        assert old.process.wait(20) == 0
        target = load.answers["new"] + 200
        while load.answers["new"] < target and time.monotonic() < deadline:
            load.stop.wait(0.01)
    finally:
        load.finish()
    return load


@pytest.mark.parametrize(
    ("keep_alive", "fresh"),
    [(4, 4), pytest.param(6, 0, marks=pytest.mark.long), pytest.param(0, 6, marks=pytest.mark.long)],
)
def test_no_request_is_lost_when_a_new_worker_takes_over(serve, tmp_path, listening, keep_alive, fresh):
    """Under load with kept and with fresh connections, every request before, during and after is answered."""
    load = hand_over(serve, tmp_path, listening, {"keep_alive": keep_alive, "fresh": fresh})
    assert load.failures == []
    assert load.answers["old"] >= 200
    assert load.answers["new"] >= 200


def test_connections_that_are_idle_for_a_moment_survive_the_hand_over(serve, tmp_path, listening):
    """A kept connection with pauses between its requests is answered with `Connection: close`, not cut."""
    load = hand_over(serve, tmp_path, listening, {"keep_alive": 20, "fresh": 0, "pause": 0.05})
    assert load.failures == []


def test_nothing_is_lost_without_httptools_and_uvloop_either(serve, tmp_path, listening, without_httptools):
    """The hand-over does not depend on the faster protocol and event loop."""
    load = hand_over(serve, tmp_path, listening, {"keep_alive": 3, "fresh": 3}, without_httptools["plain"])
    assert load.failures == []
