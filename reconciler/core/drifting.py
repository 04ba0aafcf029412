"""How long and how often drift has been there: a memory that changes only when drift begins, changes or ends.

A drift that comes back again and again after it was taken back is a fight with somebody else; it is told once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from reconciler.core.change import Drift
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.resources import ResourceId
from reconciler.core.values import MISSING, digest

# A field that was found changed so often within so many seconds, and taken back in between, is fought about.
FIGHT_TIMES = 3
FIGHT_SECONDS = 86_400.0
# How long it is remembered, in seconds, that something drifted and does no more.
REMEMBERED_SECONDS = 7 * 86_400.0
# How many times of appearance are kept.
TIMES = 10
# Stands for the pointer of a resource that is gone as a whole.
WHOLE = ""


@dataclass(frozen=True, slots=True)
class Spell:
    """The drift of one field; times are Unix seconds.

    Args:
        value: A digest of what the field reads; empty where that was not recorded.
        times: When it was found to have drifted, oldest first, the latest ones only; it read as it was left between.
        count: How often that was, all told.
        ended: When it was found to be over; None while it lasts.
    """

    value: str
    times: tuple[float, ...]
    count: int = 1
    ended: float | None = None

    @property
    def since(self) -> float:
        """When it began this time, or the last time."""
        return self.times[-1]

    def fought(self, now: float) -> bool:
        """Whether it comes back again and again."""
        return len(self.times) >= FIGHT_TIMES and now - self.times[-FIGHT_TIMES] <= FIGHT_SECONDS


class Told(StrEnum):
    """What was last said of a resource's drift."""

    NOTHING = "nothing"
    DRIFT = "drift"
    FIGHT = "fight"


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one resource's drift: its fields by pointer, `WHOLE` for the resource itself."""

    id: ResourceId
    service: str = ""
    spells: Mapping[str, Spell] = field(default_factory=dict[str, Spell])
    told: Told = Told.NOTHING

    @property
    def lasting(self) -> dict[str, Spell]:
        """What drifts now."""
        return {pointer: spell for pointer, spell in self.spells.items() if spell.ended is None}

    @property
    def since(self) -> float | None:
        """When the oldest drift that lasts began."""
        return min((spell.since for spell in self.lasting.values()), default=None)

    def seen(self, pointer: str, now: float) -> Spell | None:
        """What there is to say of a field that drifts now: a spell that ended has begun again, unnoticed so far."""
        spell = self.spells.get(pointer)
        return spell if spell is None or spell.ended is None else _seen(spell, spell.value, now)

    def fought(self, now: float) -> list[str]:
        """The pointers that are fought about."""
        return [pointer for pointer, spell in self.spells.items() if spell.fought(now)]


class Turn(StrEnum):
    """What is worth saying: once each time."""

    BEGAN = "began"
    CHANGED = "changed"
    FIGHT = "fight"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Event:
    """A turn in the drift of one resource.

    Args:
        fields: The pointers concerned: what drifts now, or what did until now.
        seconds: How long it lasted, for one that ended.
        healed: We took it back; otherwise it ended by other hands or because Git followed.
    """

    turn: Turn
    memory: Memory
    fields: tuple[str, ...]
    seconds: float = 0.0
    healed: bool = False


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a look changes in the memory; all empty for a look that sees what the last one saw."""

    changed: tuple[Memory, ...] = ()
    forgotten: tuple[ResourceId, ...] = ()
    events: tuple[Event, ...] = ()


def noticed(
    known: Mapping[ResourceId, Memory], drift: Sequence[Drift], seen: Collection[ResourceId], now: float
) -> Noticed:
    """What a look at drift means for the memory of it.

    Args:
        drift: What drifts now.
        seen: Resources of which it is known whether they drift: those that are not in `drift` do not.
        now: Unix seconds.
    """
    values = {item.id: (item.service, _values(item)) for item in drift}
    made = [_next(known.get(id_, Memory(id_)), *values[id_], now) for id_ in values]
    made += [
        _next(memory, memory.service, {}, now) for id_, memory in known.items() if id_ in seen and id_ not in values
    ]
    return _gathered(known, made, now)


def healed(
    known: Mapping[ResourceId, Memory], drift: Sequence[Drift], done: Collection[ResourceId], now: float
) -> Noticed:
    """What it means for the memory that changes were carried out: drift that is written back has ended.

    Args:
        drift: What the plan that was carried out knew of.
        done: The resources whose changes were done.
    """
    made: list[tuple[Memory, Event | None]] = []
    for item in drift:
        memory = known.get(item.id)
        if item.id in done and memory is not None:
            stays = {one.pointer for one in item.fields if not one.written}
            left = {pointer: spell.value for pointer, spell in memory.lasting.items() if pointer in stays}
            made.append(_next(memory, memory.service, left, now, by_us=True))
    return _gathered(known, made, now)


def _gathered(known: Mapping[ResourceId, Memory], made: Sequence[tuple[Memory, Event | None]], now: float) -> Noticed:
    forgotten = tuple(memory.id for memory, _ in made if not memory.spells and memory.id in known)
    changed = tuple(memory for memory, _ in made if memory.spells and memory != known.get(memory.id))
    return Noticed(changed, forgotten, tuple(event for _, event in made if event is not None))


def _values(item: Drift) -> dict[str, str]:
    values = {one.pointer: "absent" if one.now is MISSING else digest(one.now)[:16] for one in item.fields}
    return values | ({WHOLE: "gone"} if item.gone else {})


def _next(
    memory: Memory, service: str, values: Mapping[str, str], now: float, *, by_us: bool = False
) -> tuple[Memory, Event | None]:
    """The memory after a look at one resource, and what is to be said."""
    spells = {
        pointer: _seen(spell, values.get(pointer), now)
        for pointer, spell in memory.spells.items()
        if spell.ended is None or pointer in values or now - spell.ended <= REMEMBERED_SECONDS
    }
    spells |= {pointer: Spell(value, (now,)) for pointer, value in values.items() if pointer not in spells}
    after = replace(memory, service=service, spells=spells)
    turn = _turn(memory, after, now)
    told = {Turn.ENDED: Told.NOTHING, Turn.FIGHT: Told.FIGHT, Turn.BEGAN: Told.DRIFT}
    if turn is None:
        return after, None
    after = replace(after, told=told.get(turn, memory.told))
    if turn is not Turn.ENDED:
        return after, Event(turn, after, tuple(sorted(after.lasting)))
    over = memory.lasting or memory.spells
    began = min(spell.since for spell in over.values())
    return after, Event(turn, after, tuple(sorted(over)), now - began, by_us)


def _seen(spell: Spell, value: str | None, now: float) -> Spell:
    if value is None:
        return spell if spell.ended is not None else replace(spell, ended=now)
    if spell.ended is None:
        return replace(spell, value=value) if value != spell.value else spell
    return Spell(value, (*spell.times, now)[-TIMES:], spell.count + 1)


def _turn(before: Memory, after: Memory, now: float) -> Turn | None:
    lasting, fought = after.lasting, bool(after.fought(now))
    if fought and before.told is not Told.FIGHT:
        return Turn.FIGHT
    if before.told is Told.FIGHT:
        return Turn.ENDED if not lasting and not fought else None
    if not lasting:
        return Turn.ENDED if before.told is Told.DRIFT else None
    if before.told is Told.NOTHING:
        return Turn.BEGAN
    was = {pointer: spell.value for pointer, spell in before.lasting.items()}
    # What was not recorded of a value is no change of it.
    now_is = {pointer: spell.value if was.get(pointer) != "" else "" for pointer, spell in lasting.items()}
    return Turn.CHANGED if was != now_is else None
