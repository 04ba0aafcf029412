"""The files of one revision as an immutable tree, and their bytes by Git's ids."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import BinaryIO

from reconciler.core.contents import Entry, Listed, Revision
from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.source.lfs import LargeFiles, Pointer
from reconciler.source.limits import Budget, Limits, invalid
from reconciler.source.listing import Found, Listings
from reconciler.source.objects import EXECUTABLE, FOLDER, Objects, TreeItem

# Linux follows 40 links in one path (path_resolution(7)); so do we.
MAX_LINKS = 40
# The longest path that Linux resolves (PATH_MAX).
MAX_LINK_BYTES = 4096


class GitTree:
    """Implements `core.contents.Tree` over one root tree id.

    Paths are relative to the manifest path; `..` and links may leave it, but never the repository.
    """

    def __init__(
        self, revision: Revision, root: str, contents: GitContents, prefix: str = "", limits: Limits | None = None
    ) -> None:
        self._revision = revision
        self._root = root
        self._contents = contents
        self._objects = contents.objects
        self._prefix = prefix
        self._limits = limits or Limits()

    @property
    def revision(self) -> Revision:
        """The commit these files belong to."""
        return self._revision

    @property
    def contents(self) -> GitContents:
        """Bytes of this and any other object of the repo."""
        return self._contents

    @property
    def root_id(self) -> str:
        """Git's id of the manifest folder: equal ids mean that no file below it differs."""
        found = self._find("", "")
        return found.item.object_id if found else ""

    def documents(self) -> Sequence[Listed]:
        """Every YAML file below the manifest path, sorted; names starting with a dot are left out.

        Links to files and folders inside the repository are followed, those to a place that is listed anyway are
        not listed twice. A link that leads nowhere is listed, and reading it says what is wrong with it.

        Raises:
            InvalidError: There are more files, or they are nested deeper, than the limits allow.
        """
        return self._contents.listings.of(self._root, self._prefix, self._limits, self._find_real)

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of each file; of one larger than `limit` its size in bytes; of one that cannot be read the error.

        As many as there are, they are asked of Git at once.
        """
        found = self._objects.read_many([file.object_id for file in files if not file.dangling], limit)
        for file in files:
            yield self._why(file.path, limit) if file.dangling else next(found)

    def _why(self, path: str, limit: int) -> bytes | InvalidError:
        try:
            return self.read(path, limit)
        except InvalidError as error:
            return error

    def object_id(self, path: str) -> str | None:
        """Git's id of a file or folder, in-tree links followed, or None.

        Raises:
            InvalidError: A link in the path leaves the repository or goes in circles, or the path is a submodule.
        """
        found = self._find(self._prefix, path)
        return found.item.object_id if found else None

    def is_folder(self, path: str) -> bool:
        """Whether the path names a folder."""
        found = self._find(self._prefix, path)
        return found is not None and found.item.is_folder

    def size(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            InvalidError: There is no such file.
        """
        oid = self._file(path).object_id
        return self._objects.sizes([oid])[oid]

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes.

        Raises:
            InvalidError: There is no such file, or it is larger than `limit` bytes.
        """
        oid = self._file(path).object_id
        size = self._objects.sizes([oid])[oid]
        if size > limit:
            raise invalid(
                "file-too-large",
                f"{path} has {size:,} bytes, more than the {limit:,} allowed here",
                path,
                "manifests and small files only; put large data into a model",
            )
        return self._objects.read(oid, "blob", limit)

    def names(self, folder: str) -> list[str]:
        """The names in a folder, for did-you-mean; empty if there is none."""
        try:
            found = self._find(self._prefix, folder)
        except InvalidError:
            return []
        if found is None or not found.item.is_folder:
            return []
        return sorted(item.name for item in self._objects.tree(found.item.object_id))

    def at_root(self) -> GitTree:
        """The same revision with the repository's root as its manifest path."""
        return GitTree(self._revision, self._root, self._contents, "", self._limits)

    def _file(self, path: str) -> TreeItem:
        found = self._find(self._prefix, path)
        if found is None:
            raise invalid("no-such-file", f"there is no file {path} in {self._revision.short}", path)
        if not found.item.is_file:
            raise invalid("not-a-file", f"{path} is a folder, not a file", path)
        return found.item

    def _find(self, base: str, path: str) -> Found | None:
        """Resolves a path the way a kernel does: step by step, links replaced by their target where they stand."""
        if not base:
            base, path = "", posixpath.join(self._prefix, path) if path else self._prefix
        at: list[Found] = [Found("", TreeItem("", FOLDER, self._root))]
        todo = [*reversed(_steps(path)), *reversed(_steps(base))]
        links = 0
        while todo:
            step = todo.pop()
            if step == "..":
                if len(at) == 1:
                    raise invalid("leaves-repo", f"{path} leaves the repository", path)
                at.pop()
                continue
            here = at[-1]
            if not here.item.is_folder:
                return None
            item = self._contents.item(here.item.object_id, step)
            if item is None:
                return None
            real = f"{here.path}/{step}".lstrip("/")
            if item.is_submodule:
                raise _submodule(real)
            if not item.is_symlink:
                at.append(Found(real, item))
                continue
            links += 1
            if links > MAX_LINKS:
                raise invalid("link-loop", f"{real} is a symbolic link that goes in circles", real)
            target = self._contents.link(item.object_id)
            if target.startswith("/"):
                raise invalid(
                    "link-leaves-repo",
                    f"{real} is a symbolic link to an absolute path; only links inside the repository are followed",
                    real,
                    "use a relative link, or a copy",
                )
            todo.extend(reversed(_steps(target)))
        return at[-1]

    def _find_real(self, path: str) -> Found | None:
        """Resolves a path that counts from the repository's root."""
        return GitTree(self._revision, self._root, self._contents)._find("", path)


class GitContents:
    """Implements `core.contents.Contents`: bytes by object id, and what is remembered of trees."""

    def __init__(self, objects: Objects, limits: Limits | None = None, *, large: LargeFiles | None = None) -> None:
        self.objects = objects
        self._limits = limits or Limits()
        self._large = large
        self.listings = Listings(objects)
        self.link = lru_cache(maxsize=8192)(self._link)
        self._names = lru_cache(maxsize=1024)(self._by_name)

    def files(self, object_id: str) -> Iterator[Entry]:
        """Every file of a tree (or the single file of a blob, with an empty path), in-tree links followed.

        Raises:
            InvalidError: A link leaves the folder (its target would not be part of the folder's identity), a
                submodule stands in it, there are more files than allowed, or the object is not there.
        """
        kind = self.objects.kind(object_id)
        if kind == "blob":
            return iter([Entry("", object_id, self.objects.sizes([object_id])[object_id])])
        if kind != "tree":
            what = "not in the repository" if kind is None else f"a {kind}, not a file or folder"
            raise InvalidError(f"object {object_id} is {what}")
        found: dict[str, TreeItem] = {}
        inside = GitTree(Revision(""), object_id, self)
        self._gather(inside, "", object_id, found, frozenset(), Budget(self._limits))
        return iter(_entries(found, self.objects))

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob's bytes; the caller closes it.

        Raises:
            InvalidError: The object is not there, or is a file that changed since it was identified.
        """
        return self.objects.open(object_id)

    def open_large(self, object_id: str) -> BinaryIO:
        """A stream over the file that a Git LFS pointer stands for; the caller closes it.

        Args:
            object_id: Of the pointer's blob.

        Raises:
            InvalidError: The blob is no pointer.
            UnavailableError: The file is not here and cannot be fetched; the hint says what to install or to run.
        """
        pointer = Pointer.parse(self.objects.read(object_id, "blob", Pointer.MAX_BYTES))
        if pointer is None:
            raise InvalidError(f"object {object_id} is not a Git LFS pointer")
        if self._large is None:
            raise UnavailableError("files kept by Git LFS cannot be read from here")
        return self._large.open(pointer)

    def item(self, tree: str, name: str) -> TreeItem | None:
        """One name in a folder."""
        return self._names(tree).get(name)

    def _by_name(self, tree: str) -> dict[str, TreeItem]:
        return {item.name: item for item in self.objects.tree(tree)}

    def _link(self, object_id: str) -> str:
        return self.objects.read(object_id, "blob", MAX_LINK_BYTES).decode("utf-8", "surrogateescape")

    def _gather(
        self, root: GitTree, path: str, tree: str, found: dict[str, TreeItem], above: frozenset[str], budget: Budget
    ) -> None:
        budget.enter(path, len(above))
        items = self.objects.tree(tree)
        budget.add(sum(not item.is_folder for item in items), path or "/")
        lead = f"{path}/" if path else ""
        for entry in items:
            item, name = entry, lead + entry.name
            if item.is_submodule:
                raise _submodule(name)
            if item.is_symlink:
                target = root._find("", name)  # pyright: ignore[reportPrivateUsage]
                if target is None:
                    raise invalid("broken-link", f"{name} is a symbolic link that leads nowhere", name)
                item = target.item
            if not item.is_folder:
                found[name] = item
            elif item.object_id in above or item.object_id == tree:
                raise invalid("link-loop", f"{name} is a symbolic link to a folder that holds it", name)
            else:
                self._gather(root, name, item.object_id, found, above | {tree}, budget)


def _entries(found: Mapping[str, TreeItem], objects: Objects) -> list[Entry]:
    sizes = objects.sizes(item.object_id for item in found.values())
    return [
        Entry(path, item.object_id, sizes[item.object_id], item.mode == EXECUTABLE)
        for path, item in sorted(found.items())
    ]


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def _submodule(path: str) -> InvalidError:
    return invalid(
        "submodule",
        f"{path} is a Git submodule: its files are not part of this repository",
        path,
        "copy the files into this repository, or point a model's uri at them",
    )
