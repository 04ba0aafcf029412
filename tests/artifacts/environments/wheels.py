"""Tiny wheels made on the spot, so that building an environment needs no network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: tuple[str, ...] = (),
    code: str = "",
    extras: tuple[str, ...] = (),
) -> Path:
    """A pure-Python wheel (binary distribution format 1.0) of one module."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in extras]
    metadata += [f"Requires-Dist: {line}" for line in requires]
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n{code}",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


RUNTIME = {
    "anyio": "4.16.0",
    "starlette": "1.10.0",
    "uvicorn": "0.54.0",
    "httptools": "0.9.0",
    "uvloop": "0.23.0",
    "werkzeug": "3.1.3",
}


def make_runtime_wheels(folder: Path) -> None:
    """Stand-ins for what the scoring runtime imports, and the package that server packages bring."""
    for name, version in RUNTIME.items():
        make_wheel(folder, name, version)
    make_wheel(
        folder, "inference-schema", "1.8", requires=("tiny; extra == 'numpy-support'",), extras=("numpy-support",)
    )
    make_wheel(folder, "tiny", "1.0")
