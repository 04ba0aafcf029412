"""Which files of a tree can hold manifests: walked once, and followed from one tree to the next by what differs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache

from reconciler.core.contents import Listed
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError
from reconciler.source.limits import Budget, Limits
from reconciler.source.objects import EXECUTABLE, FILE, FOLDER, SUBMODULE, SYMLINK, Difference, Objects, TreeItem

SUFFIXES = (".yaml", ".yml")
# So many walks are remembered: a revision, its base, and one more.
_WALKS = 4
# Fewer files than this are walked faster than Git is asked what differs.
_MANY = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A path with every link in it followed; `path` is the real one."""

    path: str
    item: TreeItem


@dataclass(frozen=True, slots=True)
class _Listing:
    """The manifest files of one folder, links not followed: what is remembered by tree id."""

    files: tuple[TreeItem, ...]
    links: tuple[TreeItem, ...]
    count: int


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a walk found.

    Args:
        count: Files and folders that it saw.
        links: Whether there was any link, by which files elsewhere count too.
        start: Git's id of the tree it began at.
    """

    files: tuple[Listed, ...]
    count: int
    links: bool
    start: str


class Listings:
    """The manifest files of one repository's trees, remembered: trees are immutable."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._walks: dict[tuple[str, str, Limits], _Walk] = {}
        self._folder = lru_cache(maxsize=8192)(self._list_folder)

    def of(self, root: str, prefix: str, limits: Limits, find: Callable[[str], Found | None]) -> tuple[Listed, ...]:
        """The manifest files below a folder, sorted.

        Args:
            root: Git's id of the whole tree.
            prefix: The folder.
            find: Resolves a path that counts from the root, links followed.

        Raises:
            InvalidError: There are more files, or they are nested deeper, than the limits allow.
        """
        known = self._walks.get((root, prefix, limits))
        if known is None:
            start = find(prefix)
            if start is None:
                return ()
            known = self._followed(start, prefix, limits) or self._walked(start, prefix, limits, find)
            # Another dictionary each time, since other threads may be reading this one.
            self._walks = {**dict(list(self._walks.items())[1 - _WALKS :]), (root, prefix, limits): known}
        return known.files

    def _walked(self, start: Found, prefix: str, limits: Limits, find: Callable[[str], Found | None]) -> _Walk:
        walk = _Walker(self._folder, prefix, find, Budget(limits))
        walk.collect(start.path, "", start.item.object_id, frozenset())
        files = tuple([Listed(path, *what) for path, what in sorted(walk.listed.items())])
        return _Walk(files, walk.count, walk.links, start.item.object_id)

    def _followed(self, start: Found, prefix: str, limits: Limits) -> _Walk | None:
        """The walk that follows from an earlier one and what changed since; None if it must be walked."""
        after = start.item.object_id
        before = next(
            (w for (_, of, under), w in reversed(self._walks.items()) if (of, under) == (prefix, limits)), None
        )
        if before is None or before.links or (len(before.files) < _MANY and before.start != after):
            return None
        if before.start == after:
            return before
        differences = self._objects.differences(before.start, after)
        if differences is None:
            return None
        # New files may lie in new folders, each of which counts.
        count = before.count + sum(d.before is None and 1 + d.path.count("/") for d in differences)
        if count > limits.files or any(_unusual(d, limits) for d in differences):
            return None
        return _Walk(_patched(before.files, differences), count, links=False, start=after)

    def _list_folder(self, tree: str) -> _Listing:
        items = self._objects.tree(tree)
        files = tuple(
            [
                item
                for item in items
                if (item.name.endswith(SUFFIXES) or item.mode == FOLDER)
                and item.mode not in (SYMLINK, SUBMODULE)
                and not item.name.startswith(".")
            ]
        )
        links = tuple([item for item in items if item.mode == SYMLINK and not item.name.startswith(".")])
        return _Listing(files, links, len(items))


def _unusual(difference: Difference, limits: Limits) -> bool:
    after = difference.after
    return after is not None and (after.mode not in (FILE, EXECUTABLE) or difference.path.count("/") > limits.depth)


def _patched(files: tuple[Listed, ...], differences: Sequence[Difference]) -> tuple[Listed, ...]:
    changed = {
        d.path: Listed(d.path, d.after.object_id) if d.after is not None else None
        for d in differences
        if d.path.endswith(SUFFIXES) and not d.path.startswith(".") and "/." not in d.path
    }
    result = list(files)
    for path, listed in changed.items():
        index = bisect_left(result, (path,))
        there = index < len(result) and result[index].path == path
        if listed is not None and there:
            result[index] = listed
        elif there:
            del result[index]
        elif listed is not None:
            result.insert(index, listed)
    return tuple(result)


class _Walker:
    """One walk over folders, links followed."""

    def __init__(
        self, folder: Callable[[str], _Listing], prefix: str, find: Callable[[str], Found | None], budget: Budget
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._find = find
        self._budget = budget
        self.listed: dict[str, tuple[str, bool]] = {}
        self.count = 0
        self.links = False

    def collect(self, real: str, shown: str, tree: str, above: frozenset[str]) -> None:
        """Lists a folder and those below it.

        Args:
            real: Where it is, counted from the root of the tree.
            shown: Where it is for the reader, who may have come through links.
            above: Trees that it is in.
        """
        self._budget.enter(shown, len(above))
        folder = self._folder(tree)
        self.count += folder.count
        self._budget.add(folder.count, shown or self._prefix or "/")
        lead = f"{shown}/" if shown else ""
        for item in folder.files:
            if item.mode == FOLDER:
                self.collect(f"{real}/{item.name}".lstrip("/"), lead + item.name, item.object_id, above | {tree})
            else:
                self.listed[lead + item.name] = (item.object_id, False)
        for item in folder.links:
            self.links = True
            self._follow(f"{real}/{item.name}".lstrip("/"), lead + item.name, item, tree, above)

    def _follow(self, real: str, shown: str, link: TreeItem, tree: str, above: frozenset[str]) -> None:
        try:
            found = self._find(real)
        except InvalidError:
            found = None
        if found is None:
            if link.name.endswith(SUFFIXES):
                self.listed[shown] = (link.object_id, True)
        elif within(found.path, self._prefix):
            # Listed where it is.
            return
        elif found.item.is_folder:
            if found.item.object_id not in above:
                self.collect(found.path, shown, found.item.object_id, above | {tree})
        elif link.name.endswith(SUFFIXES):
            self.listed[shown] = (found.item.object_id, False)


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it; everything is below \"\"."""
    return not folder or path == folder or path.startswith(f"{folder}/")
