"""Fetching snapshots: from files and over real connections, within limits of size and time, https verified."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.core.errors import AccessError, InvalidError, ReconcilerError, RefusedError, UnavailableError
from reconciler.engine.snapshot.fetching import fetch, masked

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, certificate: Path | None = None) -> Iterator[str]:
    """A server that answers everything in one way; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}/snapshot"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer with a status, a body and headers."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_file_is_read_within_its_limit(tmp_path: Path) -> None:
    """As it is; one that is too large or not there is told."""
    path = tmp_path / "snapshot.json"
    path.write_bytes(b"x" * 100)
    assert fetch(str(path)) == b"x" * 100
    with pytest.raises(InvalidError, match="more than 99 bytes"):
        fetch(str(path), limit=99)
    with pytest.raises(InvalidError, match="cannot be read") as caught:
        fetch(str(tmp_path / "nowhere"))
    assert "reconciler snapshot" in caught.value.hint


def test_loopback_may_speak_http() -> None:
    """A daemon on this machine needs no certificate."""
    with serving(says(200, b"signed")) as address:
        assert fetch(address) == b"signed"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessError, "refused"),
        (404, InvalidError, "no snapshot at"),
        (500, UnavailableError, "500"),
        (503, UnavailableError, "not seen all of its targets"),
    ],
)
def test_other_answers_are_one_clear_error(status: int, error: type[ReconcilerError], words: str) -> None:
    """Each says what the server said."""
    with serving(says(status, b"{}")) as address, pytest.raises(error, match=words):
        fetch(address)


def test_nobody_there_is_told_with_a_way_on() -> None:
    """The address, why, and what works without it."""
    with serving(says(200)) as address:
        pass
    with pytest.raises(UnavailableError, match="cannot be fetched") as caught:
        fetch(address)
    assert "plan --base REF" in caught.value.hint


def test_an_endless_answer_is_cut_off() -> None:
    """No more than the limit is read of what a server sends, whatever it announced."""

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            return

    with serving(endless) as address, pytest.raises(InvalidError, match="more than 1,000,000 bytes"):
        fetch(address, limit=1_000_000)


def test_a_server_that_drips_is_left(tmp_path: Path) -> None:
    """The time is for the whole transfer, not for each byte."""
    over = threading.Event()

    def dripping(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not over.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            return

    try:
        with serving(dripping) as address, pytest.raises(UnavailableError, match="did not end within"):
            fetch(address, seconds=0.5)
    finally:
        over.set()


def test_a_silent_server_is_left() -> None:
    """Nothing within the time is an error, not a wait."""
    over = threading.Event()
    with serving(lambda _: over.wait(60) and None) as address:
        with pytest.raises(UnavailableError, match="no answer within"):
            fetch(address, seconds=0.5)
        over.set()


@pytest.mark.parametrize(
    "address", ["http://example.com/snapshot", "http://10.0.0.1/", "http://127.0.0.1.example.com/"]
)
def test_other_machines_must_speak_https(address: str) -> None:
    """Nothing is asked of them."""
    with pytest.raises(RefusedError, match="not https") as caught:
        fetch(address)
    assert "--allow-http" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/", "https:///snapshot", "http://[::1/", "file:///etc/passwd", "https://"]
)
def test_what_is_no_address_is_told(address: str) -> None:
    """Other schemes and nonsense are refused, files among them."""
    with pytest.raises(InvalidError):
        fetch(address)


def test_a_redirection_leads_to_https_alone() -> None:
    """Neither to http elsewhere nor to a file, and not in circles; on this machine it is followed."""
    for location, error in (("http://example.com/", RefusedError), ("file:///etc/passwd", InvalidError)):
        with serving(says(302, Location=location)) as address, pytest.raises(error):
            fetch(address)
    with serving(says(302, Location="/again")) as address, pytest.raises(InvalidError, match="redirects too often"):
        fetch(address)
    with serving(says(200, b"there")) as there, serving(says(302, Location=there)) as address:
        assert fetch(address) == b"there"


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https is verified; with the certificate's authority it is believed."""
    certificate = tmp_path / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *words.split(" "), "-keyout", "-", "-out", "-"]
    made = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    certificate.write_bytes(made.stdout)
    with serving(says(200, b"signed"), certificate) as address:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            fetch(address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(address) == b"signed"


def test_credentials_and_queries_stay_out_of_messages() -> None:
    """Whatever goes wrong with an address, its secrets are not told."""
    assert masked("https://me:secret@host:1/s?token=secret#secret") == "https://***@host:1/s"
    with pytest.raises(RefusedError) as caught:
        fetch("http://me:hunter2@example.com/?token=hunter2")
    assert "hunter2" not in caught.value.message + caught.value.hint
