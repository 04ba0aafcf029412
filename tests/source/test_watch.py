"""A commit, a branch, an edit wake whoever watches."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.source import LocalSource, SourceSettings

from .conftest import Repo


class Watcher:
    """A watch in a thread of its own."""

    def __init__(self, source: LocalSource) -> None:
        self.heard: queue.Queue[str] = queue.Queue()
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(source,))
        self._thread.start()
        assert self.heard.get(timeout=30) == "watching"

    def _listen(self, source: LocalSource) -> None:
        for words in source.watch(self.stop):
            self.heard.put(words)

    def wait_for(self, part: str) -> str:
        """The next wake-up whose words hold `part`."""
        while part not in (words := self.heard.get(timeout=30)):
            pass
        return words

    def wakes_by(self, part: str, act: Callable[[int], object]) -> None:
        """Acts until a wake-up names `part`: while a watch is set up anew it only says that it stands."""
        for attempt in range(100):
            act(attempt)
            with contextlib.suppress(queue.Empty):
                while part not in self.heard.get(timeout=0.5):
                    pass
                return
        raise AssertionError(f"no wake-up named {part}")

    def close(self) -> None:
        """Ends the watch."""
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def watching() -> Iterator[Callable[..., Watcher]]:
    """Starts watches and ends them."""
    made: list[tuple[Watcher, LocalSource]] = []

    def start(folder: Path, **settings: bool) -> Watcher:
        source = LocalSource(SourceSettings(str(folder), **settings), folder)  # type: ignore[arg-type]
        made.append((Watcher(source), source))
        return made[-1][0]

    yield start
    for watcher, source in made:
        watcher.close()
        source.close()


def test_a_commit_is_noticed(repo: Repo, watching: Callable[..., Watcher]) -> None:
    """Each commit moves a ref, and that wakes."""
    repo.commit({"a.yaml": "1"})
    watcher = watching(repo.folder)
    for text in "23":
        repo.commit({"a.yaml": text})
        watcher.wait_for("refs/heads/main")


def test_a_branch_in_a_new_folder_and_a_checkout_are_noticed(repo: Repo, watching: Callable[..., Watcher]) -> None:
    """Refs in folders that did not exist, switching branches, and packing refs wake too."""
    repo.commit({"a.yaml": "1"})
    watcher = watching(repo.folder)
    repo.git("branch", "feature/deep/one")
    watcher.wait_for("feature")
    watcher.wakes_by("feature/deep/two", lambda n: repo.git("branch", f"feature/deep/two{n}"))
    watcher.wakes_by("HEAD", lambda n: repo.git("checkout", "-q", ["feature/deep/one", "main"][n % 2]))
    watcher.wakes_by("packed-refs", lambda n: (repo.git("branch", f"b{n}"), repo.git("pack-refs", "--all")))


def test_an_edit_is_noticed_when_uncommitted_files_count(repo: Repo, watching: Callable[..., Watcher]) -> None:
    """Edited and new files wake in that mode, also in new folders."""
    repo.commit({"services/a.yaml": "1"})
    watcher = watching(repo.folder, dirty=True)
    repo.write({"services/a.yaml": "2"})
    watcher.wait_for("services/a.yaml")
    repo.write({"models/b.yaml": "2"})
    watcher.wakes_by("models/c.yaml", lambda n: repo.write({"models/c.yaml": str(n)}))


def test_a_commit_in_a_worktree_is_noticed(repo: Repo, tmp_path: Path, watching: Callable[..., Watcher]) -> None:
    """A linked worktree has its HEAD elsewhere and its refs in the common folder."""
    repo.commit({"a.yaml": "1"})
    repo.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    watcher = watching(tmp_path / "tree")
    (tmp_path / "tree/a.yaml").write_text("2")
    repo.git("-C", str(tmp_path / "tree"), "commit", "-q", "-a", "-m", "x")
    watcher.wait_for("refs/heads/other")
