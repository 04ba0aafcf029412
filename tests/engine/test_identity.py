"""The identity file: made once, never overwritten, its keys stable."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.errors import InvalidError
from reconciler.engine.identity import load_identity


def test_it_is_made_once_and_private(tmp_path: Path):
    """The second load gives the same installation; nobody else may read the file."""
    path = tmp_path / "identity.json"

    first, second = load_identity(path), load_identity(path)

    assert first == second
    assert path.stat().st_mode & 0o777 == 0o600


def test_generated_keys_depend_on_service_slot_and_rotation_only(tmp_path: Path):
    """A lost store changes no key."""
    identity = load_identity(tmp_path / "identity.json")

    keys = [identity.service_key("a", "primary", 0), identity.service_key("a", "primary", 1)]

    assert keys[0] == load_identity(tmp_path / "identity.json").service_key("a", "primary", 0)
    assert keys[0] != keys[1]
    assert keys[0].reveal() not in repr(keys[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"installation": "x", "masterKey": "00"}', '{"masterKey": 3}'])
def test_a_damaged_file_is_an_error_and_stays_as_it_is(tmp_path: Path, text: str):
    """Overwriting it would make everything that runs foreign."""
    path = tmp_path / "identity.json"
    path.write_text(text)

    with pytest.raises(InvalidError, match="identity file"):
        load_identity(path)

    assert path.read_text() == text


def test_a_folder_that_cannot_be_written_is_said() -> None:
    """Without a place for the identity nothing is done, and the message names it."""
    with pytest.raises(InvalidError, match="cannot be written"):
        load_identity(Path("/proc/self/identity.json"))
