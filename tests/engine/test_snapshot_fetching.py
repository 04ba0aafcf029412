"""Fetching snapshots: from files and over real connections, within limits of size and time, https verified."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from reconciler.core.errors import AccessError, InvalidError, ReconcilerError, RefusedError, UnavailableError
from reconciler.engine.snapshot.fetching import fetch, masked
from tests.certificates import certificate_in
from tests.engine.addresses import says, serving


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


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: /s\r\nX: "])
def test_a_server_that_drips_is_left(head: bytes) -> None:
    """The time is for the whole transfer, not for each byte, be they of the status, of a header or of the body."""
    over = threading.Event()

    def dripping(handler: http.server.BaseHTTPRequestHandler) -> None:
        rest = head or b"HTTP/1.1 200 O"
        try:
            handler.wfile.write(rest)
            while not over.wait(0.02):
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            return

    try:
        with serving(dripping) as address, pytest.raises(UnavailableError, match=r"no whole answer within 0\.5 s"):
            fetch(address, seconds=0.5)
    finally:
        over.set()


def test_a_silent_server_is_left() -> None:
    """Nothing within the time is an error, not a wait."""
    over = threading.Event()
    with serving(lambda _: over.wait(60) and None) as address:
        with pytest.raises(UnavailableError, match=r"no (whole )?answer within"):
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
    certificate = certificate_in(tmp_path)
    with serving(says(200, b"signed"), certificate) as address:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            fetch(address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert fetch(address) == b"signed"
    with serving(says(200)) as plain, serving(says(302, Location=plain), certificate) as address:
        for allowed in (False, True):
            with pytest.raises(RefusedError, match="redirects from https to http://127"):
                fetch(address, plain_http=allowed)


def test_credentials_and_queries_stay_out_of_messages() -> None:
    """Whatever goes wrong with an address, its secrets are not told."""
    assert masked("https://me:secret@host:1/s?token=secret#secret") == "https://***@host:1/s"
    with pytest.raises(RefusedError) as caught:
        fetch("http://me:hunter2@example.com/?token=hunter2")
    assert "hunter2" not in caught.value.message + caught.value.hint
