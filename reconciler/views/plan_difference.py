"""What differs between a plan as it was saved and the plan of now: both as JSON documents, action by action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from reconciler.core.change import Action
from reconciler.core.resources import ResourceId
from reconciler.core.reviewed import Since
from reconciler.core.values import MISSING
from reconciler.views.grouping import name_of
from reconciler.views.style import OF_ACTION, PLAIN, Style
from reconciler.views.values import KNOWN_LATER, SENSITIVE, printable, transition

_Document = Mapping[str, Any]
_MOST = 50
# Beside its fields, what two actions on one resource can differ in: key of the document, and how it is called.
_TRAITS = (
    ("action", "action"),
    ("service", "service"),
    ("steps", "steps"),
    ("dependsOn", "depends on"),
)


def as_json(found: Since, saved: _Document, now: _Document) -> list[dict[str, Any]]:
    """One object for each action that came up, went, or changed; `saved` and `now` are the actions, or null."""
    before, after = _changes(saved), _changes(now)
    kinds = (("appeared", found.appeared), ("vanished", found.vanished), ("changed", found.changed))
    return [
        {"resource": str(id_), "what": what, "saved": before.get(str(id_)), "now": after.get(str(id_))}
        for what, ids in kinds
        for id_ in ids
    ]


def text(found: Since, saved: _Document, now: _Document, style: Style = PLAIN) -> Iterator[str]:
    """The difference in words, a few lines an action; the first fifty of each sort."""
    before, after = _changes(saved), _changes(now)
    reasons = {str(b["resource"]): str(b["reason"]) for b in now["blocked"]}
    for id_ in _first(found.vanished):
        why = reasons.get(str(id_), "nothing is to be done there any more").partition("\n")[0]
        yield f"{_entry('-', id_, before[str(id_)], style)}  is no longer in it: {printable(why)}"
    yield from _rest(found.vanished)
    for id_ in _first(found.appeared):
        yield f"{_entry('+', id_, after[str(id_)], style)}  is new: {printable(str(after[str(id_)]['reason']))}"
        yield from _fields((), after[str(id_)]["fields"])
    yield from _rest(found.appeared)
    for id_ in _first(found.changed):
        yield f"{_entry('~', id_, after[str(id_)], style)}  would do something else"
        yield from _changed(before[str(id_)], after[str(id_)])
    yield from _rest(found.changed)


def beside(found: Since, now: _Document, style: Style = PLAIN) -> Iterator[str]:
    """What is also to be done now, and is left to another plan."""
    after = _changes(now)
    for id_ in _first(found.beside):
        yield f"{_entry('+', id_, after[str(id_)], style)}  {printable(str(after[str(id_)]['reason']))}"
    yield from _rest(found.beside)


def _changes(document: _Document) -> dict[str, _Document]:
    return {change["resource"]: change for change in document["changes"]}


def _first(ids: Sequence[ResourceId]) -> Iterable[ResourceId]:
    return ids[:_MOST]


def _rest(ids: Sequence[ResourceId]) -> Iterator[str]:
    if len(ids) > _MOST:
        yield f"  … and {len(ids) - _MOST:,} more"


def _entry(sign: str, id_: ResourceId, change: _Document, style: Style) -> str:
    action = Action(change["action"])
    what = f"{action.glyph} {printable(id_.kind)}  {printable(name_of(id_))}"
    return f"  {style.paint(sign, 'yellow')} {style.paint(what, OF_ACTION[action])}"


def _changed(saved: _Document, now: _Document) -> Iterator[str]:
    told = False
    for key, word in _TRAITS:
        if saved[key] != now[key]:
            told = True
            yield f"      {word}  {_shown(now[key])}, was {_shown(saved[key])}"
    for line in _fields(saved["fields"], now["fields"]):
        told = True
        yield line
    if not told and now.get("spec") is not None and saved.get("spec") != now["spec"]:
        told = True
        yield "      what is created is another one"
    if not told:
        yield "      in what is not shown: a secret's place, or what a policy leaves to others"


def _fields(saved: Sequence[_Document], now: Sequence[_Document]) -> Iterator[str]:
    before = {field["pointer"]: field for field in saved}
    after = {field["pointer"]: field for field in now}
    for pointer in (*after, *(p for p in before if p not in after)):
        if before.get(pointer) == after.get(pointer):
            continue
        is_, was = _transition(after.get(pointer)), _transition(before.get(pointer))
        yield f"      {printable(pointer)}  {is_}" + (f", was {was}" if before else "")


def _transition(field: _Document | None) -> str:
    if field is None:
        return "left as it is"
    if field["sensitive"]:
        return f"{SENSITIVE} changed"
    text = transition(field.get("before", MISSING), field.get("after", MISSING))
    return text.replace(f'"{KNOWN_LATER}"', KNOWN_LATER)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(printable(str(each)) for each in cast("list[object]", value)) or "none"
    return printable(str(value)) or "none"
