"""Connections to an engine are kept and used again; one that the engine ended meanwhile is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.containers.engine import Engine
from reconciler.containers.place import EnginePlace
from tests.containers.answering import Listening, engine_socket


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    """One that answers."""
    with engine_socket(tmp_path / "s") as server:
        yield server


def test_looking_at_many_containers_takes_one_connection(listening: Listening) -> None:
    """Whatever is asked for."""
    with closing(Engine(EnginePlace(f"unix://{listening.server_address}"))) as engine:
        for name in ("a", "b", "c"):
            report = engine.inspect(name)
            assert report is not None
            assert report["Id"] == name
    assert listening.connections == 1


def test_a_connection_that_the_engine_ended_is_made_anew(listening: Listening) -> None:
    """An engine that was restarted is no reason to fail."""
    listening.ends_after = "a"
    with closing(Engine(EnginePlace(f"unix://{listening.server_address}"))) as engine:
        assert engine.inspect("a") == {"Id": "a"}
        assert listening.ended.wait(60)
        assert engine.inspect("b") == {"Id": "b"}
    assert listening.connections == 2
