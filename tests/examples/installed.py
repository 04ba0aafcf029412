"""Wheels made from what is installed here, so that a real environment is built without a package index."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def make_wheels(folder: Path, *names: str) -> None:
    """Wheels of installed distributions and of all they need."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    wanted = list(names)
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        _make(folder, distribution)
        needed = map(Requirement, distribution.requires or ())
        wanted += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]


def _make(folder: Path, distribution: metadata.Distribution) -> None:
    text = distribution.read_text("WHEEL") or ""
    tag = next(line.removeprefix("Tag: ") for line in text.splitlines() if line.startswith("Tag: "))
    name = f"{distribution.name.replace('-', '_')}-{distribution.version}"
    record: list[str] = []
    with zipfile.ZipFile(folder / f"{name}-{tag}.whl", "w") as archive:
        for file in distribution.files or ():
            if file.parts[0] == ".." or file.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                continue
            path = Path(str(file.locate()))
            if "__pycache__" in file.parts or not path.is_file():
                continue
            content = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}\n")
            archive.writestr(str(file), content)
        info = next(str(file.parent) for file in distribution.files or () if file.name == "METADATA")
        archive.writestr(f"{info}/RECORD", "".join(record) + f"{info}/RECORD,,\n")
