"""Which engine `auto` means: docker where an engine answers, with the reason; once applied to, it stays."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.deployment import Target
from reconciler.wiring.containers import EngineChoice
from tests.containers.answering import VERSION, engine_socket


def choice(folder: Path, engine: str = "auto") -> EngineChoice:
    """That of a target whose engine would answer in a folder."""
    block = {"engine": engine, "dockerHost": f"unix://{folder}/s"}
    return EngineChoice(Target("laptop", "local", block), folder / "state" / "engine.json")


def test_auto_is_docker_where_an_engine_answers_and_says_so(tmp_path: Path) -> None:
    """With its version and where it is."""
    with engine_socket(tmp_path / "s"):
        engine, why = choice(tmp_path).find()
    assert engine == "docker"
    assert why.startswith(f"container engine {VERSION} answers at unix://{tmp_path}/s")


def test_auto_is_processes_where_none_answers_and_says_so(tmp_path: Path) -> None:
    """Whether there is no socket, or nobody behind it."""
    assert choice(tmp_path).find() == ("process", f"there is no container engine at unix://{tmp_path}/s")
    with engine_socket(tmp_path / "s"):
        pass
    engine, why = choice(tmp_path).find()
    assert engine == "process"
    assert "does not answer" in why


def test_what_was_applied_to_stays_when_engines_come_and_go(tmp_path: Path) -> None:
    """Also for another process that asks; a record that cannot be read is made anew."""
    choice(tmp_path).keep()
    with engine_socket(tmp_path / "s"):
        assert choice(tmp_path).find() == ("process", "")
        (tmp_path / "state" / "engine.json").write_text("{")
        assert choice(tmp_path).find()[0] == "docker"
        choice(tmp_path).keep()
    assert choice(tmp_path).find() == ("docker", "")


def test_an_engine_that_is_named_is_not_looked_for(tmp_path: Path) -> None:
    """Nor recorded."""
    for engine in ("process", "docker"):
        named = choice(tmp_path, engine)
        assert named.find() == (engine, "")
        named.keep()
    assert not (tmp_path / "state").exists()
