"""Under load, a roll-out loses no request, and no request reaches a version before it was promoted."""

import http.client
import threading

import pytest

from reconciler.core.change import Action, Change, Step

from .harness import until


class Load:
    """Clients that ask without a pause, each answer kept."""

    def __init__(self, port, clients, keep_alive):
        self.answers = []
        self.failures = []
        self._port = port
        self._keep_alive = keep_alive
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {"Content-Type": "application/json"} | ({} if self._keep_alive else {"Connection": "close"})
        while not self._stop.is_set():
            try:
                connection.request("POST", "/score", b"{}", headers)
                response = connection.getresponse()
                self.answers.append((response.status, response.read().decode().strip('"')))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
        connection.close()

    def served(self, version):
        """How many answers came from a version so far."""
        return self.answers.count((200, version))


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "close"])
def test_rollout_loses_nothing(bench, keep_alive):
    """Three roll-outs under load: every request is answered, by the version that is promoted or was a moment ago."""
    seen = bench.deploy(bench.deployment("v0", replicas=2))
    with Load(seen.outputs["port"], 4, keep_alive) as load:
        for number in range(1, 4):
            until(lambda number=number: load.served(f"v{number - 1}") > 20)
            bench.stage(bench.deployment(f"v{number}", replicas=2))
            assert load.served(f"v{number}") == 0
            bench.promote(bench.deployment(f"v{number}", replicas=2))
        until(lambda: load.served("v3") > 20)
    assert load.failures == []
    assert {answer for answer in load.answers if answer[0] != 200} == set()
    order = [text for _, text in load.answers]
    last = {version: len(order) - order[::-1].index(version) for version in ("v0", "v1", "v2")}
    assert last["v0"] < last["v1"] < last["v2"]


def test_request_under_way_is_finished_by_the_version_before(bench):
    """A request that began before the promotion is answered by the version it began with."""
    slow = "import time\n\ndef init(): pass\n\ndef run(data):\n    time.sleep(float(data))\n    return 'slow'\n"
    seen = bench.deploy(bench.deployment(script=slow))
    connection = http.client.HTTPConnection("127.0.0.1", seen.outputs["port"], timeout=10)
    connection.request("POST", "/score", b"0.8")
    bench.deploy(bench.deployment("two"))
    assert connection.getresponse().read() == b"slow"
    connection.close()


def test_delete_finishes_what_is_under_way(bench):
    """Deleting takes no new connection and answers those it has."""
    slow = "import time\n\ndef init(): pass\n\ndef run(data):\n    time.sleep(float(data))\n    return 'slow'\n"
    seen = bench.deploy(bench.deployment(script=slow))
    connection = http.client.HTTPConnection("127.0.0.1", seen.outputs["port"], timeout=10)
    connection.request("POST", "/score", b"0.8")
    until(lambda: bench.apply(Change(bench.id(), Action.DELETE)) and _refused(seen.outputs["port"]))
    assert connection.getresponse().read() == b"slow"
    connection.close()
    until(lambda: bench.observe() is None)


def _refused(port):
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
    except OSError:
        return True
    return False


def test_drain_has_an_end(bench):
    """A request that does not end within the drain time does not keep the old version for ever."""
    stuck = "import time\n\ndef init(): pass\n\ndef run(data):\n    time.sleep(600)\n"
    seen = bench.deploy(bench.deployment(script=stuck, drain_seconds=0.3))
    connection = http.client.HTTPConnection("127.0.0.1", seen.outputs["port"], timeout=10)
    connection.request("POST", "/score", b"0.8")
    bench.deploy(bench.deployment("two", drain_seconds=0.3))
    until(lambda: len(bench.processes()) == 2)
    connection.close()


def test_failed_promotion_leaves_the_version_before(bench):
    """A version that falls over as it is promoted is Degraded, and the one before answers."""
    flag = bench.models / "flag"
    script = (
        "import os, threading, time\n\ndef init():\n    def watch():\n"
        f"        while not os.path.exists({str(flag)!r}): time.sleep(0.001)\n        os._exit(5)\n"
        "    threading.Thread(target=watch, daemon=True).start()\n\ndef run(data): return 'bad'\n"
    )
    bench.deploy(bench.deployment("one"))
    bench.stage(bench.deployment(script=script))
    flag.touch()
    failed = until(lambda: (now := bench.observe()).staged.health == "Degraded" and now)
    assert "exited with code 5" in failed.staged.reason
    with Load(failed.outputs["port"], 1, False) as load:
        with pytest.raises(Exception, match="not healthy"):
            bench.apply(bench.change(bench.deployment(script=script), Step.PROMOTE))
        until(lambda: load.served("one") > 5)
    assert load.failures == []
