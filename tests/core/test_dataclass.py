"""Our `dataclass` does what the standard library's does, later."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core import dataclass as ours

OPTIONS = [
    {},
    {"frozen": True},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "order": True},
    {"frozen": True, "eq": False},
]


def pair(options: dict[str, bool]) -> tuple[Any, Any]:
    """The same class by both decorators."""
    made: list[Any] = []
    for module in (dataclasses, ours):

        class Shape:
            """A class with every kind of field that is used here."""

            most: ClassVar[int] = 7
            name: str
            size: int = 3
            tags: dict[str, int] = module.field(default_factory=dict)
            hidden: str = module.field(default="h", repr=False)
            apart: str = module.field(default="a", compare=False)
            later: list[int] = module.field(default_factory=list, init=False)

            @property
            def twice(self) -> int:
                """Something that is no field."""
                return self.size * 2

        made.append(module.dataclass(**options)(Shape))
    return made[0], made[1]


ARGUMENTS = st.fixed_dictionaries(
    {"name": st.sampled_from("abc")},
    optional={
        "size": st.integers(0, 2) | st.just(float("nan")),
        "tags": st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=1),
        "hidden": st.sampled_from("hi"),
        "apart": st.sampled_from("ab"),
    },
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@settings(max_examples=25, deadline=None)
@given(ARGUMENTS, ARGUMENTS)
def test_like_the_standard_library(options: dict[str, bool], one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same texts, comparisons, hashes, orders, copies and replacements, whatever is called first."""
    standard, own = pair(options)
    (a, b), (c, d) = ((kind(**one), kind(**other)) for kind in (standard, own))
    assert repr(a) == repr(c)
    assert (a == b, a != b, a == a, a == one) == (c == d, c != d, c == c, c == one)
    for sign in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert _tried(lambda left, right, sign=sign: getattr(left, sign)(right), a, b) == _tried(
            lambda left, right, sign=sign: getattr(left, sign)(right), c, d
        )
    assert _tried(hash, a) == _tried(hash, c) or options == {"frozen": True, "eq": False}
    assert repr(dataclasses.replace(b, size=9)) == repr(ours.replace(d, size=9)) == repr(dataclasses.replace(d, size=9))
    assert dataclasses.asdict(a) == dataclasses.asdict(c)
    assert [(f.name, f.init, f.repr, f.compare) for f in dataclasses.fields(a)] == [
        (f.name, f.init, f.repr, f.compare) for f in dataclasses.fields(c)
    ]
    assert repr(copy.copy(c)) == repr(copy.deepcopy(c)) == repr(c)
    assert own.__match_args__ == standard.__match_args__
    assert repr((c.most, c.twice, c.later)) == repr((a.most, a.twice, a.later))


def _tried(what: Any, *given_: Any) -> Any:
    try:
        return what(*given_)
    except (TypeError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_cannot_be_done(options: dict[str, bool]) -> None:
    """Wrong arguments, writing to a frozen one, adding to one with slots."""
    for kind in pair(options):
        for arguments in ((), ("a", 1, {}, "h", "a", 6), ("a", "b")):
            assert _tried(lambda *given_, kind=kind: bool(kind(*given_)), *arguments) == (
                True if arguments == ("a", "b") else TypeError
            )
        one = kind("a")
        for change in (lambda one: setattr(one, "size", 4), lambda one: delattr(one, "size")):
            if options.get("frozen"):
                with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
                    change(one)
            else:
                change(one)
        if options.get("slots"):
            with pytest.raises((AttributeError, TypeError)):
                one.other = 1
        elif not options.get("frozen"):
            one.other = 1


def test_a_mutable_default_is_refused() -> None:
    """Nobody shares a list by accident."""

    class Shape:
        items: list[int] = []

    with pytest.raises(ValueError, match="items"):
        ours.dataclass(Shape)


@ours.dataclass(frozen=True, slots=True)
class Kept:
    """For pickling, which finds classes by name."""

    name: str
    size: int = 2


def test_pickles() -> None:
    """A value passes between processes."""
    assert pickle.loads(pickle.dumps(Kept("a", 5))) == Kept("a", 5)


def test_methods_of_the_class_stay() -> None:
    """Its own methods win; what runs after `__init__` runs; properties are cached where there is room."""

    @ours.dataclass(frozen=True)
    class Shape:
        name: str
        seen: list[str] = ours.field(default_factory=list)

        def __post_init__(self) -> None:
            self.seen.append(self.name)

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 4

        def __repr__(self) -> str:
            return "mine"

        @cached_property
        def long(self) -> int:
            """Computed once."""
            return len(self.seen)

    one = Shape("a")
    assert (one.seen, one == 5, hash(one), repr(one), one.long) == (["a"], True, 4, "mine", 1)
    one.seen.append("b")
    assert one.long == 1


def test_many_threads_use_a_class_first() -> None:
    """Methods are built by whoever comes first, and by several at once without harm."""
    _, own = pair({"frozen": True, "slots": True})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: (own(str(n)) == own(str(n)), repr(own("x"))), range(200)))
    assert {equal for equal, _ in found} == {True}
    assert len({text for _, text in found}) == 1
