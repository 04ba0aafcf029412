"""The engine over memory targets: what the world looks like afterwards, whatever goes wrong on the way.

Drivers are tested in tests/contract, planning in tests/core.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from reconciler.core.change import Action, Change, Step
from reconciler.core.drifting import noticed
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import StaleError
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.resources import Observation, ResourceId
from reconciler.engine.approvals import approve
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import ApplyOptions
from reconciler.engine.store import Store
from reconciler.engine.summary import exit_code_of
from reconciler.targets.memory.driver import CAPABILITIES, MemoryDriver
from reconciler.targets.memory.faults import Crashed, Fault
from reconciler.targets.memory.world import World
from tests.engine.harness import ALWAYS_FINE, INSTALLATION, House, digest_of, service, source


@pytest.fixture
def house(store: Store, clock) -> House:
    return House(store, clock, {"east": World(), "west": World()})


@pytest.fixture
def answers():
    """A server that answers every request with the status its path ends in."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(int(self.server.answer))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = 200
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_git_wants_is_made_and_then_left_alone(house: House):
    """The second reconcile writes nothing at the target and nothing in the record."""
    house.want(service("a"), service("b", "west"))

    first = house.go()
    before = (len(house.worlds["east"].writes), house.store.baselines(), house.store.history())
    second = house.go()

    assert first.word == "applied"
    assert {str(r.id) for r in first.results} == {"east/service/a", "west/service/b"}
    assert not second.results
    assert (len(house.worlds["east"].writes), house.store.baselines(), house.store.history()) == before


def test_a_dependency_at_another_target_comes_first_and_gives_its_output(house: House):
    """An unknown is filled in from the answer of what was applied just before."""
    made = source("image", "bytes", "west")
    house.want(service("a", image=digest_of(made), needs=[str(made.id)]), made)

    outcome = house.go()

    assert outcome.word == "applied"
    native = house.worlds["east"].native("service/a")
    assert native["image"].startswith("sha256:")
    assert house.plan().empty


def test_what_depends_on_a_failure_is_skipped_and_the_rest_goes_on(house: House):
    """Independent branches are carried out; the dependent one says what it waited for."""
    made = source("image", "bytes", "west")
    house.worlds["west"].fault(Fault("write", "403", times=-1))
    house.want(service("a", image=digest_of(made), needs=[str(made.id)]), made, service("b"))

    outcome = house.go(wait=False)

    states = {str(r.id): r.state for r in outcome.results}
    assert states == {
        "west/source/image": State.FAILED,
        "east/service/a": State.SKIPPED,
        "east/service/b": State.DONE,
    }
    assert outcome.word == "partly"


def test_slow_work_is_observed_until_it_is_done(house: House):
    """A target that only says that it works on it is looked at, not believed."""
    house.worlds["east"].slow("write", 4)
    house.want(service("a", kind="plain"))

    assert house.go().word == "applied"
    assert house.plan().empty


def test_what_is_not_done_in_time_says_what_it_waits_for(house: House):
    """It is handed over, with the target's last word."""
    house.worlds["east"].slow("write", 10**6)
    house.want(service("a", kind="plain", crashes="no node takes it"))

    outcome = house.go(timeout=30)

    assert outcome.results[0].state is State.HANDED_OVER
    assert outcome.results[0].reason == "out of time; no node takes it"


def test_a_run_waits_for_what_an_earlier_one_began(house: House):
    """Who does not wait, or not long enough, is told; who waits sees it end and goes on."""
    told: list[str] = []
    house.on_progress = lambda event: told.append(event.text)
    house.worlds["east"].slow("write", 40)
    house.want(service("a", kind="plain"))
    assert house.go(timeout=0.5).results[0].state is State.HANDED_OVER
    house.want(service("a", kind="plain", image="two"), service("b", "west"))

    hasty = house.go(wait=False)
    assert "until an earlier operation on it has ended" not in told, "it does not wait"
    short = house.go(timeout=0.5)

    assert [str(r.id) for r in hasty.results] == ["west/service/b"], "the rest is done meanwhile"
    assert not short.results
    assert exit_code_of(hasty) == exit_code_of(short) == 15
    patient = house.go()
    assert exit_code_of(patient) == 0
    assert "until an earlier operation on it has ended" in told
    assert house.worlds["east"].native("plain/a")["image"] == "two"
    assert house.plan().empty


def test_a_run_waits_for_a_deletion_that_an_earlier_one_began(house: House):
    """It is over when the resource is gone: who does not wait for that is told by the exit code."""
    house.want(service("a", kind="plain"))
    assert house.go().word == "applied"
    house.worlds["east"].slow("delete", 40)
    house.want(service("b", kind="plain"))
    assert State.HANDED_OVER in [r.state for r in house.go(timeout=0.5).results]
    hasty = house.go(wait=False)
    assert [kept.code for kept in hasty.plan.kept] == ["busy"]
    assert exit_code_of(hasty) == 15
    assert exit_code_of(house.go()) == 0
    assert house.worlds["east"].names() == ["plain/b"]
    assert house.plan().empty


def test_a_passing_error_is_tried_again(house: House):
    """A 503 and a 429 with its own pause end in success within one run."""
    house.worlds["east"].fault(Fault("write", "503"), Fault("write", "429", retry_after=3.0))
    house.want(service("a", kind="plain"))

    assert house.go().word == "applied"


def test_a_staying_error_is_held_back_longer_each_time_and_a_new_commit_lifts_it(house: House, clock):
    """The hold names the reason; another version is tried at once."""
    house.worlds["east"].fault(Fault("write", "422", times=2))
    house.want(service("a", kind="plain"))
    house.go(wait=False)

    blocked = house.plan().blocked
    assert len(blocked) == 1
    assert "tried again in" in blocked[0].reason
    clock.advance(11)
    house.go(wait=False)
    hold, attempts = next(iter(house.store.holds().values()))
    assert attempts == 2
    assert hold.until - clock.now() == pytest.approx(20, abs=1)

    house.want(service("a", kind="plain", image="two"))
    assert house.go().word == "applied"
    assert not house.store.holds()


def test_a_stale_version_is_looked_at_again_and_applied(house: House):
    """A conflict leads to a new plan in the same run."""
    house.want(service("a", kind="plain"))
    house.go()
    house.worlds["east"].fault(Fault("write", "412"))
    house.want(service("a", kind="plain", image="two"))

    assert house.go().word == "applied"
    assert house.worlds["east"].native("plain/a")["image"] == "two"


def test_a_version_that_fails_its_tests_is_discarded_and_the_old_one_stays(house: House, answers):
    """Traffic never moves to what did not pass; the result says which test failed."""
    world = house.worlds["east"]
    world.serve("service/a", answers.url, staged=True)
    house.want(service("a", tests=[ALWAYS_FINE]))
    first = house.go()
    assert first.word == "applied", first.results

    answers.answer = 500
    house.want(service("a", image="two", tests=[ALWAYS_FINE]))
    outcome = house.go(wait=False)

    assert outcome.results[0].code == "tests-failed"
    assert "answers: status 500 instead of 200" in outcome.results[0].reason
    assert world.native("service/a")["image"] == "one"
    assert house.store.baselines()[outcome.results[0].id].pending is None


def test_a_version_that_cannot_be_asked_for_a_moment_is_asked_again(house: House, answers):
    """A way to it that is not there yet says nothing of the version."""
    world = house.worlds["east"]
    world.serve("service/a", answers.url, staged=True)
    world.fault(Fault("way", "503", times=3))
    seen: list[Any] = []
    house.on_progress = lambda event: seen.append((event.state, event.text))
    house.want(service("a", tests=[ALWAYS_FINE]))
    outcome = house.go()
    assert outcome.word == "applied", outcome.results
    waits = [text for state, text in seen if state is State.TESTING and text]
    assert len(waits) == 3
    assert all("503" in text for text in waits)


@pytest.mark.parametrize("kind", ["plain", "service"])
def test_a_version_that_can_never_be_asked_does_not_stay(house: House, answers, kind: str):
    """Nobody knows whether it works: it goes as one that failed, and the reason is why nobody could ask."""
    world = house.worlds["east"]
    world.serve(f"{kind}/a", answers.url, staged=kind == "service")
    house.want(service("a", kind=kind, tests=[ALWAYS_FINE]))
    assert house.go().word == "applied"
    world.fault(Fault("way", "403", times=-1))
    house.want(service("a", kind=kind, image="two", tests=[ALWAYS_FINE]))
    (result,) = house.go(wait=False).results
    assert (result.state, result.code) == (State.FAILED, "access")
    assert result.reason.startswith("it cannot be tested: target east: ")
    assert result.hint
    assert world.native(f"{kind}/a")["image"] == "one"
    assert house.store.baselines()[result.id].pending is None


def test_a_target_that_is_gone_while_it_is_to_be_asked(house: House, answers):
    """What was made is neither taken for good nor undone: the next run asks again."""
    world = house.worlds["east"]
    world.serve("service/a", answers.url, staged=True)
    world.fault(Fault("way", "503", times=-1))
    house.want(service("a", tests=[ALWAYS_FINE]))
    (result,) = house.go(wait=False).results
    assert (result.state, result.code) == (State.FAILED, "target-unavailable")
    assert house.store.baselines()[result.id].pending is not None
    world.clear_faults()
    assert house.go(ignore_holds=True).word == "applied"
    assert house.plan().empty


def test_what_cannot_be_staged_goes_back_when_its_tests_fail(house: House, answers):
    """The previous version is applied again; the record is what it was."""
    world = house.worlds["east"]
    world.serve("plain/a", answers.url)
    house.want(service("a", kind="plain", tests=[ALWAYS_FINE]))
    assert house.go().word == "applied"

    answers.answer = 500
    house.want(service("a", kind="plain", image="two", tests=[ALWAYS_FINE]))
    outcome = house.go(wait=False)

    assert outcome.results[0].state is State.FAILED
    assert world.native("plain/a")["image"] == "one"
    assert house.plan().blocked


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["plain", "service"])
def test_what_was_not_tested_is_tested_by_the_next_run(house: House, answers, kind: str, first: bool):
    """A run that ends before the tests leaves nothing behind that counts as applied without them."""
    world = house.worlds["east"]
    world.serve(f"{kind}/a", answers.url)
    world.serve(f"{kind}/a", answers.url, staged=True)
    if not first:
        house.want(service("a", kind=kind, tests=[ALWAYS_FINE]))
        assert house.go().word == "applied"
    cancel = Cancel()

    def stop(event: Any) -> None:
        if event.state is State.TESTING:
            cancel.request("interrupted")

    house.on_progress = stop
    answers.answer = 500
    house.want(service("a", kind=kind, image="two", tests=[ALWAYS_FINE]))
    assert house.go(cancel, wait=False).results[0].state is State.HANDED_OVER
    house.on_progress = lambda event: None
    (change,) = house.plan().effective()
    assert Step.TEST in change.steps
    assert house.plan().pending
    (result,) = house.go().results
    assert (result.state, result.code) == (State.FAILED, "tests-failed")
    there = world.native(f"{kind}/a")
    assert (there and there["image"]) == (None if first else "one")
    pending = [baseline.pending for baseline in house.store.baselines().values()]
    assert pending == ([] if first else [None])
    answers.answer = 200
    assert house.go(ignore_holds=True).word == "applied"
    assert house.plan().empty


@pytest.mark.parametrize(("op", "first"), [("delete", True), ("write", False)])
def test_a_change_in_the_middle_of_undoing_does_not_make_it_applied(house: House, answers, op: str, first: bool):
    """What stands there is looked at again, and undone."""
    world = house.worlds["east"]
    world.serve("plain/a", answers.url)
    if not first:
        house.want(service("a", kind="plain", tests=[ALWAYS_FINE]))
        assert house.go().word == "applied"
    answers.answer = 500
    world.fault(Fault(op, "412", skip=0 if first else 1))
    house.want(service("a", kind="plain", image="two", tests=[ALWAYS_FINE]))
    outcome = house.go(wait=False)
    assert exit_code_of(outcome) == 16
    there = world.native("plain/a")
    assert (there and there["image"]) == (None if first else "one")


@pytest.mark.parametrize(("times", "there"), [(2, "one"), (-1, "one")])
def test_why_a_version_was_taken_back_stays_its_reason(house: House, answers, times: int, there: str):
    """Whatever goes wrong while it is undone; what does is told after it."""
    world = house.worlds["east"]
    world.serve("service/a", answers.url, staged=True)
    house.want(service("a", tests=[ALWAYS_FINE]))
    assert house.go().word == "applied"
    answers.answer = 500
    world.fault(Fault("discard", "503", times=times))
    house.want(service("a", image="two", tests=[ALWAYS_FINE]))
    (result,) = house.go(wait=False).results
    assert result.code == "tests-failed"
    assert result.reason.startswith("test answers: status 500 instead of 200")
    assert ("undoing it failed: target east: the server answered 503" in result.reason) is (times < 0)
    assert world.native("service/a")["image"] == there


def test_a_target_that_asks_for_more_time_than_there_is(house: House, clock):
    """The deadline stands, and what it waited for is in the reason."""
    house.worlds["east"].fault(Fault("write", "429", retry_after=30 * 86400.0))
    house.want(service("a"))
    began = clock.monotonic()
    (result,) = house.go(wait=False).results
    limit = house.drivers["east"].capabilities.deadline_seconds
    assert clock.monotonic() - began <= limit + 60
    assert (result.state, result.code) == (State.FAILED, "timed-out")
    assert result.reason.startswith(f"not done within {limit:.0f} s; target east: ")


@pytest.mark.parametrize("kind", ["plain", "service"])
def test_nothing_is_undone_by_whoever_lost_the_lease(house: House, answers, kind: str):
    """The next one may have begun to: neither the version before comes back, nor goes what is staged."""
    world = house.worlds["east"]
    world.serve(f"{kind}/a", answers.url, staged=kind == "service")
    house.want(service("a", kind=kind, tests=[ALWAYS_FINE]))
    assert house.go().word == "applied"
    writes: list[int] = []

    def lose(event: Any) -> None:
        if event.state is State.UNDOING and not writes:
            writes.append(len(world.writes))
            lease = house.store.last_lease()
            assert lease is not None
            # Of the same process: what it would note of that is refused already.
            with contextlib.suppress(StaleError):
                house.store.end_lease(lease.fence, "another one")

    house.on_progress = lose
    answers.answer = 500
    house.want(service("a", kind=kind, image="two", tests=[ALWAYS_FINE]))
    with pytest.raises(StaleError):
        house.go(wait=False)
    assert [len(world.writes)] == writes


def test_a_version_that_does_not_come_up_is_not_judged_by_the_one_before(house: House, answers):
    """The old one still answers; the new one goes back, and the reason is why it did not come up."""
    world = house.worlds["east"]
    world.serve("plain/a", answers.url)
    house.want(service("a", kind="plain", tests=[ALWAYS_FINE]))
    assert house.go().word == "applied"

    house.want(service("a", kind="plain", image="two", crashes="ended with exit code 2", tests=[ALWAYS_FINE]))
    outcome = house.go(wait=False)

    assert (outcome.results[0].code, outcome.results[0].reason) == ("not-ready", "ended with exit code 2")
    assert world.native("plain/a")["image"] == "one"


def test_what_git_no_longer_names_is_deleted_after_its_dependents(house: House):
    """The order of deleting is that of making, reversed, also across targets."""
    made = source("image", "bytes", "west")
    house.want(
        service("a", image=digest_of(made), needs=[str(made.id)]), made, service("keep"), service("keep", "west")
    )
    house.go()
    ended: list[str] = []
    house.on_progress = lambda event: ended.append(str(event.id)) if event.state is State.DONE else None

    house.want(service("keep"), service("keep", "west"))
    house.go()

    assert ended == ["east/service/a", "west/source/image"]
    assert house.worlds["east"].names() == ["service/keep"]


def test_a_delete_needs_two_looks_that_agree(house: House):
    """A second reading that fails keeps what the first one would have deleted."""
    house.want(service("a"), service("b"))
    house.go()
    house.want(service("b"))
    house.worlds["east"].fault(Fault("list", "500", skip=1))

    house.go()

    assert "service/a" in house.worlds["east"].names()
    house.go()
    assert "service/a" not in house.worlds["east"].names()


def test_one_target_down_blinds_no_other(house: House):
    """The other target's changes are carried out; those of the lost one are blocked with the reason."""
    house.want(service("a"), service("b", "west"))
    house.worlds["east"].fault(Fault("list", "broken", times=-1))

    outcome = house.go(wait=False)

    assert [str(r.id) for r in outcome.results] == ["west/service/b"]
    assert [str(b.id) for b in outcome.plan.blocked] == ["east/service/a"]


def kinds(house: House) -> list[str]:
    """What stands in the history, oldest first."""
    return [attempt.outcome for attempt in reversed(house.store.history(1000))]


def test_drift_that_is_healed_is_noted_with_its_end(house: House):
    """It is found, taken back and over in one run; when it returns it is noted again, with how often."""
    house.want(service("a"))
    house.go()
    for times in (1, 2):
        house.worlds["east"].edit("service/a", "/image", "other", by="ann")
        outcome = house.go()
        assert [(f.pointer, f.left, f.now) for f in outcome.plan.drift[0].fields] == [("/image", "one", "other")]
        assert {str(i) for i in outcome.healed} == {"east/service/a"}
        assert house.worlds["east"].native("service/a")["image"] == "one"
        noted = {a.outcome: a.data for a in house.store.history(3)}
        assert (noted["drift"]["times"], noted["drift"].get("by")) == (times, "ann")
        assert (noted["recovered"]["fields"], noted["recovered"]["healed"]) == (["/image"], True)
    assert kinds(house) == ["applied", *["drift", "recovered", "applied"] * 2]
    (memory,) = house.store.drift().values()
    assert (memory.lasting, memory.spells["/image"].count) == ({}, 2)


def test_the_same_reported_drift_is_noted_once_however_often_it_is_seen(house: House):
    """A hundred reconciles of one drift under `report` leave one note and no other write; then one recovery."""
    house.want(service("a", policy=Policy(rules=(DriftRule("/image", FieldPolicy.REPORT),))))
    house.go()
    house.worlds["east"].edit("service/a", "/image", "other")
    house.go()
    rows = house.store.history(1000), house.store.drift(), dict(house.store.baselines())
    since = house.store.drift()[ResourceId("east", "service", "a")].since
    with capture_logs() as lines:
        for _ in range(99):
            house.clock.advance(60)
            outcome = house.go()
            assert (outcome.plan.empty, outcome.healed) == (True, frozenset())
    assert not lines
    assert (house.store.history(1000), house.store.drift(), dict(house.store.baselines())) == rows
    assert since is not None
    assert house.reconciler.look().report.services[0].drift_since == since
    house.worlds["east"].edit("service/a", "/image", "one")
    with capture_logs() as lines:
        for _ in range(10):
            house.go()
    assert [line["event"] for line in lines] == ["drift ended"]
    assert kinds(house) == ["applied", "drift", "recovered"]
    ended = house.store.history(1)[0].data
    assert (ended["healed"], ended["seconds"]) == (False, 99 * 60.0)


def test_a_fight_with_another_writer_is_told_once(house: House):
    """What comes back each time it is taken back is called a fight; nothing more is noted while it goes on."""
    house.want(service("a"))
    house.go()
    for _ in range(20):
        house.worlds["east"].edit("service/a", "/image", "other")
        assert house.go().healed
    turns = [a.data.get("turn") for a in reversed(house.store.history(1000)) if a.outcome in ("drift", "recovered")]
    assert turns == ["began", "ended", "began", "ended", "fight"]


def test_drift_of_another_target_is_left_to_its_own_run(house: House):
    """A run of one target neither notes nor ends what drifts at another."""
    house.want(service("a"), service("b", "west"))
    house.go()
    house.worlds["west"].edit("service/b", "/image", "other")
    house.go(targets=frozenset({"east"}))
    assert kinds(house) == ["applied"]
    house.store.put_drift(*noticed({}, house.plan().drift, (), 1.0).changed)
    house.worlds["west"].edit("service/b", "/image", "one")
    house.go(targets=frozenset({"east"}))
    assert house.store.drift()[ResourceId("west", "service", "b")].lasting


def test_a_service_that_moves_serves_at_its_new_target_before_it_goes_at_the_old(house: House):
    """Moving leaves no gap; where the new target cannot take it, the old one keeps it."""
    house.want(service("a"), service("keep"))
    house.go()
    ended: list[str] = []
    house.on_progress = lambda event: ended.append(str(event.id)) if event.state is State.DONE else None
    house.worlds["west"].fault(Fault("write", "422"))

    house.want(service("a", "west"), service("keep"))
    house.go(wait=False)
    assert "service/a" in house.worlds["east"].names()
    held = house.go(wait=False)
    assert [k.code for k in held.plan.kept] == ["moves-first"]
    assert "service/a" in house.worlds["east"].names()
    house.go(ignore_holds=True)

    assert ended == ["west/service/a", "east/service/a"]


def test_an_explicit_removal_stays_one_until_it_is_done(house: House):
    """Taken out while its target was away, it goes when the target is back, although nothing is left there then."""
    house.want(service("a"), service("b"), service("c", "west"))
    house.go()
    house.want(service("c", "west"))
    house.worlds["east"].fault(Fault("list", "500", times=-1))
    away = house.go()
    assert away.plan.count(Action.DELETE) == 0
    house.worlds["east"].clear_faults()

    back = house.go()

    assert (back.refusals, house.worlds["east"].names()) == ((), [])
    assert house.store.fact("services/east") == []


def test_what_only_the_second_look_finds_is_not_deleted(house: House):
    """A resource that the first of the two looks missed is kept; the next reconcile takes it."""
    house.want(service("a"), service("b"), service("c"))
    house.go()
    house.want(service("c"))
    east = house.worlds["east"]
    native, mark = east.native("service/b"), east.mark("service/b")
    east.remove("service/b")
    with house.store.writing("test"):
        look = house.reconciler.look()
        east.put_foreign("service/b", native, mark)
        outcome = house.reconciler.carry_out(look, ApplyOptions())

    assert [(k.id.name, k.code) for k in outcome.plan.kept] == [("b", "seen-once")]
    assert east.names() == ["service/b", "service/c"]
    house.go()
    assert east.names() == ["service/c"]


def test_the_record_says_who_let_a_rail_pass(house: House):
    """By flag or by approval: history has the code, the numbers and the name; a limit that is too low lifts nothing."""
    names = [f"s{n:02}" for n in range(20)]
    house.want(*map(service, names))
    house.go()
    house.want(*map(service, names[8:]))
    assert [r.code for r in house.go(max_delete_percent=39.0).refusals] == ["too-many-deletes"]
    house.go(max_delete_percent=40.0, by="ann@laptop")
    (lifted,) = house.store.history(1)[0].data["lifted"]
    assert (lifted["code"], lifted["by"]) == ("too-many-deletes", "ann@laptop")
    assert "40.0 %" in lifted["message"]

    house.want(*map(service, names[14:]))
    refused = house.go(by="bob@laptop")
    approve(house.store, refused.plan.digest, "cleo", house.clock.now())
    house.go(by="bob@laptop")
    (lifted,) = house.store.history(1)[0].data["lifted"]
    assert lifted["by"] == "cleo"


def test_another_repo_on_the_same_record_deletes_nothing_unasked(house: House):
    """What one repo applied is not deleted because another one does not name it; an approval lifts that."""
    house.reconciler.origin = "https://example.com/one"
    house.want(service("a"), service("b"))
    house.go()
    house.reconciler.origin = "https://example.com/two"
    house.want(service("b"), service("c"))

    refused = house.go()

    assert [r.code for r in refused.refusals] == ["other-repo"]
    assert "https://example.com/one" in refused.refusals[0].message
    assert house.worlds["east"].names() == ["service/a", "service/b"]
    approve(house.store, refused.plan.digest, "ann", house.clock.now())
    house.go()
    assert house.worlds["east"].names() == ["service/b", "service/c"]
    house.want(service("c"))
    assert not house.go().refusals


def test_another_environment_on_the_same_record_changes_nothing_unasked(house: House):
    """Two environments of one repo at one target do not overwrite each other; an approval hands the target over."""
    house.reconciler.origin = "https://example.com/one"
    house.environment = "staging"
    house.want(service("a"), service("b"))
    house.go()
    house.environment = "production"
    house.want(service("a", workers=2), service("c"))

    refused = house.go()

    assert [r.code for r in refused.refusals] == ["other-environment"]
    assert refused.refusals[0].message == (
        "target east: 1 of what was applied in environment staging would be changed and 1 deleted by a plan for "
        "environment production"
    )
    assert house.worlds["east"].names() == ["service/a", "service/b"]
    approve(house.store, refused.plan.digest, "ann", house.clock.now())
    house.go()
    assert house.worlds["east"].names() == ["service/a", "service/c"]
    house.want(service("a", workers=3))
    assert not house.go().refusals
    runs = [entry for entry in house.store.history(9) if entry.outcome != "approved"]
    assert [entry.data["environment"] for entry in runs] == ["production", "production", "staging"]


def test_the_same_plan_for_another_environment_is_another_plan(house: House):
    """An approval of what staging would do approves nothing in production."""
    house.environment = "staging"
    staging = house.want(service("a")).plan()
    house.environment = "production"
    production = house.plan()
    assert (staging.environment, production.environment) == ("staging", "production")
    assert staging.digest != production.digest


def test_a_lost_store_adopts_what_runs(tmp_path: Path, clock):
    """Nothing is written to the target, and the next plan is empty."""
    worlds = {"east": World()}
    first = House(Store(tmp_path / "one.db", clock), clock, worlds)
    first.want(service("a")).go()
    writes = len(worlds["east"].writes)

    fresh = House(Store(tmp_path / "two.db", clock), clock, worlds, number=1)
    fresh.wanted = first.wanted
    outcome = fresh.go()

    assert [r.action for r in outcome.results] == [Action.ADOPT]
    assert len(worlds["east"].writes) == writes
    assert fresh.plan().empty
    first.store.close()
    fresh.store.close()


MOMENTS = [
    (op, when, skip) for op in ("write", "stage", "promote", "list") for when in ("before", "after") for skip in (0, 1)
]


@pytest.mark.parametrize(("op", "when", "skip"), MOMENTS)
def test_a_crash_at_any_call_converges(tmp_path: Path, clock, op: str, when: str, skip: int):
    """Whatever call the process died in, the next one finishes the work: nothing twice, nothing orphaned."""
    worlds = {"east": World(), "west": World()}
    made = source("image", "bytes", "west")
    before = [service("a", image=digest_of(made), needs=[str(made.id)], extra="gone later"), made, service("b", "west")]
    after = [service("a", image="two"), service("b", "west", kind="plain"), service("c", zone="1")]
    house = House(Store(tmp_path / "state.db", clock), clock, worlds)
    house.want(*before).go()

    worlds["east"].fault(Fault(op, "crash", when, skip=skip))
    with contextlib.suppress(Crashed):
        house.want(*after).go()
    house.store.close()
    again = House(Store(tmp_path / "state.db", clock), clock, worlds, number=2)
    again.wanted = after
    worlds["east"].clear_faults()
    again.go()
    again.go()

    assert again.plan().empty
    assert worlds["east"].names() == ["service/a", "service/c"]
    assert worlds["west"].names() == ["plain/b"]
    assert "extra" not in worlds["east"].native("service/a")
    again.store.close()


class Awaited(MemoryDriver):
    """One call at a time; `a` is waited for, and looking at it takes until `c` was begun."""

    def __init__(self) -> None:
        super().__init__("north", World(), INSTALLATION, dataclasses.replace(CAPABILITIES, parallel=1))
        self.begun = {name: threading.Event() for name in "abc"}
        self.in_time: list[bool] = []

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        if self.begun["a"].is_set():
            self.in_time.append(self.begun["c"].wait(10))
        return super().observe(known)

    def apply(self, change: Change) -> Done | InProgress:
        answer = super().apply(change)
        self.begun[change.id.name].set()
        return InProgress(0.0) if change.id.name == "a" else answer


def test_waiting_for_what_was_begun_keeps_nothing_from_being_begun(store: Store, clock: Clock):
    """Who asks for a look takes no place from those who call, however few may call at once."""
    north = Awaited()
    house = House(store, clock, {}, others={"north": north})
    after = service("c", "north", kind="plain", needs=["north/plain/b"])
    house.want(service("a", "north", kind="plain"), service("b", "north", kind="plain"), after)
    outcome = house.go(wait=False)
    assert {r.state for r in outcome.results} == {State.DONE}
    assert len(outcome.results) == 3
    assert all(north.in_time)
