"""Paths in manifests: relative to the manifest folder, found or missing with what was probably meant."""

from __future__ import annotations

import posixpath

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem
from reconciler.manifests.repo import Manifest
from reconciler.manifests.validate import did_you_mean

_RULE = "paths count from the folder that holds models/ and services/ (or from `sourceDirectory`)"


@dataclass(frozen=True, slots=True)
class Found:
    """A file or folder; `path` is normalised, "" for the manifest folder itself."""

    path: str
    object_id: str
    folder: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """A path that leads nowhere.

    Args:
        written: As it stands in the manifest.
        path: Where that was looked for.
        reason: Why it cannot be used, if there is more to say than that it is not there.
        beside: Names in the folder it would be in.
        instead: How to write it, if it would be found counting from another folder.
    """

    written: str
    path: str
    reason: str = ""
    beside: tuple[str, ...] = ()
    instead: str = ""

    def problem(self, document: Manifest, pointer: str, what: str) -> Problem:
        """What to tell the user."""
        if self.reason:
            return Problem("bad-path", self.reason, document.at(pointer), "", document.subject)
        folder, _, name = self.path.rpartition("/")
        if self.instead:
            hint = f"{_RULE}: write '{self.instead}'"
            return Problem(
                "missing-file", f"{what} {self.path} does not exist", document.at(pointer), hint, document.subject
            )
        meant = did_you_mean(name, list(self.beside))
        if meant and folder:
            meant = meant.replace("'", f"'{folder}/", 1)
        where = f"in {folder}/" if folder else "at the top of the manifest folder"
        hint = meant or f"{_RULE}; there is no {name} {where}"
        return Problem(
            "missing-file", f"{what} {self.path} does not exist", document.at(pointer), hint, document.subject
        )


def located(tree: Tree, path: str, document: Manifest, base: str = "") -> Found | Missing:
    """What a path in a document leads to.

    Args:
        base: Folder that the path is relative to.
    """
    if path.startswith("/"):
        return Missing(path, path, f"{path} is an absolute path; files are found in the repo only")
    whole = posixpath.normpath(posixpath.join(base, path))
    whole = "" if whole == "." else whole
    try:
        object_id = tree.object_id(whole)
        if object_id is None:
            beside = tuple(tree.names(posixpath.dirname(whole)))
            return Missing(path, whole, beside=beside, instead=_instead(tree, path, document, base))
        return Found(whole, object_id, tree.is_folder(whole))
    except InvalidError as exc:
        return Missing(path, whole, str(exc))


def _instead(tree: Tree, path: str, document: Manifest, base: str) -> str:
    """What to write if the path is right from the document's own folder, or from the top."""
    folder = posixpath.dirname(document.position.file)
    for start in (folder, "", posixpath.join(folder, base)):
        whole = posixpath.normpath(posixpath.join(start, path))
        if start != base and not whole.startswith("../") and tree.object_id(whole) is not None:
            return posixpath.relpath(whole, base or ".")
    return ""
