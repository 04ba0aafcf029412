"""Telling a forge how commits fare: what is told, when, and that nothing waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.core.errors import ThrottledError, UnavailableError
from reconciler.core.problems import Problem
from reconciler.core.report import Report, ServiceReport, Sync
from reconciler.core.resources import Health
from reconciler.engine.daemon import Announcement, Board, Daemon, Reconciled
from reconciler.engine.daemon.announcing import Announcer, Outbox, status_of
from reconciler.engine.store import Store
from reconciler.forge.ci import Surroundings
from reconciler.forge.forge import Provider
from reconciler.forge.opening import Named, Repository
from reconciler.targets.memory.faults import Fault
from reconciler.wiring.forges import StatusPoster
from tests.daemon.rig import Rig, service, until
from tests.engine.conftest import FakeClock
from tests.forge.wire_github import GitHubWire

SHA = "a" * 40
MAIN = f"main@sha1:{SHA}"
OTHER = f"main@sha1:{'b' * 40}"
GO_ON = threading.Event()


def record(target: str = "east", outcome: str = "applied", revision: str = "main@aaaaaaa") -> Reconciled:
    """How a reconcile of a target ended."""
    return Reconciled("1", target, ("start",), revision, outcome, 0.1, 0.0, 0.0)


def reports(*services: ServiceReport, target: str = "east") -> Report:
    """A report of a target's services."""
    return Report("rc-test", MAIN, services, {target: "complete"})


def healthy(name: str = "a", **more: Any) -> ServiceReport:
    """A service that is as Git wants it, but for what is said."""
    return replace(ServiceReport(name, "east", Health.HEALTHY, Sync.IN_SYNC), **more)


def board(*targets: str, revision: str = MAIN, problems: tuple[Problem, ...] = ()) -> Board:
    """A board that a revision was loaded on."""
    made = Board("rc-test", lambda: 0.0)
    made.loaded(revision, problems, targets or ("east",))
    return made


@pytest.mark.parametrize(
    ("outcome", "service_", "state", "line"),
    [
        ("applied", healthy(), "success", "1 service in sync and healthy"),
        ("in sync", healthy(suspended=True, sync=Sync.PENDING), "success", "1 service in sync and healthy"),
        ("in sync", healthy(sync=Sync.DRIFTED), "success", "1 service in sync and healthy"),
        ("in sync", healthy(sync=Sync.KEPT, health=Health.DEGRADED), "success", "0 services in sync and healthy"),
        ("applied", healthy(health=Health.PROGRESSING), "pending", "1 of 1 targets done"),
        ("waiting", healthy(sync=Sync.PENDING), "pending", "0 of 1 targets done"),
        ("waiting", healthy(sync=Sync.PENDING, health=Health.MISSING), "pending", "0 of 1 targets done"),
        ("waiting", healthy(health=Health.DEGRADED), "failure", "1 of 1 service unhealthy: a"),
        ("interrupted", healthy(), "pending", "0 of 1 targets done"),
        ("applied", healthy(health=Health.DEGRADED), "failure", "1 of 1 service unhealthy: a"),
        ("failed", healthy(), "failure", "east: failed"),
        ("partly", healthy(), "failure", "east: partly"),
        ("refused", healthy(), "failure", "east: refused"),
        ("unavailable", healthy(), "failure", "east: unavailable"),
        ("error", healthy(), "failure", "east: error"),
    ],
)
def test_how_a_commit_fares(outcome: str, service_: ServiceReport, state: str, line: str) -> None:
    """From how the reconcile of its target ended, and from how its services are."""
    made = board()
    made.ended(record(outcome=outcome), reports(service_))
    assert status_of(made.snapshot()) == (SHA, CommitStatus(CommitState(state), line))


def test_all_targets_count_and_only_for_this_commit() -> None:
    """A target that was last reconciled to an older commit is not done; one that failed decides."""
    made = board("east", "west")
    made.ended(record("west", revision="main@bbbbbbb", outcome="failed"), reports(healthy(), target="west"))
    made.ended(record("east"), reports(healthy()))
    assert status_of(made.snapshot()) == (SHA, CommitStatus(CommitState.PENDING, "1 of 2 targets done"))
    made.ended(record("west", "failed"), reports(healthy(), target="west"))
    assert status_of(made.snapshot()) == (SHA, CommitStatus(CommitState.FAILURE, "west: failed"))


def test_what_is_no_commit_is_not_told() -> None:
    """Nothing is loaded yet, or it is no commit."""
    assert status_of(Board("rc-test", lambda: 0.0).snapshot()) is None
    assert status_of(board(revision=f"{MAIN}+dirty").snapshot()) is None


def test_errors_in_manifests_fail_a_commit() -> None:
    """The rest is applied all the same."""
    made = board(problems=(Problem("unknown-key", "unknown key 'a'"), Problem("unknown-key", "unknown key 'b'")))
    made.ended(record(), reports(healthy()))
    found = status_of(made.snapshot())
    assert found == (SHA, CommitStatus(CommitState.FAILURE, "2 errors in manifests"))


states = st.tuples(st.sampled_from("abc"), st.sampled_from([s for s in CommitState if s is not CommitState.STOPPED]))


@given(st.lists(st.tuples(states, st.booleans()), max_size=40))
def test_the_outbox_stays_small_and_closes_what_it_opened(steps: list[tuple[tuple[str, CommitState], bool]]) -> None:
    """Whatever comes and whenever it can be told: two at most wait, and no commit but the newest stays pending."""
    box, posts = Outbox(), []
    for (sha, state), reachable in steps:
        box.put(sha, CommitStatus(state, ""), sha)
        assert len(box.waiting) <= 2
        while reachable and box.waiting:
            posts.append((box.waiting[0][0], box.waiting[0][1].state))
            box.posted()
        if reachable:
            last = dict(posts)
            assert [told for told, state in last.items() if state is CommitState.PENDING and told != sha] == []


class Forge:
    """Takes posts, or fails as it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, str]] = []
        self.tried = 0
        self.error: Exception | None = None

    def __call__(self, sha: str, status: CommitStatus) -> None:
        self.tried += 1
        if self.error is not None:
            raise self.error
        self.posts.append((sha[:1], status.state.value))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    made = Store(tmp_path / "state.db", clock)
    yield made
    made.close()


def announcer(forge: Forge, made: Board, store: Store, clock: FakeClock, name: str = "production") -> Announcer:
    """One that was just started."""
    return Announcer(Announcement(name, forge), made, store, clock)


def test_pending_then_success_and_no_word_more(store: Store, clock: FakeClock) -> None:
    """However often the target is looked at, and whatever becomes of its services later."""
    forge, made = Forge(), board()
    telling = announcer(forge, made, store, clock)
    telling.step(GO_ON, 0)
    for health in (Health.PROGRESSING, Health.HEALTHY, Health.HEALTHY, Health.DEGRADED, Health.HEALTHY):
        made.ended(record(), reports(healthy(health=health)))
        telling.step(GO_ON, 0)
    assert forge.posts == [("a", "pending"), ("a", "success")]


def test_a_daemon_that_starts_anew_repeats_nothing(store: Store, clock: FakeClock) -> None:
    """What was told is in the store; under another name it is told."""
    forge, made = Forge(), board()
    announcer(forge, made, store, clock).step(GO_ON, 0)
    announcer(forge, made, store, clock).step(GO_ON, 0)
    assert forge.posts == [("a", "pending")]
    announcer(forge, made, store, clock, "staging").step(GO_ON, 0)
    assert forge.posts == [("a", "pending")] * 2


def test_a_newer_commit_ends_the_one_before(store: Store, clock: FakeClock) -> None:
    """A commit that was overtaken does not stay pending for ever, also if the daemon was stopped in between."""
    forge, made = Forge(), board()
    announcer(forge, made, store, clock).step(GO_ON, 0)
    made.loaded(OTHER, (), ("east",))
    announcer(forge, made, store, clock).step(GO_ON, 0)
    assert forge.posts == [("a", "pending"), ("a", "stopped"), ("b", "pending")]


def test_a_forge_that_fails_is_tried_again_after_growing_pauses(store: Store, clock: FakeClock) -> None:
    """Told in the log once, not each time; what was overtaken meanwhile is never told at all."""
    forge, made = Forge(), board()
    forge.error = UnavailableError("GitHub cannot be reached", hint="proxies")
    telling = announcer(forge, made, store, clock)
    with capture_logs() as logged:
        tried: list[float] = []
        for _ in range(2000):
            before = forge.tried
            telling.step(GO_ON, 0)
            if forge.tried > before:
                tried.append(clock.monotonic())
            clock.advance(1.0)
    pauses = [b - a for a, b in pairwise(tried)]
    assert pauses[:9] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert [line["event"] for line in logged] == ["commit status not posted"]
    made.loaded(OTHER, (), ("east",))
    forge.error = None
    telling.step(GO_ON, 0)
    assert forge.posts == [("b", "pending")]


def test_the_time_that_a_forge_asks_for_is_given(store: Store, clock: FakeClock) -> None:
    """`Retry-After` is a floor; a new state is told at once all the same only when it is another."""
    forge, made = Forge(), board("east", "west")
    forge.error = ThrottledError("slow down", retry_after=90.0)
    telling = announcer(forge, made, store, clock)
    telling.step(GO_ON, 0)
    forge.error = None
    clock.advance(89.0)
    made.ended(record(), reports(healthy()))
    telling.step(GO_ON, 0)
    assert forge.posts == []
    clock.advance(1.0)
    telling.step(GO_ON, 0)
    assert forge.posts == [("a", "pending")]


def test_a_fault_of_ours_costs_no_more_than_a_status(store: Store, clock: FakeClock) -> None:
    """Whatever is raised, the thread goes on."""
    forge, made = Forge(), board()
    forge.error = RuntimeError("c4n4ry")
    telling = announcer(forge, made, store, clock)
    with capture_logs() as logged:
        telling.step(GO_ON, 0)
    assert "c4n4ry" not in str([line.get("error") for line in logged])
    forge.error = None
    clock.advance(2.0)
    telling.step(GO_ON, 0)
    assert forge.posts == [("a", "pending")]


@pytest.fixture
def wire() -> Iterator[GitHubWire]:
    made = GitHubWire()
    yield made
    made.close()
    assert made.unexpected == []


def daemon_of(rig: Rig, wire: GitHubWire) -> Daemon:
    """A daemon that tells a forge at the wire."""
    repository = Repository(Provider.GITHUB, "team/models", wire.api, "", Surroundings())
    variables = {"GITHUB_TOKEN": "ghs-workflow"}
    poster = StatusPoster("production", repository, Named(), "https://ops.example/models", variables)
    rig.announcement = Announcement(poster.name, poster)
    return rig.make()


def told(wire: GitHubWire, sha: str) -> list[str]:
    """The states that a commit got."""
    return [status["state"] for status in wire.statuses if status["sha"] == sha]


class Pushed(set[str]):
    """The commits of a forge that has each one before anybody can ask for it."""

    def __contains__(self, sha: object) -> bool:
        return True


def test_a_daemon_tells_github_of_each_commit(rig: Rig, wire: GitHubWire) -> None:
    """Success, a failure, and the success of the try after it; with the page that the operator names."""
    wire.commits = Pushed()
    first = rig.commit(service("one"), service("two", "west"))
    with rig.running(daemon_of(rig, wire)):
        until(lambda: told(wire, first)[-1:] == ["success"])
        rig.worlds["east"].fault(Fault("stage", "400", times=-1))
        second = rig.commit(service("one", image="two"), service("two", "west"))
        until(lambda: "failure" in told(wire, second))
        rig.worlds["east"].clear_faults()
        until(lambda: told(wire, second)[-1:] == ["success"])
    assert set(told(wire, first)) <= {"pending", "success"}
    assert {(s["context"], s["target_url"]) for s in wire.statuses} == {
        ("reconciler/production", "https://ops.example/models")
    }
    assert all(len(told(wire, sha)) <= 6 for sha in (first, second))


def test_a_daemon_whose_forge_hangs_reconciles_and_stops(rig: Rig, wire: GitHubWire) -> None:
    """The forge takes the request and never answers: commits are applied, and the daemon ends in time."""
    hangs, end = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        end.wait()

    wire.before("POST .*statuses", hang)
    rig.commit(service("one"))
    try:
        with rig.running(daemon_of(rig, wire)) as daemon:
            assert hangs.wait(20)
            rig.commit(service("one", image="two"))
            until(lambda: (rig.worlds["east"].native("service/one") or {}).get("image") == "two")
        assert daemon.codes == [0]
    finally:
        end.set()


def test_a_daemon_whose_token_is_taken_away_goes_on(rig: Rig, wire: GitHubWire) -> None:
    """The refusal is logged, with what is missing; targets are reconciled all the same."""
    wire.tokens["ghs-workflow"].permissions["statuses"] = "read"
    with capture_logs() as logged, rig.running(daemon_of(rig, wire)):
        rig.commit(service("one"))
        until(lambda: "service/one" in rig.worlds["east"].names())
        until(lambda: wire.sent("POST .*statuses"))
        until(lambda: any(line["event"] == "commit status not posted" for line in logged))
    line = next(line for line in logged if line["event"] == "commit status not posted")
    assert "statuses: write" in line["hint"]
    assert wire.statuses == []
