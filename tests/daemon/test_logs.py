"""The daemon's log, as text and as JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from reconciler.core.secrets import Secret
from reconciler.engine.daemon.logs import configure_logging
from tests.daemon.rig import Rig, service


@pytest.fixture
def configured() -> Iterator[Callable[..., io.StringIO]]:
    """Sets logging up into a buffer, and puts it back as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)

    def configure(format: str, level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        configure_logging(format, level, stream)
        return stream

    yield configure
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_one_object_a_line_with_a_constant_event(configured):
    """Also from loggers of the standard library, with their extras and tracebacks on one line."""
    stream = configured("json")
    structlog.get_logger("x").info("reconcile", target="east", changes={"create": 1})
    logging.getLogger("y").warning("internal error", extra={"resource": "east/service/a"})
    first, second = lines(stream)
    assert (first["event"], first["level"], first["changes"]) == ("reconcile", "info", {"create": 1})
    assert (second["event"], second["resource"]) == ("internal error", "east/service/a")


def test_secrets_are_masked_wherever_they_stand(configured):
    """A secret in a value, a list or a traceback's variables never reaches the log."""
    for format in ("json", "text"):
        stream = configured(format)
        secret = Secret("f" * 32, None, "canary-text")
        structlog.get_logger("x").info("event", key=secret, many=[secret], deep={"in": {"it": secret}})
        try:
            raise ValueError("broken")
        except ValueError:
            structlog.get_logger("x").exception("internal error")
        assert "canary" not in stream.getvalue()
        assert "(sensitive)" in stream.getvalue()
        assert "ValueError" in stream.getvalue()


def test_what_is_below_the_level_is_left_out(configured):
    """And libraries that log every connection are heard from warnings up only."""
    stream = configured("json", "info")
    structlog.get_logger("x").debug("progress")
    logging.getLogger("httpx").info("HTTP Request: GET ...")
    assert stream.getvalue() == ""


def test_text_is_for_people(configured):
    """No JSON, and no colour where nobody watches."""
    stream = configured("text")
    structlog.get_logger("x").info("reconcile", target="east")
    assert "reconcile" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("format", "level"), [("xml", "info"), ("json", "loud")])
def test_unknown_formats_and_levels_are_refused(format, level):
    """A slip does not turn the log off."""
    with pytest.raises(ValueError, match="is not one of"):
        configure_logging(format, level)


def test_every_reconcile_has_one_canonical_line(configured, rig: Rig):
    """With id, revision, target, seconds, changes, drift, health and outcome, whether or not anything was done."""
    stream = configured("json")
    rig.commit(service("a"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        rig.next(lambda r: r.causes == ("verifying",))
    told = [line for line in lines(stream) if line["event"] == "reconcile" and line["target"] == "east"]
    assert [line["outcome"] for line in told] == ["applied", "in sync"]
    wanted = {"id", "revision", "target", "seconds", "queued", "changes", "drift", "health", "outcome", "cause"}
    assert all(wanted <= line.keys() for line in told)
    assert (told[0]["changes"], told[1]["health"]) == ({"create": 1}, {"Healthy": 1})
