"""New files in a working copy: all of them or none, and none over what is there."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError, RefusedError, UnavailableError
from reconciler.views.values import printable

_LEFT_OUT = frozenset({".git", "__pycache__", ".ipynb_checkpoints"})
_MOST_FILES = 2000
_MOST_BYTES = 1 << 30


@dataclass(slots=True)
class Addition:
    """What is added, by path from the manifest folder.

    Args:
        texts: What is written.
        copies: What is copied, and from where.
    """

    texts: dict[str, str] = field(default_factory=dict[str, str])
    copies: dict[str, Path] = field(default_factory=dict[str, Path])

    def refuse_taken(self, root: Path) -> None:
        """Makes sure that nothing stands there.

        Raises:
            RefusedError: Something does.
        """
        taken = sorted(path for path in {*self.texts, *self.copies} if _exists(root / path))
        if taken:
            more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
            raise RefusedError(
                f"there is {', '.join(map(printable, taken[:5]))}{more} already, and nothing is overwritten",
                hint="name the service otherwise with --name, or move away what is there",
            )


def brought_files(source: Path, to: str, left_out: Collection[Path] = ()) -> dict[str, Path]:
    """What is to be copied to bring a file, or a folder with all in it.

    Args:
        to: Where, from the manifest folder.
        left_out: Files that stay behind.

    Raises:
        InvalidError: It is not there, or holds symbolic links.
        RefusedError: It is too much to be meant.
    """
    if source.is_file():
        return {to: source}
    if not source.is_dir():
        raise InvalidError(f"there is no {source}")
    found: dict[str, Path] = {}
    size = 0
    for path in sorted(source.rglob("*")):
        below = path.relative_to(source)
        if _LEFT_OUT & set(below.parts) or path.resolve() in left_out:
            continue
        if path.is_symlink():
            raise InvalidError(f"{path} is a symbolic link", hint="copy the files into the manifest repo by hand")
        if path.is_file():
            found[f"{to}/{below.as_posix()}"] = path
            size += path.stat().st_size
        if len(found) > _MOST_FILES or size > _MOST_BYTES:
            raise RefusedError(
                f"{source} holds more than {_MOST_FILES} files or {_MOST_BYTES:,} bytes",
                hint="copy what the entry script needs into the manifest repo, and import from there",
            )
    return found


def add(root: Path, addition: Addition) -> None:
    """Writes and copies everything; what was done is undone if something fails.

    Raises:
        RefusedError: Something stands there.
        UnavailableError: It cannot be written.
    """
    made: list[Path] = []
    try:
        for path in sorted({*addition.texts, *addition.copies}):
            place = root / path
            _folders(root, place.parent, made)
            with place.open("xb") as stream:
                made.append(place)
                if path in addition.texts:
                    stream.write(addition.texts[path].encode())
                else:
                    with addition.copies[path].open("rb") as source:
                        shutil.copyfileobj(source, stream)
    except BaseException as error:
        for place in reversed(made):
            if place.is_dir():
                place.rmdir()
            else:
                place.unlink()
        if isinstance(error, FileExistsError):
            raise RefusedError(f"there is {error.filename} already, and nothing is overwritten") from error
        if isinstance(error, OSError):
            raise UnavailableError(f"{error.filename or root} cannot be written: {error.strerror}") from error
        raise


def _folders(root: Path, folder: Path, made: list[Path]) -> None:
    """Makes the folders on the way, and notes which."""
    if folder == root or folder.is_dir():
        return
    _folders(root, folder.parent, made)
    folder.mkdir()
    made.append(folder)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
