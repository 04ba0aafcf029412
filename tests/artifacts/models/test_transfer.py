"""Transfers: over HTTP with interruptions, killed in the middle, on a full disk, large ones."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.core.change import Action
from reconciler.core.deployment import ModelVersion
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import AccessError, TerminalError, ThrottledError, UnavailableError
from reconciler.core.resources import Health

from .conftest import Bench, change_for, sha256

DATA = os.urandom(3 << 20)


class Server(ThreadingHTTPServer):
    """Serves DATA in the ways that paths name, and notes the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, str]] = []
        self.etag = '"one"'
        self.go = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """See Server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        """Headers of DATA."""
        self._head(200, len(DATA))

    def do_GET(self) -> None:
        """DATA, as the path says."""
        wanted = self.headers.get("Range", "")
        self.server.seen.append((self.path, wanted, self.headers.get("If-Range", "")))
        {
            "/whole": lambda: self._send(200, DATA),
            "/cut": lambda: self._send(200, DATA, cut=len(DATA) // 2) if not wanted else self._rest(wanted),
            "/restart": lambda: self._send(200, DATA, cut=None if len(self.server.seen) > 1 else len(DATA) // 2),
            "/never": lambda: self._send(200, DATA, cut=1000),
            "/slow": self._slow,
            "/liar": lambda: self._rest("bytes=7-") if wanted else self._send(200, DATA, cut=1000),
            "/away": lambda: self._redirect("ftp://127.0.0.1/x"),
            "/inside": lambda: self._redirect("/whole"),
            "/loop": lambda: self._redirect("/loop"),
            "/huge": lambda: self._head(200, 1 << 60),
        }.get(self.path, lambda: self._head(int(self.path[1:]), 0))()

    def _head(self, status: int, length: int, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", self.server.etag)
        self.send_header("Retry-After", "7")
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _send(self, status: int, data: bytes, cut: int | None = None, **more: str) -> None:
        self._head(status, len(data), **more)
        self.wfile.write(data[:cut])
        self.close_connection = cut is not None

    def _rest(self, wanted: str) -> None:
        start = int(wanted[6:].rstrip("-"))
        self._send(206, DATA[start:], Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")

    def _slow(self) -> None:
        self._head(200, len(DATA))
        self.wfile.write(DATA[:1000])
        self.wfile.flush()
        self.server.go.wait(60)
        self.wfile.write(DATA[1000:])

    def _redirect(self, where: str) -> None:
        self._head(302, 0, Location=where)


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    with Server() as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield httpd
        httpd.go.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture
def web(make_bench: Callable[..., Bench], server: Server) -> Bench:
    """A bench that may fetch from the server."""
    return make_bench(uri_prefixes=(server.url,), connect_timeout=5.0, read_timeout=5.0)


def at(server: Server, path: str, version: str = "1", digest: str | None = None) -> ModelVersion:
    """A model version behind a URL."""
    return ModelVersion("ridge", version, digest, uri=f"{server.url}/{path}")


@pytest.mark.parametrize("path", ["whole", "inside", "restart"])
def test_fetching_over_http(web: Bench, server: Server, path: str) -> None:
    """A whole answer, an allowed redirect, and a server that cannot continue all end in the right bytes."""
    answered = web.apply(at(server, path))
    assert answered.spec["digest"] == sha256(DATA)
    assert web.objects()[0].read_bytes() == DATA


def test_a_broken_download_continues_where_it_stopped(web: Bench, server: Server) -> None:
    """After a broken connection the rest is asked for, on condition that the resource is the same."""
    assert web.apply(at(server, "cut")).spec["digest"] == sha256(DATA)
    first, second = server.seen
    assert (first[1], second) == ("", ("/cut", f"bytes={len(DATA) // 2}-", '"one"'))


def test_a_download_with_other_bytes_than_expected(web: Bench, server: Server) -> None:
    """Nothing is registered, and both digests are said."""
    with pytest.raises(TerminalError) as caught:
        web.apply(at(server, "whole", digest=sha256(b"x")))
    assert sha256(DATA) in caught.value.message
    assert web.observed() == {}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("401", AccessError),
        ("403", AccessError),
        ("404", TerminalError),
        ("429", ThrottledError),
        ("500", UnavailableError),
        ("503", UnavailableError),
        ("never", UnavailableError),
        ("liar", UnavailableError),
        ("away", TerminalError),
        ("loop", TerminalError),
        ("huge", TerminalError),
    ],
)
def test_what_a_server_may_answer(web: Bench, server: Server, path: str, kind: type[Exception]) -> None:
    """Each refusal becomes the error that says how to go on; nothing half-done stays."""
    with pytest.raises(kind):
        web.apply(at(server, path))
    assert web.observed() == {}
    assert list((web.folder / "models/incoming").iterdir()) == []


def test_throttling_says_how_long(web: Bench, server: Server) -> None:
    """The time that the server asked for is passed on."""
    with pytest.raises(ThrottledError) as caught:
        web.apply(at(server, "429"))
    assert caught.value.retry_after == 7


def test_a_server_that_is_not_there(make_bench: Callable[..., Bench]) -> None:
    """No connection is an error that may pass."""
    bench = make_bench(uri_prefixes=("http://127.0.0.1",))
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        bench.apply(ModelVersion("ridge", "1", uri="http://127.0.0.1:9/x"))


def test_slow_work_is_in_progress_and_observed(make_bench: Callable[..., Bench], server: Server) -> None:
    """A transfer that takes long answers at once; observing shows how far it is, then the version."""
    bench = make_bench(uri_prefixes=(server.url,), patience=0.05)
    (desired,) = bench.driver.render_models([at(server, "slow")])
    change = change_for(desired)
    assert isinstance(bench.driver.apply(change), InProgress)
    assert isinstance(bench.driver.apply(change), InProgress)
    seen = bench.observed()["ridge:1"]
    assert (seen.busy, seen.health) == (True, Health.PROGRESSING)
    assert "fetched" in seen.reason
    server.go.set()
    seen = _until(bench, lambda seen: not seen.busy)
    assert (seen.health, seen.spec["digest"]) == (Health.HEALTHY, sha256(DATA))
    assert seen.mark is not None
    assert seen.mark.spec_digest == desired.spec_digest


def test_slow_work_that_fails_says_why(make_bench: Callable[..., Bench], server: Server) -> None:
    """The failure of a transfer is observed until the next apply, which tries again."""
    bench = make_bench(uri_prefixes=(server.url,), patience=0.05)
    (desired,) = bench.driver.render_models([at(server, "slow", digest=sha256(b"x"))])
    assert isinstance(bench.driver.apply(change_for(desired)), InProgress)
    server.go.set()
    seen = _until(bench, lambda seen: not seen.busy)
    assert seen.health is Health.DEGRADED
    assert sha256(DATA) in seen.reason
    assert seen.mark is not None
    assert seen.mark.spec_digest == ""
    assert bench.driver.apply(change_for(desired, Action.DELETE)) == Done()
    assert bench.observed() == {}


def test_closing_stops_a_transfer(make_bench: Callable[..., Bench], server: Server) -> None:
    """A driver that is closed leaves nothing running and nothing half-done."""
    bench = make_bench(uri_prefixes=(server.url,), patience=0.05)
    (desired,) = bench.driver.render_models([at(server, "slow")])
    bench.driver.apply(change_for(desired))
    _until(bench, lambda seen: seen.busy)
    threading.Timer(0.1, server.go.set).start()
    bench.driver.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("register")]
    assert list((bench.folder / "models/incoming").iterdir()) == []


def _until(bench: Bench, fits: Callable[..., bool]):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        seen = bench.observed().get("ridge:1")
        if seen is not None and fits(seen):
            return seen
        time.sleep(0.01)
    raise AssertionError("not in time")


SCRIPT = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.artifacts.models.registry import ModelRegistry
    from reconciler.artifacts.models.settings import ModelSettings
    from reconciler.core.change import Action, Change
    from reconciler.core.deployment import ModelVersion
    from reconciler.core.resources import Mark

    root, source, version, limit = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    settings = ModelSettings(file_folders=(source.parent,), patience=600)
    driver = ModelsDriver(ModelRegistry(root), settings, lambda: None, set)
    (desired,) = driver.render_models([ModelVersion("ridge", version, uri=source.as_uri())])
    mark = Mark("home", "", "r", desired.spec_digest, str(desired.id))
    try:
        answer = driver.apply(Change(desired.id, Action.CREATE, desired=desired, mark=mark))
        print("done", answer.answered.spec["digest"])
    except Exception as error:
        print(type(error).__name__, error)
    # Not getrusage: its peak begins with that of the process this one was forked from.
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1])
    """
)


def registering(root: Path, source: Path, version: str = "1", limit: int = 0) -> subprocess.Popen[str]:
    """Another process that registers a file."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root), str(source), version, str(limit)], stdout=subprocess.PIPE, text=True
    )


def test_killed_at_any_point_leaves_no_half_version(tmp_path: Path, bench: Bench) -> None:
    """Killed again and again while it writes, the registry holds either the whole version or nothing of it."""
    source = tmp_path / "m.bin"
    source.write_bytes(os.urandom(24 << 20))
    digest = sha256(source.read_bytes())
    root = tmp_path / "models"
    for threshold in (1, 6 << 20, 18 << 20, (24 << 20) - 1):
        process = registering(root, source)
        _kill_at(process, root / "incoming", threshold)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        registered, strays = ModelRegistry(root).all()
        assert strays == []
        assert [record.digest for record in registered] in ([], [digest])  # type: ignore[union-attr]
        for seen in bench.observed().values():
            assert seen.health is Health.HEALTHY
    process = registering(root, source)
    told, _ = process.communicate(timeout=60)
    assert f"done {digest}" in told
    assert list((root / "incoming").iterdir()) == []
    assert len(bench.objects()) == 1


def _kill_at(process: subprocess.Popen[str], incoming: Path, size: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            written = max((path.stat().st_size for path in incoming.iterdir()), default=0)
        except OSError:
            written = 0
        if written >= size:
            process.send_signal(signal.SIGKILL)
            return


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    """When the system takes no more bytes, the reason is said and nothing is left."""
    source = tmp_path / "m.bin"
    source.write_bytes(os.urandom(2 << 20))
    process = registering(tmp_path / "models", source, limit=1 << 20)
    told, _ = process.communicate(timeout=60)
    assert told.startswith("UnavailableError a file in")
    assert list((tmp_path / "models/incoming").iterdir()) == []
    assert ModelRegistry(tmp_path / "models").all() == ([], [])


@pytest.mark.long
def test_a_full_file_system_is_a_clear_error(tmp_path: Path) -> None:
    """The same on a small file system that is really full, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        source = tmp_path / "m.bin"
        source.write_bytes(os.urandom(8 << 20))
        told, _ = registering(disk / "models", source).communicate(timeout=60)
        assert "free space" in told or "free" in told
        assert list((disk / "models/incoming").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.long
def test_a_gigabyte_streams_in_constant_memory(tmp_path: Path) -> None:
    """1 GB is registered in the time that copying and hashing it takes, with little memory."""
    source = tmp_path / "big.bin"
    digest = hashlib.sha256()
    with source.open("wb") as stream:
        for _ in range(1000):
            block = os.urandom(1_000_000)
            digest.update(block)
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    begun = time.perf_counter()
    subprocess.run(["cp", source, tmp_path / "copy"], check=True)
    subprocess.run(["sync", tmp_path / "copy"], check=True)
    subprocess.run(["sha256sum", tmp_path / "copy"], check=True, capture_output=True)
    plain = time.perf_counter() - begun
    begun = time.perf_counter()
    told, _ = registering(tmp_path / "models", source).communicate(timeout=600)
    ours = time.perf_counter() - begun
    print(f"1 GB: ours {1000 / ours:.0f} MB/s, cp + sync + sha256sum {1000 / plain:.0f} MB/s")
    assert f"done sha256:{digest.hexdigest()}" in told
    assert int(told.split()[-1]) < 150_000


@pytest.mark.long
def test_ten_thousand_versions_are_observed_fast(bench: Bench) -> None:
    """Observing reads no content, and reads an index file again only if it changed."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model)
    folder = bench.folder / "models/versions/ridge"
    data = (folder / "1.json").read_bytes()
    for version in range(2, 10_001):
        (folder / f"{version}.json").write_bytes(data)
    assert len(bench.observed()) == 10_000
    begun = time.process_time()
    bench.observed()
    seconds = time.process_time() - begun
    print(f"10,000 versions observed again in {seconds:.3f} s")
    assert seconds < 2
