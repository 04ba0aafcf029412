"""Looking at targets: what reads as before is the same object as before, whatever a driver builds anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.driver import Capabilities
from reconciler.core.errors import UnavailableError
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId
from reconciler.engine.observing import Observer


@dataclass
class Shown:
    """A target that shows what it is told to, in new objects at each look."""

    target: str = "t"
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(kinds=frozenset({"thing"})))
    there: dict[str, int] | None = None
    asked: list[ResourceId] = field(default_factory=list)

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All of it."""
        self.asked = list(known)
        if self.there is None:
            raise UnavailableError("down")
        ids = {name: ResourceId(self.target, "thing", name) for name in self.there}
        found = {id_: Observed(id_, {"a": self.there[name]}) for name, id_ in ids.items()}
        return Observation(self.target, Completeness.COMPLETE, found)


LOOKS = st.lists(st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.integers(0, 1))), max_size=8)


@given(LOOKS)
def test_what_reads_as_before_is_the_same_object(looks: list[dict[str, int] | None]) -> None:
    """Each observation has what the driver says, in the objects of the last answer where these say the same."""
    target, observer = Shown(), Observer()
    before: Observation | None = None
    for there in looks:
        target.there = there
        seen = observer.all({"t": target}, [])["t"]
        if there is None:
            assert seen == Observation("t", Completeness.UNAVAILABLE, missing="down")
            continue
        assert seen == replace(target.observe([]), resources=seen.resources)
        assert seen.resources == target.observe([]).resources
        if before is not None:
            for id_, observed in seen.resources.items():
                assert (before.resources.get(id_) is observed) == (before.resources.get(id_) == observed)
        before = seen


def test_each_target_is_asked_for_its_own() -> None:
    """Ids go to their target once, also after others were asked for, and those of no target in scope to none."""
    one, two = Shown("one", there={}), Shown("two", there={})
    observer = Observer()
    ids = [ResourceId(target, "thing", name) for target in ("one", "two", "three") for name in "ab"]
    for given_, drivers in (([*ids, *ids], (one, two)), (ids, (one, two)), (ids, (two,)), (ids[1:], (one, two))):
        one.asked = two.asked = []
        observer.all({driver.target: driver for driver in drivers}, given_)
        for driver in (one, two):
            expected = [id_ for id_ in given_ if id_.target == driver.target] if driver in drivers else []
            assert driver.asked == list(dict.fromkeys(expected))
