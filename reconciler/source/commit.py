"""A commit that changes a few files, made of Git's objects: on the branch that is checked out, or on a new one.

On a new branch nothing but that branch comes to be: no file, no index and no HEAD is touched. On the present branch,
that is locked first; then the files and the index are written, and the branch moves last. So whatever stops in
between leaves a change that is not committed, and never a commit that a file contradicts.
"""

from __future__ import annotations

import posixpath
import re
import stat
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.core.errors import AccessError, InvalidError, RefusedError, StaleError, UnavailableError
from reconciler.source.command import Result, end, last_line
from reconciler.source.objects import FILE, TreeItem, format_tree, parse_commit
from reconciler.source.person import Person
from reconciler.source.replacing import replace_file
from reconciler.source.working import without_filters

if TYPE_CHECKING:
    from reconciler.source.local import LocalSource

_PATIENCE = 120.0
_NONE = "0"


class Committing:
    """Commits to one local repository.

    Args:
        source: The repository.
        person: In whose name.
    """

    def __init__(self, source: LocalSource, person: Person) -> None:
        self._source = source
        self._person = person
        self._git = without_filters(source.git, source.settings.timeout)
        self._database = source.database
        self._work = source.repository.work_folder
        self._zero = _NONE * (64 if source.repository.algorithm == "sha256" else 40)

    def refuse_uncommitted(self, paths: Mapping[str, object]) -> None:
        """Makes sure that files are in the working copy and the index as they are in HEAD.

        Args:
            paths: From the repository's root.

        Raises:
            RefusedError: They are not.
        """
        changed = set(self._source.uncommitted()) & paths.keys()
        if self._work is not None:
            staged = self._run("diff-index", "--cached", "--name-only", "-z", "HEAD", "--", *paths)
            changed |= {path for path in staged.decode("utf-8", "surrogateescape").split("\0") if path}
        if changed:
            listed = ", ".join(sorted(changed))
            raise RefusedError(
                f"{listed} has changes that are not committed", hint="commit them or put them away first"
            )

    def refuse_taken(self, branch: str) -> None:
        """Makes sure that a branch can be made.

        Raises:
            InvalidError: Its name is none.
            RefusedError: There is one of that name.
        """
        if self._git.run("check-ref-format", f"refs/heads/{branch}").code != 0 or branch.startswith("-"):
            raise InvalidError(f"{branch!r} is no name for a branch")
        if self._git.run("show-ref", "--verify", "--quiet", f"refs/heads/{branch}").code == 0:
            raise RefusedError(f"there is a branch {branch!r} already", hint="name another one, or delete it first")

    def commit(
        self, parent: str, edits: Mapping[str, Callable[[bytes], bytes]], message: str, branch: str | None
    ) -> str:
        """Makes the commit.

        Args:
            parent: The commit it follows on; HEAD's unless a branch is named.
            edits: By path from the repository's root, what becomes of the file's bytes.
            branch: A new branch; None for the one that is checked out.

        Returns:
            Its id.

        Raises:
            InvalidError: A path is no regular file of the parent; the commit cannot be signed.
            StaleError: The branch moved meanwhile.
            UnavailableError: The files or the index cannot be written.
        """
        root = parse_commit(self._database.read(parent, "commit")).tree
        blobs = {path: self._blob(root, path, edit) for path, edit in edits.items()}
        made = self._commit(self._tree(root, blobs), parent, message)
        note = f"reconciler: {message.splitlines()[0]}"
        if branch is not None:
            with self._moving(f"refs/heads/{branch}", made, self._zero, note):
                return made
        with self._moving("HEAD", made, parent, note):
            self._write(edits, blobs)
        return made

    def push(self, branch: str, remote: str) -> None:
        """Pushes a branch to a remote, under the same name.

        Raises:
            AccessError, UnavailableError: The remote refuses, or cannot be reached.
        """
        git = self._git.on_behalf(self._person.variables, self._person.config)
        refs = f"refs/heads/{branch}:refs/heads/{branch}"
        told = git.run("push", "--porcelain", "--end-of-options", remote, refs, timeout=_PATIENCE)
        if told.code == 0:
            return
        said = _push_error(told)
        denied = re.search(r"denied|authentication|could not read|40[13]|rejected", said, re.IGNORECASE)
        error = AccessError if denied else UnavailableError
        raise error(f"{branch} was not pushed to {remote}: {said}", hint=f"git push {remote} {branch}")

    # Objects

    def _blob(self, root: str, path: str, edit: Callable[[bytes], bytes]) -> TreeItem:
        item = self._item(root, path)
        if item is None or not item.is_file:
            raise InvalidError(f"{path} is no regular file of this commit", hint="edit it by hand")
        data = edit(self._database.read(item.object_id))
        oid = self._object("blob", data)
        return TreeItem(item.name, item.mode, oid)

    def _item(self, root: str, path: str) -> TreeItem | None:
        item: TreeItem | None = None
        tree = root
        for step in path.split("/"):
            if item is not None:
                if not item.is_folder:
                    return None
                tree = item.object_id
            item = next((each for each in self._database.tree(tree) if each.name == step), None)
            if item is None:
                return None
        return item

    def _tree(self, tree: str, changed: Mapping[str, TreeItem]) -> str:
        """A tree with files replaced; folders on the way are made anew."""
        below: dict[str, dict[str, TreeItem]] = {}
        items = {item.name: item for item in self._database.tree(tree)}
        for path, item in changed.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = item
            else:
                items[name] = item
        for name, inner in below.items():
            items[name] = items[name]._replace(object_id=self._tree(items[name].object_id, inner))
        return self._object("tree", format_tree(items.values()))

    def _object(self, kind: str, data: bytes) -> str:
        return self._run("hash-object", "-w", "-t", kind, "--stdin", given=data).decode().strip()

    def _commit(self, tree: str, parent: str, message: str) -> str:
        person = self._person
        git = self._git.on_behalf(person.variables, person.config)
        sign = ("-S",) if person.signs else ()
        told = git.run("commit-tree", *sign, "-p", parent, "-F", "-", tree, given=message.encode(), timeout=_PATIENCE)
        if told.code != 0:
            if person.signs:
                raise InvalidError(
                    f"the commit cannot be signed, as commit.gpgSign asks: {last_line(told.error)}",
                    hint="git commit -S shows why; `git config commit.gpgSign false` lets it go unsigned",
                )
            raise InvalidError(f"git cannot commit: {last_line(told.error)}")
        return told.output.decode().strip()

    @contextmanager
    def _moving(self, ref: str, made: str, before: str, note: str) -> Generator[None]:
        """Locks a ref that is where it should be, and moves it at the end; left where it is if something fails.

        git-update-ref(1): a process that ends without `commit` gives the locks back.
        """
        git = self._git.on_behalf(self._person.variables, self._person.config)
        process = git.start("update-ref", "--create-reflog", "-m", note, "--stdin", stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"start\nupdate {ref} {made} {before}\nprepare\n".encode())
            process.stdin.flush()
            if [process.stdout.readline(), process.stdout.readline()] != [b"start: ok\n", b"prepare: ok\n"]:
                raise StaleError(
                    f"{ref.removeprefix('refs/heads/')} moved meanwhile, or another git is at work on it", hint="again"
                )
            yield
            process.stdin.write(b"commit\n")
            process.stdin.flush()
            if process.stdout.readline() != b"commit: ok\n":
                raise UnavailableError(f"git could not move {ref}", hint="is the disk full?")
        finally:
            # A killed git would leave its locks behind; one whose input ends gives them back.
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            end(process)

    # Files

    def _write(self, edits: Mapping[str, Callable[[bytes], bytes]], blobs: Mapping[str, TreeItem]) -> None:
        """Makes the edits in the working copy's files and the index; all or none of them."""
        if self._work is None:
            return
        before = {path: self._read(self._work / path) for path in edits}
        after = {path: edit(before[path]) for path, edit in edits.items()}
        written: list[str] = []
        try:
            for path, data in after.items():
                replace_file(self._work / path, data)
                written.append(path)
            self._index(blobs)
        except BaseException:
            for path in written:
                replace_file(self._work / path, before[path])
            raise

    def _read(self, path: Path) -> bytes:
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise InvalidError(f"{path} is no regular file", hint="edit it by hand")
            return path.read_bytes()
        except OSError as error:
            raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error

    def _index(self, blobs: Mapping[str, TreeItem]) -> None:
        lines = "".join(f"{item.mode or FILE:o} {item.object_id}\t{path}\0" for path, item in blobs.items())
        given = lines.encode("utf-8", "surrogateescape")
        told = self._git.run("update-index", "-z", "--index-info", given=given)
        if told.code != 0:
            raise UnavailableError(
                f"git's index cannot be written: {last_line(told.error)}", hint="is another git at work here? Again"
            )

    def _run(self, *arguments: str, given: bytes | None = None) -> bytes:
        told = self._git.run(*arguments, given=given)
        if told.code != 0:
            raise UnavailableError(f"git {arguments[0]} failed: {last_line(told.error)}")
        return told.output


def _push_error(told: Result) -> str:
    rejected = [line for line in told.output.decode("utf-8", "replace").splitlines() if line.startswith("!")]
    return rejected[0].split("\t")[-1] if rejected else last_line(told.error)


def in_repository(source: LocalSource, path: str) -> str:
    """A path below the manifest folder, from the repository's root."""
    return posixpath.join(source.path, path)
