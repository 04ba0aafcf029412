"""Commands beside a live daemon: what they ask for is done, or they are told why not."""

from __future__ import annotations

import threading

import pytest

from reconciler.core.change import Action, Step
from reconciler.core.errors import ReconcilerError, StaleError, TimedOutError, UsageError
from reconciler.core.resources import ResourceId
from reconciler.engine.clock import Cancel
from reconciler.engine.daemon.telling import Telling
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import ProgressEvent
from reconciler.engine.requests import RequestFailed, ask, daemon_of
from reconciler.engine.store import Store
from reconciler.engine.summary import Summary
from reconciler.targets.memory.faults import Fault
from tests.daemon.rig import Rig, service, until


def put(rig: Rig, kind: str, tell=lambda told: None, **data):
    """Asks as a command does: through a store of its own."""
    own = Store(rig.state / "state.db", rig.clock)
    try:
        timeout = data.pop("_timeout", 20.0)
        return ask(own, kind, data, clock=rig.clock, timeout=timeout, wake=rig.state / "wake", tell=tell)
    finally:
        own.close()


@pytest.fixture
def live(rig: Rig):
    rig.commit(service("a"), service("b", "west"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and len(s.report.services) == 2 and s.report.health == "Healthy")
        rig.daemon = daemon
        yield rig


def test_reconcile_answers_with_the_outcome_of_every_target(live: Rig):
    """Now means now: the newest commit is read, and each target has been looked at since."""
    answer = put(live, "reconcile", timeout=15)
    assert answer["timedOut"] is False
    assert set(answer["targets"]) == {"east", "west"}


def test_a_suspended_service_is_left_alone_until_it_is_resumed(live: Rig):
    """Suspending stops changes to it at once, resuming brings it up to date."""
    put(live, "suspend", service="a", by="me", reason="incident")
    live.commit(service("a", image="two"), service("b", "west", image="two"))
    until(lambda: live.worlds["west"].native("service/b")["image"] == "two")
    put(live, "reconcile")
    assert live.worlds["east"].native("service/a")["image"] == "one"
    put(live, "resume", service="a")
    until(lambda: live.worlds["east"].native("service/a")["image"] == "two")


def test_apply_carries_out_waits_for_health_and_sums_up(live: Rig):
    """The answer has what a command prints: changes, digest, exit code."""
    live.worlds["east"].remove("service/a")
    answer = Summary.from_json(put(live, "apply", by="me", timeout=15))
    assert answer.exit_code == 0
    assert live.worlds["east"].names() == ["service/a"]
    assert Summary.from_json(answer.to_json()) == answer


def test_whoever_asks_is_told_the_plan_before_anything_and_the_end_of_each_change(live: Rig):
    """Also what came between the last look at the request and its answer."""
    told = []
    put(live, "apply", timeout=15, tell=told.append)
    assert told[0]["plan"].startswith("Plan for main@")
    told.clear()
    put(live, "destroy", services=["a"], tell=told.append)
    assert (told[-1]["id"], told[-1]["action"], told[-1]["state"]) == ("east/service/a", "delete", "done")


def test_where_a_change_stays_is_told_once(rig: Rig):
    """However often a driver is called again while the target is at work."""
    seq = rig.store.enqueue("apply", {})
    telling = Telling(rig.store, seq, rig.clock)
    states = [State.CALLING, State.IN_PROGRESS] * 9 + [State.DONE]
    for state in states:
        telling(ProgressEvent(ResourceId("east", "service", "a"), Action.DELETE, Step.APPLY, state))
    told = telling.with_answer({"outcome": "applied"})["told"]
    assert [each["state"] for each in told] == ["calling", "in progress", "done"]


def test_apply_of_another_plan_than_the_one_seen_is_refused(live: Rig):
    """The digest that a person looked at must still be that of the plan."""
    with pytest.raises(RequestFailed, match="out of date") as caught:
        put(live, "apply", digest="0" * 64)
    assert caught.value.exit_code == 14


def test_apply_of_a_saved_plan_that_is_not_the_plan_any_more_is_refused(live: Rig):
    """Another commit supersedes it; another action is told by its resource; nothing is done."""
    sha = live.git("rev-parse", "HEAD")
    actions = {"east/service/new": ["0" * 64, ""]}
    saved = {"reviewed": {"digest": "0" * 64, "actions": actions}, "revision": sha}
    with pytest.raises(RequestFailed, match="changed meanwhile:\n  east/service/new") as caught:
        put(live, "apply", **saved)
    assert caught.value.exit_code == 14
    live.commit(service("a"), service("b", "west"))
    with pytest.raises(RequestFailed, match=f"superseded: it is of {sha[:7]}") as caught:
        put(live, "apply", **saved)
    assert caught.value.exit_code == 14


def test_apply_for_another_environment_than_the_daemons_is_refused(live: Rig):
    """A daemon keeps one environment; asked for its own by name it goes on."""
    with pytest.raises(RequestFailed, match="at work for no environment, so it applies no other") as caught:
        put(live, "apply", environment="staging")
    assert caught.value.exit_code == 13
    assert Summary.from_json(put(live, "apply", environment="", timeout=15)).exit_code == 0


def test_apply_of_manifests_with_errors_needs_to_be_asked_for(live: Rig):
    """All problems come back to the one who asked; nothing is applied."""
    live.commit(service("a", image="two"), {**service("b", "west"), "broken": True})
    with pytest.raises(RequestFailed, match="b is broken") as caught:
        put(live, "apply")
    assert caught.value.exit_code == 11


def test_a_failed_change_is_in_the_answer_with_its_exit_code(live: Rig):
    """What the target said is told, not a traceback."""
    live.worlds["east"].fault(Fault("write", "400"), Fault("stage", "400", times=-1))
    live.worlds["east"].remove("service/a")
    answer = Summary.from_json(put(live, "apply", ignoreHolds=True, timeout=15))
    assert answer.exit_code != 0
    assert [c.state for c in answer.changes] == ["failed"]


def test_rotating_a_key_counts_up_and_tells_no_key(live: Rig):
    """The answer says which rotation is valid now; the key itself is nowhere in the store."""
    assert put(live, "rotate-key", service="a", slot="primary") == {"service": "a", "slot": "primary", "rotation": 1}
    assert live.store.rotations() == {("a", "primary"): 1}
    with pytest.raises(RequestFailed, match="no key slot"):
        put(live, "rotate-key", service="a", slot="third")


def test_destroying_takes_a_service_away_and_keeps_it_away(live: Rig):
    """Git still names it; it is suspended, and comes back when it is resumed."""
    answer = Summary.from_json(put(live, "destroy", services=["a"], by="me"))
    assert [(c.action, c.state) for c in answer.changes] == [("delete", "done")]
    put(live, "reconcile")
    assert live.worlds["east"].names() == []
    assert live.worlds["west"].names() == ["service/b"]
    put(live, "resume", service="a")
    until(lambda: live.worlds["east"].names() == ["service/a"])


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("suspend", {"service": "aa"}, "no service 'aa'"),
        ("destroy", {"services": ["nope"]}, "no service 'nope'"),
        ("approve", {"digest": "abc"}, "whole digest"),
        ("suspend", {}, "no service is named"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(live: Rig, kind, data, text):
    """The daemon goes on, the command gets a message."""
    with pytest.raises(RequestFailed, match=text) as caught:
        put(live, kind, **data)
    assert caught.value.exit_code in (10, 11)


def test_a_command_without_a_daemon_is_told_so(rig: Rig):
    """The caller then does the work itself."""
    assert daemon_of(rig.store) is None
    with pytest.raises(StaleError, match="no daemon"):
        put(rig, "reconcile")
    with pytest.raises(UsageError, match="no request 'dance'"):
        put(rig, "dance")


def test_a_request_that_was_not_begun_in_time_is_taken_back(rig: Rig):
    """It is not carried out later, by surprise."""
    with rig.store.writing("daemon"), pytest.raises(TimedOutError, match="taken back"):
        put(rig, "reconcile", _timeout=0.3)
    assert rig.store.requests("queued") == []


def test_a_daemon_that_dies_meanwhile_is_noticed(rig: Rig):
    """The command does not wait for ever, and says what may have happened."""
    answers: list[ReconcilerError] = []

    def waiting() -> None:
        try:
            put(rig, "reconcile", _timeout=None)
        except ReconcilerError as exc:
            answers.append(exc)

    with rig.store.writing("daemon"):
        thread = threading.Thread(target=waiting)
        thread.start()
        until(lambda: rig.store.requests("queued"))
    thread.join(10)
    assert "went away" in answers[0].message


def test_a_command_that_is_interrupted_takes_its_request_back(rig: Rig):
    """Ctrl-C before the daemon began leaves nothing to do."""
    cancel = Cancel()
    cancel.request("interrupted")
    with rig.store.writing("daemon"), pytest.raises(StaleError, match="before the daemon began"):
        ask(rig.store, "reconcile", {}, clock=rig.clock, cancel=cancel)
    assert rig.store.requests("queued") == []


def test_what_an_earlier_daemon_had_begun_is_answered_by_the_next(rig: Rig):
    """A request never stays running for ever, and an old one is not carried out by surprise."""
    begun = rig.store.enqueue("apply", {})
    with rig.store.writing("daemon"):
        rig.store.begin(begun)
    old = rig.store.enqueue("suspend", {"service": "a"})
    with rig.store._engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE requests SET at = 0 WHERE seq = {old}")
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready)
        assert [rig.store.request(seq).state for seq in (begun, old)] == ["failed", "failed"]
    assert rig.store.suspensions() == {}
