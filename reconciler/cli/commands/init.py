"""`reconciler init`: a manifest repo that works at once."""

from __future__ import annotations

import os
import subprocess
from argparse import Namespace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output
from reconciler.core.errors import InvalidError, RefusedError, UnavailableError

_TEMPLATE = ".template"
_SCHEMAS = "schema"
_FOLDERS = ("models", "inference", "targets", "services")


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Make a Git repo of manifests, with a small scikit-learn model that is served on this machine, committed.",
        (
            ("reconciler init demo && cd demo && reconciler apply", "a running service in a minute"),
            ("reconciler init demo --example none", "folders only"),
        ),
    )
    parser.add_argument("folder", metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--example", choices=("quickstart", "none"), default="quickstart", help="what to put in (default: quickstart)"
    )
    add_output(parser, ("text",))


def run(arguments: Namespace, console: Console) -> int:
    """Writes the files, and commits them."""
    folder = Path(arguments.folder)
    written: list[str] = []
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RefusedError(f"{folder} is not an empty folder", hint="name a new one; nothing was written")
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.example == "none":
            written += _folders(folder)
        else:
            _copy(files("reconciler.cli").joinpath("templates", arguments.example), folder, folder, written)
        written += _schemas(folder)
    except OSError as error:
        raise InvalidError(f"{folder} cannot be written: {error.strerror}") from error
    _commit(folder)
    for name in sorted(written):
        console.line(f"  {folder / name}")
    console.line(f"{folder} is a Git repo with its first commit. Next:")
    console.line(f"  cd {folder} && reconciler plan && reconciler apply")
    return exits.DONE


def _copy(source: Traversable, target: Path, root: Path, written: list[str]) -> None:
    for entry in sorted(source.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            (target / entry.name).mkdir()
            _copy(entry, target / entry.name, root, written)
            continue
        path = target / entry.name.removesuffix(_TEMPLATE)
        data = entry.read_bytes()
        if path.suffix == ".yaml":
            # The example names the schemas of its own surroundings.
            depth = len(path.relative_to(root).parts) - 1
            data = _schema_line(data, f"{'../' * depth}{_SCHEMAS}/")
        path.write_bytes(data)
        written.append(str(path.relative_to(root)))


def _schema_line(data: bytes, prefix: str) -> bytes:
    first, newline, rest = data.partition(b"\n")
    if not first.startswith(b"# yaml-language-server:"):
        return data
    name = first.rsplit(b"/", 1)[-1].decode()
    return f"# yaml-language-server: $schema={prefix}{name}".encode() + newline + rest


def _folders(folder: Path) -> list[str]:
    for name in _FOLDERS:
        (folder / name).mkdir()
        (folder / name / ".gitkeep").touch()
    return [f"{name}/.gitkeep" for name in _FOLDERS]


def _schemas(folder: Path) -> list[str]:
    from reconciler.manifests.schema import write_schemas

    return [str(path.relative_to(folder)) for path in write_schemas(folder / _SCHEMAS)]


def _commit(folder: Path) -> None:
    _git(folder, "init", "--quiet", "--initial-branch=main", ".")
    identity: list[str] = []
    if not _configured(folder, "user.email") and "GIT_AUTHOR_EMAIL" not in os.environ:
        identity = ["-c", "user.name=reconciler", "-c", "user.email=reconciler@localhost"]
    _git(folder, "add", "--all", ".")
    _git(folder, *identity, "-c", "commit.gpgSign=false", "commit", "--quiet", "-m", "Start")


def _configured(folder: Path, key: str) -> bool:
    asked = subprocess.run(["git", "config", key], cwd=folder, capture_output=True, check=False)
    return asked.returncode == 0


def _git(folder: Path, *words: str) -> None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UnavailableError("git was not found", hint="install git 2.31 or newer and put it on PATH") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UnavailableError(f"git {words[0]} failed in {folder}: {lines[-1] if lines else 'without a word'}")
