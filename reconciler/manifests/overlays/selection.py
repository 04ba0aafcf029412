"""Which overrides of an overlay are meant for which documents."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.dataclass import dataclass
from reconciler.core.values import digest
from reconciler.manifests.overlays.origins import Applied
from reconciler.manifests.repo import Manifest


@dataclass(frozen=True, slots=True)
class Chosen:
    """Overrides for a document, in their order.

    Args:
        content: The same for overrides that say the same, wherever they stand.
    """

    applied: tuple[Applied, ...]
    content: str


class Selection:
    """The overrides for documents of one kind."""

    def __init__(self, kind: str, overlay: Manifest | None) -> None:
        self._applied: dict[int, Applied] = {}
        self._content: dict[int, str] = {}
        self._of_name: dict[str, tuple[int, ...]] = {}
        self._of_all: tuple[int, ...] = ()
        self._of_tags: list[tuple[int, Mapping[str, str]]] = []
        self._chosen: dict[tuple[int, ...], Chosen | None] = {(): None}
        for index, override in enumerate(overlay.spec["overrides"] if overlay is not None else ()):
            if override["kind"] != kind:
                continue
            self._applied[index] = Applied(f"/spec/overrides/{index}", override)
            self._content[index] = digest(override)[:24]
            name, tags = override.get("name"), override.get("tags")
            if name is not None:
                self._of_name[name] = (*self._of_name.get(name, ()), index)
            elif tags is not None:
                self._of_tags.append((index, tags))
            else:
                self._of_all = (*self._of_all, index)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._applied)

    def names(self, name: str) -> bool:
        """Whether a document is meant that nobody wrote: by name; the defaults also as all of their kind."""
        return name in self._of_name or (bool(self._of_all) and name == "defaults")

    def of(self, document: Manifest) -> Chosen | None:
        """The overrides for a document; None if there are none."""
        indices = self._of_name.get(document.name, ()) + self._of_all
        for index, tags in self._of_tags:
            if has_tags(document, tags):
                indices = (*indices, index)
        known = self._chosen.get(indices)
        if known is None and indices:
            ordered = sorted(indices)
            content = " ".join(self._content[index] for index in ordered)
            known = self._chosen[indices] = Chosen(tuple(self._applied[index] for index in ordered), content)
        return known


def has_tags(document: Manifest, tags: Mapping[str, str]) -> bool:
    """Whether a document has all of some tags."""
    own = document.tags
    for key, value in tags.items():  # noqa: SIM110  asked of every document: a generator takes twice as long
        if own.get(key) != value:
            return False
    return True
