"""Variables and files of the machine: only what the operator allows, and no word about anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.core.errors import InvalidError, ReconcilerError, RefusedError
from reconciler.core.secrets import SecretRef
from reconciler.secrets.scope import Scope
from reconciler.secrets.sources import Sources


def sources(scope: Scope) -> Sources:
    """Sources of one machine, without vaults and encrypted files."""

    def none() -> None:
        raise AssertionError("nobody asked for it")

    return Sources(scope, none, none)  # type: ignore[arg-type]


def test_variables_by_prefix() -> None:
    """A prefix allows names that begin so; an empty scope allows none, whatever is set."""
    environment = {"APP_TOKEN": "one", "OTHER": "two", "APP_EMPTY": ""}
    allowed = sources(Scope(("APP_",), environment=environment))
    assert allowed.read(SecretRef("env", "APP_TOKEN")).text == "one"
    assert allowed.read(SecretRef("env", "APP_EMPTY")).text == ""
    with pytest.raises(RefusedError, match=r"secrets\.envPrefixes"):
        allowed.read(SecretRef("env", "OTHER"))
    with pytest.raises(InvalidError, match="APP_NONE is not set"):
        allowed.read(SecretRef("env", "APP_NONE"))
    with pytest.raises(RefusedError):
        sources(Scope(environment=environment)).read(SecretRef("env", "APP_TOKEN"))


def test_files_below_folders(tmp_path: Path) -> None:
    """Links and dots are followed to where they lead, and that must lie below an allowed folder."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "key").write_text("text\r\n")
    (outside / "key").write_text("no")
    (allowed / "out").symlink_to(outside / "key")
    (outside / "in").symlink_to(allowed / "key")
    read = sources(Scope(folders=(allowed,))).read
    assert read(SecretRef("file", str(allowed / "key"))).text == "text"
    assert read(SecretRef("file", str(outside / "in"))).text == "text"
    refused = [outside / "key", allowed / "out", allowed / ".." / "outside" / "key", outside / "not-there", Path("/")]
    told: set[str] = set()
    for path in refused:
        with pytest.raises(RefusedError) as caught:
            read(SecretRef("file", str(path)))
        told.add(str(caught.value).replace(str(path), "PATH"))
    assert len(told) == 1


def test_a_file_that_is_no_secret(tmp_path: Path) -> None:
    """Missing, a folder, a pipe that nobody writes to, too large, not text: each says so, none waits or raises else."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    (tmp_path / "binary").write_bytes(b"c4n4ry\xff")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    read = sources(Scope(folders=(tmp_path,))).read
    for name in ("missing", "folder", "pipe", "large", "binary", "loop", "nul\0"):
        with pytest.raises(ReconcilerError) as caught:
            read(SecretRef("file", str(tmp_path / name)))
        assert "c4n4ry" not in str(caught.value)


def test_a_place_that_is_not_known() -> None:
    """A record of another release may name one."""
    with pytest.raises(InvalidError, match="'moon' are not known"):
        sources(Scope()).read(SecretRef("moon", "crater"))
