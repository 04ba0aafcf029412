"""The daemon's snapshot: at its address and in a file, of what it last saw, and what happens when there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from reconciler.core.errors import InvalidError
from reconciler.core.resources import Completeness, ResourceId
from reconciler.core.situation import Situation
from reconciler.engine.daemon import Board, Options, Published, Reconciled
from reconciler.engine.daemon.published import Publish
from reconciler.engine.snapshot.document import Snapshot, from_text, to_text
from reconciler.engine.snapshot.making import SnapshotMaker
from reconciler.engine.snapshot.signing import Signer, open_envelope
from reconciler.targets.memory.faults import Fault
from reconciler.web.app import app_of, serving
from reconciler.web.metrics import Metrics
from reconciler.web.server import WebServer
from tests.daemon.rig import INSTALLATION, PATIENCE, Rig, service, until
from tests.engine.conftest import FakeClock

SIGNER = Signer(INSTALLATION, b"k" * 32)
RECORD = Reconciled("1", "east", ("start",), "main@abc", "applied", 0.2, 0.01, 1000.0, {}, errors={})


def opened(data: bytes) -> Snapshot:
    """A snapshot whose signature is good."""
    return from_text(open_envelope(data, [SIGNER.public_key])[0])


@contextmanager
def writing(published: Published, path: Path) -> Iterator[None]:
    """Keeps a file up to date, as the daemon does with `snapshot.file`, but without its pauses."""
    stop = threading.Event()
    thread = threading.Thread(target=published.write_to, args=(lambda: path, stop, 0.01))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_it_is_what_the_daemon_last_saw_at_its_address_and_in_a_file(rig: Rig, tmp_path: Path) -> None:
    """Every commit, and what happens at a target, is in the next one; the file is never half written."""
    maker = SnapshotMaker(
        INSTALLATION, "https://git.example/ml", "", rig.store, rig.clock, [], lambda _: (rig.drivers, [])
    )
    rig.publish = lambda seen: SIGNER.sign(to_text(maker.make(seen)))
    a, b = ResourceId("east", "service", "a"), ResourceId("west", "service", "b")
    file = tmp_path / "published" / "snapshot.json"
    file.parent.mkdir()
    rig.commit(service("a"))
    daemon = rig.make(serve=serving("127.0.0.1:0", Metrics()))
    with rig.running(daemon), writing(daemon.published, file):
        rig.settled(daemon, lambda s: s.ready and bool(s.report.services))
        holder = rig.store.holder()
        assert holder is not None
        answer = httpx.get(f"http://{holder.address}/snapshot", trust_env=False, timeout=60)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
        first = opened(answer.content)
        assert first.seen["east"].observation.resources[a].spec["image"] == "one"
        assert first.known.baselines[a].service == "a"
        assert (first.installation, first.revision.sha) == (INSTALLATION, rig.git("rev-parse", "HEAD"))

        rig.commit(service("a"), service("b", "west"))
        until(lambda: file.exists() and b in opened(file.read_bytes()).known.baselines)
        second = opened(file.read_bytes())
        assert second.revision.sha == rig.git("rev-parse", "HEAD")
        assert second.observed_at >= first.observed_at

        rig.worlds["west"].fault(Fault("list", "503", times=-1))
        rig.commit(service("a"), service("b", "west", size=2))
        until(lambda: opened(file.read_bytes()).seen["west"].observation.completeness is Completeness.UNAVAILABLE)
        third = opened(file.read_bytes())
        assert b in third.known.baselines
        assert third.seen["east"].observation.completeness is Completeness.COMPLETE
        assert [path.name for path in file.parent.iterdir()] == [file.name]


class Press:
    """What makes snapshots, in the hands of a test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = Board("rc-test", self.clock.monotonic)
        self.made = 0
        self.error = ""
        self.publish: Publish | None = self._publish
        self.published = Published(self.board, self.clock, lambda: self.publish)

    def _publish(self, seen: Mapping[str, Situation | None]) -> bytes:
        if self.error:
            raise InvalidError(self.error, hint="mend it")
        self.made += 1
        return f"{self.made}: {sorted(seen)}".encode()


def test_there_is_none_until_every_target_was_looked_at() -> None:
    """Before that it would say that there is nothing."""
    press = Press()
    assert press.published.newest() is None
    press.board.loaded("main@abc", (), ["east", "west"])
    press.board.ended(RECORD, None)
    assert press.published.newest() is None
    press.board.loaded("main@abc", (), ["east"])
    assert press.published.newest() == b"1: ['east']"


def test_one_is_given_again_to_those_who_ask_often() -> None:
    """For five seconds, or until other settings make other ones."""
    press = Press()
    press.board.loaded("main@abc", (), ["east"])
    press.board.ended(RECORD, None)
    assert [press.published.newest() for _ in range(3)] == [b"1: ['east']"] * 3
    press.clock.advance(5.1)
    assert press.published.newest() == b"2: ['east']"
    press.publish = lambda _: b"of other settings"
    assert press.published.newest() == b"of other settings"
    press.publish = None
    assert press.published.newest() is None


def test_the_address_says_why_there_is_none() -> None:
    """503 with the reason, as other tools understand it; then the snapshot."""
    press = Press()
    server = WebServer(app_of(press.board, Metrics(), Options(), press.published), "127.0.0.1:0")
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False) as client:
        waiting = client.get("/snapshot")
        assert (waiting.status_code, waiting.json()["ok"]) == (503, False)
        press.board.loaded("main@abc", (), ["east"])
        press.board.ended(RECORD, None)
        press.error = "the identity cannot be read"
        broken = client.get("/snapshot")
        assert (broken.status_code, broken.json()["reason"]) == (503, press.error)
        press.error = ""
        assert client.get("/snapshot").content == b"1: ['east']"
    server.close()


@pytest.mark.parametrize("error", ["", "the identity cannot be read"])
def test_what_cannot_be_written_is_told_once(tmp_path: Path, error: str) -> None:
    """And tried again: once it works, the file is there."""
    press = Press()
    press.board.loaded("main@abc", (), ["east"])
    press.board.ended(RECORD, None)
    press.error = error
    path = tmp_path / ("there" if error else "gone") / "snapshot.json"
    (tmp_path / "there").mkdir()
    with capture_logs() as logged:
        with writing(press.published, path):
            until(lambda: logged)
            began = press.clock.time
            until(lambda: press.clock.time > began + 0.1)
            (tmp_path / "gone").mkdir()
            press.error = ""
            until(path.exists)
        assert [line["event"] for line in logged] == ["snapshot not written"]
        assert (error or "No such file") in logged[0]["error"]
    assert b"['east']" in path.read_bytes()
