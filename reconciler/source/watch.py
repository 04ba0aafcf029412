"""Watching a repository on this machine: wakes whoever reads it when a ref moves or, if asked, when a file changes.

Wake-ups are hints: they say that looking is worth it, never what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from watchfiles import Change, watch

from reconciler.core.errors import UnavailableError

# A wake-up comes one to two steps after the last of a burst of changes, and no later than this after its first.
_STEP_MS = 15
_BURST_MS = 400
# How soon after it was set up a watch says so.
_READY_MS = 150

_VANISHED = 20

_REF_FILES = ("HEAD", "packed-refs", "ORIG_HEAD")


class Watch:
    """One repository under watch.

    Args:
        git_folder: Holds HEAD; of a worktree its own.
        common_folder: Holds the refs.
        work_folder: Watch the files in it too; None for refs alone.
    """

    def __init__(self, git_folder: Path, common_folder: Path, work_folder: Path | None = None) -> None:
        self._git = git_folder.resolve()
        self._common = common_folder.resolve()
        self._work = work_folder.resolve() if work_folder is not None else None

    def events(self, stop: Event) -> Iterator[str]:
        """Yields a few words when the watch stands (what happened before was not seen) and at each change after it.

        Raises:
            UnavailableError: The system watches no more files; poll instead.
        """
        vanished = 0
        while not stop.is_set():
            first = True
            try:
                folders = self._folders()
                if not folders:
                    raise UnavailableError(f"{self._git} is gone", hint="poll until it is back")
                for changes in watch(
                    *folders,
                    watch_filter=self._matters,
                    step=_STEP_MS,
                    debounce=_BURST_MS,
                    rust_timeout=_READY_MS,
                    yield_on_timeout=True,
                    stop_event=stop,
                    recursive=False,
                ):
                    if first:
                        first, vanished = False, 0
                        yield "watching"
                    if changes:
                        yield self._words(changes)
                        # New folders are not watched yet, and ones that went cannot be watched again later.
                        if set(self._folders()) != set(folders):
                            break
            except FileNotFoundError as error:
                # A folder of refs went between listing it and watching it (git pack-refs): list again.
                vanished += 1
                if vanished > _VANISHED or not self._git.is_dir():
                    raise UnavailableError(f"{self._git} cannot be watched: {error}", hint="poll instead") from error
            except (OSError, RuntimeError) as error:
                raise UnavailableError(
                    f"{self._git} cannot be watched: {error}",
                    hint="raise fs.inotify.max_user_watches, or poll",
                ) from error

    def _folders(self) -> list[Path]:
        """Every folder to watch by itself: Git's object folders would cost hundreds of watches for nothing."""
        found = [folder for folder in {self._git, self._common} if folder.is_dir()]
        for refs in (self._common / "refs", self._common / "reftable"):
            if refs.is_dir():
                found += [refs, *(below for below in refs.rglob("*") if below.is_dir())]
        if self._work is not None and self._work.is_dir():
            found += _work_folders(self._work)
        return sorted(found)

    def _matters(self, _: Change, path: str) -> bool:
        where = Path(path)
        if where.suffix == ".lock":
            return False
        if where.parent in (self._git, self._common):
            return where.name in _REF_FILES or where.name in ("refs", "reftable")
        if where.is_relative_to(self._common / "refs") or where.is_relative_to(self._common / "reftable"):
            return True
        return self._work is not None and where.is_relative_to(self._work) and ".git" not in where.parts

    def _words(self, changes: set[tuple[Change, str]]) -> str:
        path = min(path for _, path in changes)
        for root in (self._common, self._git, self._work):
            if root is not None and Path(path).is_relative_to(root):
                path = str(Path(path).relative_to(root))
                break
        return f"{path} changed" if len(changes) == 1 else f"{path} and {len(changes) - 1} more changed"


def _work_folders(root: Path) -> list[Path]:
    found = [root]
    for below in root.iterdir():
        # Nested repositories and folders whose name starts with a dot hold no manifests.
        if (
            below.is_dir()
            and not below.is_symlink()
            and not below.name.startswith(".")
            and not (below / ".git").exists()
        ):
            found += _work_folders(below)
    return found
