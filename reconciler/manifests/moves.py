"""`metadata.movedFrom`: which documents carry on under another name, and what is wrong with what they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from reconciler.core.problems import Problem
from reconciler.manifests.repo import Manifest

POINTER = "/metadata/movedFrom"


def wrong_moves(kind: str, documents: Iterable[Manifest], broken: Iterable[tuple[str, str]]) -> list[Problem]:
    """Problems of documents that say what they moved from, each with the document as its subject.

    Args:
        documents: All of that kind.
        broken: Kinds and names of documents that cannot be used: they exist, too.
    """
    documents = list(documents)
    moved = [document for document in documents if document.moved_from]
    if not moved:
        return []
    named = {*(document.name for document in documents), *(name for of_kind, name in broken if of_kind == kind)}
    claims = _claims(moved)
    old_of = {document.name: document.moved_from for document in moved}
    return [
        problem
        for document in moved
        if (problem := _wrong(kind, document, named, claims[document.moved_from], old_of)) is not None
    ]


def _claims(moved: Iterable[Manifest]) -> Mapping[str, set[str]]:
    claims: dict[str, set[str]] = defaultdict(set)
    for document in moved:
        claims[document.moved_from].add(document.name)
    return claims


def _wrong(
    kind: str, document: Manifest, named: Collection[str], claimed_by: set[str], old_of: Mapping[str, str]
) -> Problem | None:
    old = document.moved_from
    what = kind.lower()
    if old == document.name:
        message, hint = f"a {what} cannot have moved from itself", "name the one it was before, or remove the line"
    elif old in named:
        message, hint = f"{kind} '{old}' exists, so nothing moved from it", _way_out(document.name, old, old_of)
    elif len(claimed_by) > 1:
        others = ", ".join(sorted(claimed_by - {document.name}))
        message = f"'{old}' cannot have become several: {others} also moved from it"
        hint = "keep the line in one of them; the others are new"
    else:
        return None
    return Problem("moved-from", message, document.at(POINTER), hint, document.subject)


def _way_out(name: str, old: str, old_of: Mapping[str, str]) -> str:
    """What to do about a move from something that is still there: often one of a chain or a circle."""
    step, path = old, [name, old]
    while step in old_of and old_of[step] not in path:
        step = old_of[step]
        path.append(step)
    if old_of.get(step) == name:
        circle = " ← ".join([*path, name])
        return f"names cannot change places in one commit ({circle}): give one of them a third name first"
    if step != old:
        chain = " ← ".join(path)
        return f"moves are made one after the other ({chain}): apply that of '{old}' first"
    return f"remove '{old}' if it is the former name of this one; remove the line if both are to be there"
