"""Objects that a service consists of at one place, told in a line of their own only where they have something to say.

On a cluster a service is half a dozen objects that come and go together: they are listed under the one that the others
belong to. What changes field by field, or for another reason, stands for itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from reconciler.core.change import Action, Change
from reconciler.core.dataclass import dataclass
from reconciler.views.grouping import effect
from reconciler.views.values import printable

_WHOLE = frozenset({Action.CREATE, Action.DELETE, Action.FORGET})
_FEWEST = 2
_WIDTH = 108
_INDENT = " " * 6


@dataclass(frozen=True, slots=True)
class Fold:
    """A change, and those that are told under it."""

    change: Change
    under: tuple[Change, ...] = ()

    def lines(self) -> Iterator[str]:
        """What stands under the change's own line, as wide as a terminal."""
        if not self.under:
            return
        # Where nothing is folded, as in most plans, it is not imported.
        import textwrap

        lead = _object(self.change)
        parts = [_words(change, lead) for change in self.under]
        text = f"with {', '.join(parts)}"
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  ", break_on_hyphens=False
        )


def folded(changes: Sequence[Change]) -> list[Fold]:
    """The changes of a service, in their order."""
    together: dict[tuple[str, Action, str, bool], list[Change]] = defaultdict(list)
    for change in changes:
        if change.action in _WHOLE and ":" in change.id.name and not change.id.target.startswith("registry/"):
            moves = change.moved_from is not None or change.moved_to is not None
            together[change.id.target, change.action, change.reason, moves].append(change)
    under: dict[int, tuple[Change, ...]] = {}
    hidden: set[int] = set()
    for alike in together.values():
        lead = _lead(alike)
        rest = tuple(change for change in alike if change is not lead and effect(change) in ("", effect(lead)))
        if len(rest) >= _FEWEST:
            under[id(lead)] = rest
            hidden |= {id(change) for change in rest}
    return [Fold(change, under.get(id(change), ())) for change in changes if id(change) not in hidden]


def _lead(changes: Sequence[Change]) -> Change:
    """The one that most others need, or that needs most of them."""
    ids = {change.id for change in changes}
    links: dict[object, int] = defaultdict(int)
    for change in changes:
        for needed in ids.intersection(change.depends_on):
            links[needed] += 1
            links[change.id] += 1
    return max(changes, key=lambda change: links[change.id])


def _object(change: Change) -> str:
    return change.id.name.rpartition(":")[2]


def _words(change: Change, lead: str) -> str:
    name = _object(change)
    words = printable(change.id.kind if name == lead else f"{change.id.kind} {name}")
    summary = printable(change.desired.summary) if change.desired else ""
    return f"{words} ({summary})" if summary else words
