"""Taking services away on command."""

from __future__ import annotations

import pytest

from reconciler.core.errors import UsageError
from reconciler.engine.destroy import destroy
from reconciler.engine.outcome import ApplyOptions
from reconciler.targets.memory.faults import Fault
from tests.daemon.rig import Rig, service


def made(rig: Rig, *wanted) -> None:
    """Commits and applies."""
    rig.commit(*wanted)
    reconciler = rig.parts().reconciler
    with rig.store.writing("apply"):
        reconciler.carry_out(reconciler.look(), ApplyOptions())


def gone(rig: Rig, *services: str, **more):
    """Destroys some services, or everything."""
    reconciler = rig.parts().reconciler
    with rig.store.writing("destroy"):
        return destroy(reconciler, frozenset(services) or None, by="me", **more)


def test_a_service_goes_with_all_that_is_its_own_and_nothing_else(rig: Rig):
    """Its resources go in the right order, the neighbour stays, and it is suspended so that it stays away."""
    made(rig, service("a"), service("b"), service("a2", needs=["east/service/a"]))
    outcome = gone(rig, "a")
    assert outcome.word == "applied"
    assert rig.worlds["east"].names() == ["service/a2", "service/b"]
    assert list(rig.store.suspensions()) == ["a"]
    assert rig.store.history()[0].data["by"] == "me"
    assert gone(rig, "a").results == ()


def test_everything_goes_when_all_is_asked_for(rig: Rig):
    """All services at all targets, each suspended, though rails would refuse such a commit."""
    made(rig, *(service(f"s{n}") for n in range(12)), service("b", "west"))
    gone(rig)
    assert [world.names() for world in rig.worlds.values()] == [[], []]
    assert rig.store.baselines() == {}
    assert len(rig.store.suspensions()) == 13


def test_what_is_protected_is_refused(rig: Rig):
    """Protection is taken away by a commit, never by a command; a refusal does not suspend either."""
    made(rig, service("a", policy={"protect": True}))
    outcome = gone(rig, "a")
    assert [r.code for r in outcome.refusals] == ["protected"]
    assert outcome.word == "refused"
    assert rig.store.suspensions() == {}
    assert rig.worlds["east"].names() == ["service/a"]


def test_what_a_protected_service_needs_stays_with_it(rig: Rig):
    """Everything else goes; of what is protected nothing is tried that could only fail."""
    made(rig, service("a"), service("b", policy={"protect": True}, needs=["east/service/a"]), service("c"))
    outcome = gone(rig)
    assert [r.code for r in outcome.refusals] == ["protected"]
    assert [(k.id.name, k.code) for k in outcome.plan.kept] == [("a", "in-use")]
    assert rig.worlds["east"].names() == ["service/a", "service/b"]
    assert list(rig.store.suspensions()) == ["c"]


def test_what_pruning_would_keep_goes_on_command(rig: Rig):
    """`prune: false` speaks of deletions that follow from Git."""
    made(rig, service("a", policy={"prune": False}))
    gone(rig, "a")
    assert rig.worlds["east"].names() == []


def test_what_is_not_ours_stays(rig: Rig):
    """A neighbour that somebody else made, and a copy of our own, are not touched."""
    made(rig, service("a"))
    rig.worlds["east"].put_foreign("service/x", {"image": "theirs"})
    rig.worlds["east"].copy("service/a", "service/copy")
    gone(rig)
    assert rig.worlds["east"].names() == ["service/copy", "service/x"]


def test_ours_by_mark_alone_is_recorded_and_then_deleted(rig: Rig):
    """A lost record does not keep a command from its work."""
    made(rig, service("a"))
    rig.store.forget(*rig.store.baselines())
    gone(rig, "a")
    assert rig.worlds["east"].names() == []
    assert rig.store.baselines() == {}


def test_a_target_out_of_sight_keeps_what_it_has(rig: Rig):
    """Nothing is deleted on missing information, and the outcome says so."""
    made(rig, service("a"))
    rig.worlds["east"].fault(Fault("list", "503", times=-1))
    outcome = gone(rig, "a")
    assert outcome.results == ()
    assert [k.code for k in outcome.plan.kept] == ["partial-observation"]


def test_a_service_that_is_not_there_is_a_slip(rig: Rig):
    """Nothing is suspended or deleted, and the near name is told."""
    made(rig, service("diabetes"))
    with pytest.raises(UsageError, match="no service 'diabets'") as caught:
        gone(rig, "diabets")
    assert "did you mean 'diabetes'" in caught.value.hint
    assert rig.store.suspensions() == {}


def test_it_works_though_other_manifests_have_errors(rig: Rig):
    """A command names what it means; errors elsewhere do not stand in its way."""
    made(rig, service("a"), service("b"))
    rig.commit(service("a"), {**service("b"), "broken": True})
    gone(rig, "a")
    assert rig.worlds["east"].names() == ["service/b"]
