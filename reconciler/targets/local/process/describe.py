"""A service's folder in the words of manifests: what its supervisor last recorded, and the code as it was laid out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reconciler.core.described import Code, Described, SourceFile, Unsaid
from reconciler.core.errors import UnavailableError
from reconciler.core.resources import Observed
from reconciler.core.secrets import Secret
from reconciler.core.values import Spec, from_json, transform
from reconciler.targets.local.inverse import deployment_of, models_of, section
from reconciler.targets.local.process.layout import VERSIONS
from reconciler.targets.local.process.look import View
from reconciler.targets.local.process.render import version_of

_MOST_FILES = 10_000
_MOST_BYTES = 64 * 1024 * 1024


def names(root: Path) -> list[str]:
    """Folders that may be services.

    Raises:
        UnavailableError: The folder above them cannot be read.
    """
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnavailableError(f"{root} cannot be read: {error.strerror}") from error


def described(view: View, observed: Observed, installation: str) -> Described | None:
    """The service that a folder holds; None if nothing was ever served from it.

    Args:
        installation: Whose key fingerprints are made with; those of another one tell nothing here.
    """
    if not view.record.get("spec"):
        return None
    spec: Spec = from_json(view.record["spec"])
    if not observed.owned_by(installation):
        spec = transform(spec, lambda leaf: Secret("") if isinstance(leaf, Secret) else leaf)
    entry, environment, tls = section(spec, "entry"), section(spec, "environment"), section(spec, "tls")
    code, unsaid = _code(view, spec)
    return Described(
        observed,
        deployment_of(spec, {"tlsCertFile": tls.get("certFile"), "tlsKeyFile": tls.get("keyFile")}),
        models_of(spec),
        auth=bool(section(spec, "auth").get("enabled")),
        code=Code(
            str(entry["script"]),
            str(entry["source"]),
            bool(entry.get("singleFile")),
            (str(environment["name"]), str(environment["identity"])),
            code,
        ),
        unsaid=unsaid,
    )


def _code(view: View, spec: Spec) -> tuple[tuple[SourceFile, ...], tuple[Unsaid, ...]]:
    """The source as it was laid out for the version that serves, and what cannot be had of it."""
    folder = _laid_out(view, spec)
    if folder is None:
        source = str(section(spec, "entry")["source"])
        gone = Unsaid(f"the source {source[:12]}", "it is not on this machine any more")
        return (), (gone,)
    files: list[SourceFile] = []
    size = 0
    for path in _files(folder):
        size += path.stat().st_size
        if len(files) >= _MOST_FILES or size > _MOST_BYTES:
            large = Unsaid(f"the source in {folder}", "it is too large to be taken over: copy it into the repo by hand")
            return (), (large,)
        executable = bool(path.stat().st_mode & 0o100)
        files.append(SourceFile(path.relative_to(folder).as_posix(), path.read_bytes(), executable))
    return tuple(files), ()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not _made_by_python(path, folder))


def _made_by_python(path: Path, folder: Path) -> bool:
    return "__pycache__" in path.relative_to(folder).parts


def _laid_out(view: View, spec: Spec) -> Path | None:
    found = sorted((view.folder / VERSIONS).glob(f"{version_of(spec)[:12]}-*/code"))
    return next((folder for folder in found if folder.is_dir()), None)
