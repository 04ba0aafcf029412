"""What stands behind addresses now: asked of real servers and disks, and not too often."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.artifacts.models.settings import ModelSettings
from reconciler.artifacts.models.sources import Asking, fetched_from, registered_from
from reconciler.core.deployment import ModelVersion
from reconciler.core.errors import TerminalError
from reconciler.core.sources import SourceState, Watched
from reconciler.engine.desired import DesiredStates
from tests.artifacts.models.conftest import Bench, sha256
from tests.artifacts.models.test_transfer import DATA, Server, at, server, web
from tests.manifests.trees import MemoryTree

__all__ = ["server", "web"]


def test_the_newest_version_that_came_from_an_address(web: Bench, server: Server) -> None:
    """Is what it stands for, until the server says something else; offline nobody is asked."""
    here = Watched("ridge", f"{server.url}/whole")
    assert web.driver.sources([here]) == {here: SourceState()}
    for version in ("1", "2"):
        web.apply(at(server, "whole", version))
    known = SourceState("2", sha256(DATA))
    server.etag = '"two"'
    assert registered_from(web.registry, [here]) == {here: known}
    # What was asked a moment ago is believed for a while.
    assert web.driver.sources([here])[here].moved == ""


def test_a_change_is_noticed_once_the_answer_is_old(make_bench: Callable[..., Bench], server: Server) -> None:
    """Compared with the registered version, or with what the lock has."""
    bench = make_bench(uri_prefixes=(server.url,), check_seconds=0.0)
    bench.apply(at(server, "whole"))
    here, locked = (
        Watched("ridge", f"{server.url}/whole"),
        Watched("ridge", f"{server.url}/whole", (("etag", '"two"'),)),
    )
    assert bench.driver.sources([here, locked])[here].moved == ""
    server.etag = '"two"'
    found = bench.driver.sources([here, locked])
    assert found[here] == SourceState("1", sha256(DATA), moved='etag was "one", is "two"')
    assert found[locked].moved == ""


def test_a_silent_server_leaves_what_is_known(make_bench: Callable[..., Bench], server: Server) -> None:
    """And is told with its reason; so is an address that may not be asked."""
    bench = make_bench(uri_prefixes=(server.url, "http://127.0.0.1:9/"), check_seconds=0.0)
    gone, away = Watched("ridge", "http://127.0.0.1:9/x"), Watched("ridge", "https://elsewhere.example/x")
    disk = Watched("ridge", "file:///etc/hostname")
    found = bench.driver.sources([gone, away, disk])
    assert "does not answer" in found[gone].silent
    assert "not below any address" in found[away].silent
    assert "does not lie in a folder" in found[disk].silent


def test_answers_are_believed_for_the_time_set(tmp_path: Path) -> None:
    """Then the address is asked again; one that is asked about no more is forgotten."""
    now = [0.0]
    settings = ModelSettings(file_folders=(tmp_path,), check_seconds=60.0)
    asking = Asking(settings, lambda: pytest.fail("no HTTP here"), lambda: now[0])
    file = tmp_path / "m.bin"
    file.write_bytes(b"1")
    uri = file.as_uri()
    first = asking.of({uri})[uri]
    file.write_bytes(b"22")
    now[0] = 59.0
    assert asking.of({uri})[uri] == first
    now[0] = 60.0
    assert asking.of({uri})[uri] != first
    assert asking.of(set()) == {}
    file.unlink()
    assert asking.of({uri})[uri] == f"{uri} is not there"


def test_a_followed_model_becomes_the_next_version_when_its_address_moves(
    make_bench: Callable[..., Bench], server: Server
) -> None:
    """From look to look: first what nobody has yet, then what was registered, then the next number."""
    bench = make_bench(uri_prefixes=(server.url,), check_seconds=0.0)
    states = DesiredStates(lambda targets: ({}, ()), (bench.driver,), None)
    uri = f"{server.url}/whole"
    head = "apiVersion: reconciler/v1\nkind: Model\nmetadata: {name: ridge}\n"
    tree = MemoryTree({"models/ridge.yaml": f"{head}spec: {{uri: '{uri}', lock: follow}}\n"})

    def wanted() -> list[tuple[str, object, list[str]]]:
        state = states.of(tree)
        codes = [problem.code for problem in state.warnings]
        return [(desired.id.name, desired.spec.get("digest"), codes) for desired in state.desired]

    assert wanted() == [("ridge:1", None, [])]
    bench.apply(ModelVersion("ridge", "1", uri=uri))
    assert wanted() == [("ridge:1", sha256(DATA), [])]
    server.etag = '"two"'
    assert wanted() == [("ridge:2", None, ["model-source-changed"])]
    bench.apply(ModelVersion("ridge", "2", uri=uri))
    assert wanted() == [("ridge:2", sha256(DATA), [])]


def test_files_on_disk_and_in_stores(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """A changed file is noticed, and one of any file system that fsspec knows."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/moves/m.bin", b"one")
    (tmp_path / "m.bin").write_bytes(b"one")
    bench = make_bench(file_folders=(tmp_path,), uri_prefixes=("memory://moves/",), check_seconds=0.0)
    uris = ((tmp_path / "m.bin").as_uri(), "memory://moves/m.bin")
    watched = [Watched(name, uri) for name, uri in zip(("disk", "store"), uris, strict=True)]
    for each in watched:
        bench.apply(ModelVersion(each.model, "1", uri=each.uri))
    assert [state.moved for state in bench.driver.sources(watched).values()] == ["", ""]
    memory.pipe_file("/moves/m.bin", b"three")
    (tmp_path / "m.bin").write_bytes(b"three")
    assert [state.moved for state in bench.driver.sources(watched).values()] == ["size was 3, is 5"] * 2
    memory.rm("/moves", recursive=True)
    assert bench.driver.sources(watched)[watched[1]].silent == "memory://moves/m.bin is not there"


def test_bytes_are_fetched_to_be_looked_at(server: Server, tmp_path: Path) -> None:
    """Digest, size and stamps come back; the folder that they went through can be thrown away."""
    settings = ModelSettings(uri_prefixes=(server.url,))
    fetched = fetched_from(f"{server.url}/whole", settings, tmp_path)
    assert (fetched.digest, fetched.parts[0].size, fetched.origin["etag"]) == (sha256(DATA), len(DATA), '"one"')
    with pytest.raises(TerminalError):
        fetched_from("https://elsewhere.example/x", settings, tmp_path)
