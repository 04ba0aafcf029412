"""How drift is remembered: told once when it begins, changes, becomes a fight and ends; nothing in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Drift, DriftedField
from reconciler.core.drifting import (
    FIGHT_SECONDS,
    REMEMBERED_SECONDS,
    TIMES,
    WHOLE,
    Event,
    Memory,
    Noticed,
    Spell,
    Told,
    Turn,
    healed,
    noticed,
)
from reconciler.core.policy import FieldPolicy
from reconciler.core.resources import ResourceId
from reconciler.core.values import MISSING

from .conftest import QUICK
from .model import id_of

ONE = id_of("one")


def drift(values: Mapping[str, Any], *, policy: FieldPolicy = FieldPolicy.REPORT, gone: bool = False) -> Drift:
    """One resource of which these fields now read so."""
    return Drift(ONE, "one", tuple(DriftedField(p, 0, v, 0, policy) for p, v in values.items()), gone)


@dataclass
class Mind:
    """A memory through many looks."""

    known: dict[ResourceId, Memory] = field(default_factory=dict)
    now: float = 1_000_000.0
    writes: int = 0

    def take(self, made: Noticed) -> list[Event]:
        self.writes += len(made.changed) + len(made.forgotten)
        self.known = {i: m for i, m in self.known.items() if i not in made.forgotten} | {m.id: m for m in made.changed}
        return list(made.events)

    def look(self, *seen: Drift, after: float = 60.0, out_of_sight: bool = False) -> list[Event]:
        self.now += after
        return self.take(noticed(self.known, seen, () if out_of_sight else {ONE}, self.now))

    def heal(self, *taken: Drift) -> list[Event]:
        return self.take(healed(self.known, taken, {ONE}, self.now))


def turns(events: Sequence[Event]) -> list[str]:
    """Their turns."""
    return [event.turn.value for event in events]


def test_the_same_drift_is_told_and_written_once() -> None:
    """A hundred looks at one drift are one event and one write; then one recovery, with how long it lasted."""
    mind = Mind()
    told = [mind.look(drift({"/a": 1})) for _ in range(100)]
    assert [turns(events) for events in told] == [["began"], *[[]] * 99]
    assert mind.writes == 1
    assert mind.known[ONE].since == mind.now - 99 * 60
    (ended,) = mind.look()
    assert (ended.turn, ended.fields, ended.seconds, ended.healed) == (Turn.ENDED, ("/a",), 6000.0, False)
    assert [mind.look() for _ in range(100)] == [[]] * 100
    assert mind.writes == 2


def test_another_value_or_field_is_a_change_and_keeps_its_beginning() -> None:
    """What drifts further is told; since when stays what it was."""
    mind = Mind()
    mind.look(drift({"/a": 1}))
    began = mind.now
    assert turns(mind.look(drift({"/a": 2}))) == ["changed"]
    assert turns(mind.look(drift({"/a": 2, "/b": 1}))) == ["changed"]
    assert turns(mind.look(drift({"/a": 2, "/b": 1}))) == []
    assert mind.known[ONE].since == began
    assert turns(mind.look(drift({"/b": 1}))) == ["changed"]
    assert [*mind.known[ONE].lasting] == ["/b"]


def test_what_cannot_be_seen_has_not_ended() -> None:
    """An incomplete look says nothing about drift that it does not show."""
    mind = Mind()
    mind.look(drift({"/a": 1}))
    assert mind.look(out_of_sight=True) == []
    assert mind.writes == 1
    assert turns(mind.look()) == ["ended"]


def test_taking_it_back_ends_it_at_once() -> None:
    """Fields that a change wrote have ended, by us; reported ones of the same resource last."""
    mind = Mind()
    both = Drift(ONE, "one", (DriftedField("/a", 0, 1), DriftedField("/b", 0, 1, policy=FieldPolicy.REPORT)))
    mind.look(both)
    assert turns(mind.heal(both)) == ["changed"]
    assert [*mind.known[ONE].lasting] == ["/b"]
    mind = Mind()
    mind.look(drift({"/a": MISSING}, policy=FieldPolicy.HEAL))
    (ended,) = mind.heal(drift({"/a": MISSING}, policy=FieldPolicy.HEAL))
    assert (ended.turn, ended.healed) == (Turn.ENDED, True)
    assert mind.look() == []
    assert Mind().heal(drift({"/a": 1})) == []


def test_a_resource_that_is_gone_drifts_as_a_whole() -> None:
    """Being gone is drift of its own, and ends when it is back."""
    mind = Mind()
    (began,) = mind.look(drift({}, gone=True))
    assert began.fields == (WHOLE,)
    assert turns(mind.look(drift({}, gone=True))) == []
    assert turns(mind.heal(drift({}, gone=True))) == ["ended"]


def test_what_comes_back_again_and_again_is_a_fight_and_told_once() -> None:
    """The third time within a day is called a fight; after that there is silence until it has been calm for a day."""
    mind = Mind()
    healing = drift({"/a": 1}, policy=FieldPolicy.HEAL)
    told = [[*mind.look(healing), *mind.heal(healing)] for _ in range(50)]
    assert [turns(events) for events in told[:3]] == [["began", "ended"], ["began", "ended"], ["fight"]]
    assert told[3:] == [[]] * 47
    spell = mind.known[ONE].spells["/a"]
    assert (spell.count, len(spell.times), spell.fought(mind.now)) == (50, TIMES, True)
    assert mind.known[ONE].fought(mind.now) == ["/a"]
    calm = [turn for _ in range(30) for turn in turns(mind.look(after=3600.0))]
    assert calm == ["ended"]
    assert turns(mind.look(healing)) == ["began"]


def test_what_lasts_is_no_fight() -> None:
    """Drift that is never taken back, or comes back once in a while, is no fight."""
    mind = Mind()
    assert all("fight" not in turns(mind.look(drift({"/a": 1}))) for _ in range(100))
    rarely = drift({"/b": 1}, policy=FieldPolicy.HEAL)
    for _ in range(10):
        assert "fight" not in turns(mind.look(rarely, after=FIGHT_SECONDS / 2 + 1))
        mind.heal(rarely)


def test_what_has_long_ended_is_forgotten() -> None:
    """After a week without drift nothing is remembered, which is one write."""
    mind = Mind()
    mind.look(drift({"/a": 1}))
    mind.look()
    assert mind.look(after=REMEMBERED_SECONDS - 100) == []
    assert mind.known
    writes = mind.writes
    mind.look(after=200)
    mind.look()
    assert not mind.known
    assert mind.writes == writes + 1


def test_values_that_an_older_release_did_not_record_are_no_change() -> None:
    """What was remembered without its value is filled in without a word."""
    mind = Mind({ONE: Memory(ONE, "one", {"/a": Spell("", (5.0,), 2)}, Told.DRIFT)})
    assert mind.look(drift({"/a": 1})) == []
    assert mind.known[ONE].spells["/a"].value
    assert turns(mind.look(drift({"/a": 2}))) == ["changed"]


LOOKS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["/a", "/b"]), st.integers(0, 2), max_size=2),
        st.booleans(),
        st.sampled_from([1.0, 3600.0, FIGHT_SECONDS, REMEMBERED_SECONDS]),
        st.booleans(),
    ),
    max_size=30,
)


@QUICK
@given(LOOKS)
def test_whatever_is_seen_the_second_look_at_it_says_and_writes_nothing(looks: list[Any]) -> None:
    """Looking again at the same changes nothing, and events tell the truth: they begin, change, then end."""
    mind = Mind()
    told = False
    for values, gone, after, heal in looks:
        seen = [drift(values, policy=FieldPolicy.HEAL, gone=gone)] if values or gone else []
        events = mind.look(*seen, after=after)
        before = (dict(mind.known), mind.writes)
        assert mind.look(*seen, after=0.0) == []
        assert (mind.known, mind.writes) == before
        events += mind.heal(*seen) if heal else []
        for event in events:
            assert told == (event.turn in (Turn.CHANGED, Turn.ENDED)) or event.turn is Turn.FIGHT
            told = event.turn is not Turn.ENDED
        lasting = mind.known[ONE].lasting if ONE in mind.known else {}
        assert lasting.keys() == (set() if heal else {*values, *([WHOLE] if gone else [])})
