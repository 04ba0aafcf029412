"""Registering, observing, changing and removing model versions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.change import Action
from reconciler.core.deployment import ModelVersion
from reconciler.core.driver import Catalogue, Done, Driver
from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    ForeignError,
    InvalidError,
    TerminalError,
    UnavailableError,
)
from reconciler.core.resources import Completeness, Health

from .conftest import Bench, change_for, sha256


def test_registering_a_file_of_the_repo(bench: Bench) -> None:
    """A file is stored under its digest, read-only, and observed exactly as it was wanted."""
    bench.commit({"models/ridge.pkl": b"bytes"})
    model = bench.in_repo("models/ridge.pkl", framework="ScikitLearn", tags={"team": "health"})
    (desired,) = bench.driver.render_models([model])
    answered = bench.apply(model)
    assert answered.spec == desired.spec
    assert answered.mark is not None
    assert answered.mark.spec_digest == desired.spec_digest
    assert answered.owned_by("home")
    assert bench.observed() == {"ridge:1": answered}
    (stored,) = bench.objects()
    assert (stored.name, stored.read_bytes()) == (sha256(b"bytes")[7:], b"bytes")
    assert stored.stat().st_mode & 0o777 == 0o444
    assert list((bench.folder / "models/incoming").iterdir()) == []


def test_the_driver_is_a_driver_and_a_catalogue(bench: Bench) -> None:
    """It has the shape of the contract, keeps unused versions, and lists what is registered."""
    driver: Driver = bench.driver
    assert isinstance(driver, Catalogue)
    assert driver.capabilities.retained == {"model"}
    bench.commit({"a.pkl": b"a", "b.pkl": b"b"})
    bench.apply(bench.in_repo("a.pkl"))
    bench.apply(bench.in_repo("b.pkl", "12"))
    assert driver.catalogue() == {"ridge": {"1": sha256(b"a"), "12": sha256(b"b")}}


def test_an_empty_registry_is_complete_and_empty(bench: Bench) -> None:
    """Nothing registered reads as nothing, without writing anything."""
    observation = bench.driver.observe([])
    assert (observation.completeness, observation.resources) == (Completeness.COMPLETE, {})
    assert not (bench.folder / "models").exists()


def test_registering_a_folder(bench: Bench) -> None:
    """A folder keeps its structure and executable bits; its digest is that of its sorted paths and digests."""
    bench.commit({"m/weights.bin": b"w", "m/sub/run.sh": b"#!"})
    (bench.folder / "repo/m/sub/run.sh").chmod(0o755)
    bench.commit({"x": b""})
    model = bench.in_repo("m")
    bench.apply(model)
    place = bench.registry.materialise([model], bench.folder / "svc")
    assert place == bench.folder / "svc/azureml-models/ridge/1"
    assert (place / "m/weights.bin").read_bytes() == b"w"
    assert os.access(place / "m/sub/run.sh", os.X_OK)
    assert not (place / "m/weights.bin").stat().st_mode & 0o222


def test_same_name_and_version_with_other_bytes_is_refused_with_both_digests(bench: Bench) -> None:
    """Versions do not change; what was registered stays."""
    bench.commit({"a.pkl": b"a", "b.pkl": b"b"})
    bench.apply(bench.in_repo("a.pkl"))
    with pytest.raises(TerminalError) as caught:
        bench.apply(bench.in_repo("b.pkl"), Action.UPDATE)
    assert sha256(b"a") in caught.value.message
    assert sha256(b"b") in caught.value.message
    assert bench.observed()["ridge:1"].spec["digest"] == sha256(b"a")


def test_what_is_written_about_a_version_may_change(bench: Bench) -> None:
    """Description, tags and framework change in place, properties are added; the bytes are not touched."""
    bench.commit({"a.pkl": b"a"})
    first = bench.apply(bench.in_repo("a.pkl", properties={"run": "7"}))
    (stored,) = bench.objects()
    before = stored.stat()
    model = bench.in_repo("a.pkl", properties={"run": "7", "more": "1"}, tags={"a": "b"}, description="d")
    second = bench.apply(model, Action.UPDATE, observed=first)
    assert (second.spec["tags"], second.spec["description"]) == ({"a": "b"}, "d")
    assert stored.stat() == before
    with pytest.raises(TerminalError, match="'run' is '7' and cannot become '8'"):
        bench.apply(replace(model, properties={"run": "8", "more": "1"}), Action.UPDATE)


def test_applying_again_changes_nothing(bench: Bench) -> None:
    """Creating twice leaves one version with the same bytes."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    assert bench.apply(model) == bench.apply(model)
    assert len(bench.objects()) == 1


def test_equal_content_is_stored_once(bench: Bench) -> None:
    """Two versions of the same bytes share one file; removing one leaves it, removing both does not."""
    bench.commit({"a.pkl": b"a", "b.pkl": b"a"})
    one, two = bench.in_repo("a.pkl"), bench.in_repo("b.pkl", name="lasso")
    bench.apply(one)
    bench.apply(two)
    assert len(bench.objects()) == 1
    bench.delete(one)
    assert (list(bench.observed()), len(bench.objects())) == (["lasso:1"], 1)
    bench.delete(two)
    assert (bench.observed(), bench.objects()) == ({}, [])


def test_deleting_what_is_gone_succeeds(bench: Bench) -> None:
    """Deleting twice is deleting."""
    assert bench.delete(ModelVersion("ridge", "1")) == Done()


def test_a_referenced_version_is_not_deleted(bench: Bench) -> None:
    """As long as a service uses it, it stays."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model)
    bench.used.add(model.id)
    with pytest.raises(TerminalError, match="still used"):
        bench.delete(model)
    assert list(bench.observed()) == ["ridge:1"]


def test_a_stale_version_conflicts(bench: Bench) -> None:
    """A change decided on an older state of the record writes nothing."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    old = bench.apply(model)
    bench.apply(replace(model, description="new"), Action.UPDATE, observed=old)
    with pytest.raises(ConflictError):
        bench.apply(replace(model, description="other"), Action.UPDATE, observed=old)
    assert bench.observed()["ridge:1"].spec["description"] == "new"


def test_another_installations_version_is_foreign(bench: Bench) -> None:
    """It is neither written over nor deleted, unless adopted."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model, installation="other")
    with pytest.raises(ForeignError, match="other"):
        bench.apply(model)
    with pytest.raises(ForeignError):
        bench.delete(model)
    assert bench.apply(model, Action.ADOPT).owned_by("home")


def test_a_copy_is_not_ours(bench: Bench) -> None:
    """A record copied to another name is listed, keeps its mark, and is not owned."""
    bench.commit({"a.pkl": b"a"})
    bench.apply(bench.in_repo("a.pkl"))
    shutil.copytree(bench.folder / "models/versions/ridge", bench.folder / "models/versions/copy")
    seen = bench.observed()
    assert seen["ridge:1"].owned_by("home")
    assert not seen["copy:1"].owned_by("home")
    with pytest.raises(ForeignError):
        bench.delete(ModelVersion("copy", "1"))


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"format": 99}', b"\xff\xfe", b'{"format": 1, "spec": 3}']
)
def test_a_damaged_index_file_is_reported(bench: Bench, damage: bytes) -> None:
    """It is Degraded and not ours, the others are read, and it can be adopted to be written anew."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model)
    bench.apply(replace(model, name="lasso"))
    (bench.folder / "models/versions/ridge/1.json").write_bytes(damage)
    seen = bench.observed()
    assert (seen["ridge:1"].health, seen["ridge:1"].mark) == (Health.DEGRADED, None)
    assert "1.json" in seen["ridge:1"].reason
    assert seen["lasso:1"].health is Health.HEALTHY
    with pytest.raises(ForeignError, match="index file"):
        bench.apply(model)
    assert bench.apply(model, Action.ADOPT).health is Health.HEALTHY


def test_stray_files_do_not_disturb(bench: Bench) -> None:
    """What is no version is named in the observation and left alone."""
    bench.commit({"a.pkl": b"a"})
    bench.apply(bench.in_repo("a.pkl"))
    (bench.folder / "models/versions/note.txt").write_text("x")
    (bench.folder / "models/versions/ridge/zero.json").write_text("x")
    observation = bench.driver.observe([])
    assert [r.name for r in observation.resources] == ["ridge:1"]
    assert observation.complete
    assert "note.txt" in observation.missing


@pytest.mark.parametrize("how", ["gone", "longer", "touched"])
def test_damaged_content_is_seen_and_healed(bench: Bench, how: str) -> None:
    """Content that is gone or was touched makes the version Degraded without its digest; applying fetches it again."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model)
    (stored,) = bench.objects()
    damage = {
        "gone": stored.unlink,
        "longer": lambda: (stored.chmod(0o600), stored.write_bytes(b"longer")),
        "touched": lambda: (stored.chmod(0o600), stored.write_bytes(b"b"), os.utime(stored, (9, 9))),
    }
    damage[how]()
    seen = bench.observed()["ridge:1"]
    assert seen.health is Health.DEGRADED
    assert seen.reason.startswith("content")
    assert "digest" not in seen.spec
    with pytest.raises(UnavailableError):
        bench.registry.materialise([model], bench.folder / "svc")
    assert bench.apply(model, Action.UPDATE, observed=seen).health is Health.HEALTHY
    assert bench.objects()[0].read_bytes() == b"a"


def test_versions_that_share_damaged_content_are_healed_together(bench: Bench) -> None:
    """Fetching the bytes again for one version makes the others of the same bytes whole too."""
    bench.commit({"a.pkl": b"a", "b.pkl": b"a"})
    one, two = bench.in_repo("a.pkl"), bench.in_repo("b.pkl", name="lasso")
    bench.apply(one)
    bench.apply(two)
    bench.objects()[0].unlink()
    assert {seen.health for seen in bench.observed().values()} == {Health.DEGRADED}
    bench.apply(one, Action.UPDATE)
    assert {seen.health for seen in bench.observed().values()} == {Health.HEALTHY}


def test_bytes_that_are_not_those_expected_are_refused(bench: Bench) -> None:
    """The digest is verified while the bytes stream; nothing is registered when it differs."""
    bench.commit({"a.pkl": b"a"})
    with pytest.raises(TerminalError) as caught:
        bench.apply(bench.in_repo("a.pkl", digest=sha256(b"z")))
    assert sha256(b"z") in caught.value.message
    assert sha256(b"a") in caught.value.message
    assert bench.observed() == {}


def test_a_file_uri_is_read_from_allowed_folders_only(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """Outside of the operator's folders, also by a link or dots, nothing is read."""
    (tmp_path / "ok").mkdir()
    (tmp_path / "ok/m.pkl").write_bytes(b"m")
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "ok/link").symlink_to(tmp_path / "secret")
    bench = make_bench(file_folders=(tmp_path / "ok",))
    answered = bench.apply(ModelVersion("ridge", "1", uri=f"file://{tmp_path}/ok/m.pkl"))
    assert answered.spec["digest"] == sha256(b"m")
    assert answered.outputs == {"digest": sha256(b"m"), "size": 1}
    for path in (f"{tmp_path}/secret", f"{tmp_path}/ok/link", f"{tmp_path}/ok/../secret"):
        with pytest.raises(AccessError):
            bench.apply(ModelVersion("ridge", "2", uri=f"file://{path}"))
    with pytest.raises(TerminalError, match="not there"):
        bench.apply(ModelVersion("ridge", "2", uri=f"file://{tmp_path}/ok/none"))
    with pytest.raises(TerminalError, match="host"):
        bench.apply(ModelVersion("ridge", "2", uri=f"file://evil{tmp_path}/ok/m.pkl"))


def test_a_folder_behind_a_file_uri(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """A folder is registered as one; a link in it that leaves it is refused."""
    (tmp_path / "ok/m/sub").mkdir(parents=True)
    (tmp_path / "ok/m/a").write_bytes(b"a")
    (tmp_path / "ok/m/sub/b").write_bytes(b"b")
    bench = make_bench(file_folders=(tmp_path / "ok",))
    model = ModelVersion("ridge", "1", uri=f"file://{tmp_path}/ok/m")
    bench.apply(model)
    assert (bench.registry.materialise([model], tmp_path / "s") / "m/sub/b").read_bytes() == b"b"
    (tmp_path / "ok/m/evil").symlink_to("/etc/hostname")
    with pytest.raises(AccessError):
        bench.apply(replace(model, version="2"))


def test_a_changed_file_behind_a_uri_is_noticed(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """Observing says that the source changed or went; the registered version stays healthy and the same."""
    (tmp_path / "m.pkl").write_bytes(b"m")
    bench = make_bench(file_folders=(tmp_path,))
    assert bench.apply(ModelVersion("ridge", "1", uri=f"file://{tmp_path}/m.pkl")).events == ()
    (tmp_path / "m.pkl").write_bytes(b"other")
    seen = bench.observed()["ridge:1"]
    assert seen.health is Health.HEALTHY
    assert "changed since" in seen.events[0]
    (tmp_path / "m.pkl").unlink()
    assert "not there any more" in bench.observed()["ridge:1"].events[0]


def test_another_uri_without_a_digest_is_fetched_and_compared(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """Moving a source needs the same bytes; others are refused with both digests."""
    (tmp_path / "a").write_bytes(b"m")
    (tmp_path / "b").write_bytes(b"m")
    (tmp_path / "c").write_bytes(b"z")
    bench = make_bench(file_folders=(tmp_path,))
    bench.apply(ModelVersion("ridge", "1", uri=f"file://{tmp_path}/a"))
    moved = bench.apply(ModelVersion("ridge", "1", uri=f"file://{tmp_path}/b"), Action.UPDATE)
    assert moved.spec["source"] == {"uri": f"file://{tmp_path}/b"}
    with pytest.raises(TerminalError, match="do not change"):
        bench.apply(ModelVersion("ridge", "1", uri=f"file://{tmp_path}/c"), Action.UPDATE)
    assert bench.observed()["ridge:1"].spec["digest"] == sha256(b"m")


@pytest.mark.parametrize("uri", ["s3://bucket/m", "http://example.com/m", "memory://m"])
def test_other_schemes_must_be_allowed(bench: Bench, uri: str) -> None:
    """What the operator's settings do not name is refused, with what they name."""
    with pytest.raises(TerminalError, match="may fetch") as caught:
        bench.apply(ModelVersion("ridge", "1", uri=uri))
    assert "https://" in caught.value.hint


def test_fsspec_addresses(make_bench: Callable[..., Bench]) -> None:
    """Files and folders come through fsspec where it is installed; an unknown scheme says what to install."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/models/m.bin": b"m", "/models/dir/a": b"a", "/models/dir/sub/b": b"b"})
    bench = make_bench(uri_prefixes=("memory://", "nosuch://", "s3://"))
    assert bench.apply(ModelVersion("ridge", "1", uri="memory://models/m.bin")).spec["digest"] == sha256(b"m")
    folder = ModelVersion("ridge", "2", uri="memory://models/dir")
    bench.apply(folder)
    assert (bench.registry.materialise([folder], bench.folder / "s") / "dir/sub/b").read_bytes() == b"b"
    with pytest.raises(TerminalError, match="not there"):
        bench.apply(ModelVersion("ridge", "3", uri="memory://models/none"))
    with pytest.raises(TerminalError):
        bench.apply(ModelVersion("ridge", "3", uri="nosuch://x"))


def test_limits_are_kept(make_bench: Callable[..., Bench]) -> None:
    """A model above the allowed size is refused and leaves nothing."""
    bench = make_bench(max_bytes=10)
    bench.commit({"big": b"x" * 11, "many/a": b"x" * 6, "many/b": b"x" * 6})
    for path in ("big", "many"):
        with pytest.raises(TerminalError, match="10"):
            bench.apply(bench.in_repo(path))
    assert bench.observed() == {}
    assert list((bench.folder / "models/incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "version"), [("../x", "1"), ("a/b", "1"), ("x", "0"), ("x", "1.2"), ("", "1"), (".x", "1")]
)
def test_names_that_cannot_be_paths_are_refused(bench: Bench, name: str, version: str) -> None:
    """No name or version leads out of the store."""
    with pytest.raises(InvalidError):
        bench.driver.render_models([ModelVersion(name, version)])


def test_several_models_make_v1s_folder(bench: Bench) -> None:
    """With several models the folder above them is handed out; it is replaced as a whole and made of hard links."""
    bench.commit({"a.pkl": b"a", "b.pkl": b"b"})
    one, two = bench.in_repo("a.pkl"), bench.in_repo("b.pkl", "3", name="lasso")
    bench.apply(one)
    bench.apply(two)
    root = bench.folder / "svc"
    place = bench.registry.materialise([one, two], root)
    assert place == root / "azureml-models"
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert files == ["lasso/3/b.pkl", "ridge/1/a.pkl"]
    assert (place / "ridge/1/a.pkl").stat().st_ino in {path.stat().st_ino for path in bench.objects()}
    before = place.stat().st_ino
    assert bench.registry.materialise([one, two], root).stat().st_ino == before
    bench.registry.materialise([two], root)
    assert not (place / "ridge").exists()
    assert sorted(path.name for path in root.iterdir()) == ["azureml-models"]


def test_an_unregistered_model_cannot_be_used(bench: Bench) -> None:
    """Laying out what is not registered yet says to wait."""
    with pytest.raises(BusyError, match="not registered yet"):
        bench.registry.materialise([ModelVersion("ridge", "1", path="a.pkl")], bench.folder / "svc")


def test_a_served_model_survives_its_removal(bench: Bench) -> None:
    """Files laid out for a service stay when the version is removed."""
    bench.commit({"a.pkl": b"a"})
    model = bench.in_repo("a.pkl")
    bench.apply(model)
    place = bench.registry.materialise([model], bench.folder / "svc")
    bench.delete(model)
    assert (place / "a.pkl").read_bytes() == b"a"


def test_a_record_holds_no_more_than_it_should(bench: Bench) -> None:
    """The index file is plain JSON with the mark and its reference to itself."""
    bench.commit({"a.pkl": b"a"})
    bench.apply(bench.in_repo("a.pkl"))
    data = json.loads((bench.folder / "models/versions/ridge/1.json").read_text())
    assert data["mark"]["self"] == "registry/models/model/ridge:1"
    assert data["digest"] == sha256(b"a")


def test_without_a_repo_its_models_wait(bench: Bench, tmp_path: Path) -> None:
    """A driver that has no repo at hand says so instead of failing for good."""
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.artifacts.models.registry import ModelRegistry
    from reconciler.artifacts.models.settings import ModelSettings

    driver = ModelsDriver(ModelRegistry(tmp_path / "m2"), ModelSettings(), lambda: None, set)
    (desired,) = driver.render_models([ModelVersion("ridge", "1", sha256(b"a"), 1, "a.pkl", "0" * 40)])
    with pytest.raises(UnavailableError, match="no repo"):
        driver.apply(change_for(desired))
    driver.close()
