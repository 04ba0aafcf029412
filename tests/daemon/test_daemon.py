"""The daemon over a real repo and memory targets, in this process."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from reconciler.core.errors import StaleError
from reconciler.core.sync import Sync
from reconciler.engine.approvals import approve
from reconciler.engine.daemon import Options, Parts
from reconciler.engine.daemon.signals import Ending
from reconciler.engine.store import Store
from reconciler.targets.memory.driver import MemoryDriver
from reconciler.targets.memory.faults import Fault
from tests.daemon.rig import INSTALLATION, PACE, Rig, invalid, service, until


def test_a_commit_is_carried_out_when_it_is_made(rig: Rig):
    """From a commit in the watched repo to a service at the target, without anybody asking."""
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready)
        rig.commit(service("a"))
        rig.next(lambda r: r.target == "east" and r.outcome == "applied")
        assert rig.worlds["east"].names() == ["service/a"]
        rig.commit(service("a", image="two"))
        rig.next(lambda r: r.changes == {"update": 1})
    assert daemon.codes == [0]
    assert rig.worlds["east"].native("service/a")["image"] == "two"


def test_what_is_taken_away_by_hand_is_noticed_and_healed(rig: Rig):
    """The target's event wakes the key; drift and event are in the history, and the service is back."""
    rig.commit(service("a"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        until(lambda: not daemon._running)
        rig.worlds["east"].remove("service/a")
        record = rig.next(lambda r: r.drift == 1)
        assert record.causes == ("event: service/a: deleted by hand",)
        until(lambda: rig.worlds["east"].names() == ["service/a"])
    kinds = [a.outcome for a in rig.store.history()]
    assert kinds.count("drift") == 1
    assert kinds.count("event") == 1


def test_drift_under_heal_is_taken_back_and_under_report_is_not(rig: Rig):
    """Both stand in the history and in the canonical line; what is reported is told once, however often it is seen."""
    rig.commit(service("a"), service("b", policy={"rules": {"/image": "report"}}))
    with rig.running() as daemon, capture_logs() as lines:
        rig.settled(daemon, lambda s: s.ready and len(s.report.services) == 2)
        until(lambda: not daemon._running)
        rig.worlds["east"].edit("service/b", "/image", "by hand", by="ann")
        reported = rig.next(lambda r: r.reported == 1)
        rig.worlds["east"].edit("service/a", "/image", "by hand")
        healed = rig.next(lambda r: r.healed == 1)
        rig.next(lambda r: r.target == "east" and r.healed == 0 and r.at >= healed.at)
        syncs = {s.name: s.sync for s in daemon.board.snapshot().report.services}
    assert (reported.fields()["reported"], healed.fields()["healed"], healed.drift) == (1, 1, 2)
    assert [rig.worlds["east"].native(f"service/{n}")["image"] for n in "ab"] == ["one", "by hand"]
    assert syncs == {"a": Sync.IN_SYNC, "b": Sync.DRIFTED}
    noted = [(a.outcome, a.data["id"]) for a in reversed(rig.store.history(100)) if a.outcome in ("drift", "recovered")]
    assert noted == [("drift", "east/service/b"), ("drift", "east/service/a"), ("recovered", "east/service/a")]
    told = [line for line in lines if line["event"] in ("drift", "drift ended")]
    assert [(line["event"], line["id"]) for line in told] == [
        ("drift", "east/service/b"),
        ("drift", "east/service/a"),
        ("drift ended", "east/service/a"),
    ]
    assert (told[0]["policies"], told[0]["by"]) == ({"/image": "report"}, "ann")


def test_a_reconcile_without_changes_writes_nothing(rig: Rig):
    """No row of the store and no resource changes in a full look, the lease's heartbeat apart."""
    rig.commit(service("a"), service("b", "west"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and len(s.report.services) == 2)
        rig.next(lambda r: r.causes == ("verifying",) and r.target == "east")
        rig.settled(daemon, lambda s: all(t.last.outcome == "in sync" for t in s.targets.values()))
        before = (_dump(rig.store), [world.writes for world in rig.worlds.values()])
        asked = time.monotonic()
        daemon._queue.wake("*", "full look", asked)
        rig.settled(daemon, lambda s: all((t.completed or 0) > asked for t in s.targets.values()))
        assert (_dump(rig.store), [world.writes for world in rig.worlds.values()]) == before


def _dump(store: Store) -> list[str]:
    connection = store._engine.raw_connection()
    try:
        return [line for line in connection.driver_connection.iterdump() if 'INTO "lease"' not in line]
    finally:
        connection.close()


class Hanging(MemoryDriver):
    """A driver whose target does not answer until it is let go."""

    def __init__(self, name: str, world, gate: threading.Event) -> None:
        super().__init__(name, world, INSTALLATION)
        self.gate = gate
        self.asked = threading.Event()

    def observe(self, known):
        self.asked.set()
        self.gate.wait(30)
        return super().observe(known)


def test_targets_that_hang_delay_no_other(tmp_path):
    """With a place for one, a commit still reaches the good target while another one hangs."""
    rig = Rig(tmp_path, options=Options(full_look_seconds=3600, workers=1, slow_seconds=0.2, pace=PACE))
    gate = threading.Event()
    rig.drivers["east"] = hanging = Hanging("east", rig.worlds["east"], gate)
    rig.commit(service("a"), service("b", "west"))
    with rig.running():
        assert hanging.asked.wait(10)
        rig.next(lambda r: r.target == "west" and r.outcome == "applied")
        gate.set()
    rig.close()


def test_a_target_that_is_down_backs_off_and_comes_back(rig: Rig):
    """Its breaker opens, the other target goes on, and it is reconciled once it answers."""
    rig.worlds["east"].fault(Fault("list", "503", times=-1))
    rig.commit(service("a"), service("b", "west"))
    with rig.running() as daemon:
        down = rig.next(lambda r: r.target == "east")
        assert down.outcome == "unavailable"
        rig.settled(daemon, lambda s: s.targets["west"].last is not None and s.targets["west"].last.good)
        rig.worlds["east"].clear_faults()
        back = rig.next(lambda r: r.target == "east" and r.outcome == "applied")
        assert "back-off is over" in back.causes


def test_a_newer_commit_ends_the_waiting_of_what_it_changes(rig: Rig):
    """Slow work at a target is left where it is, recorded, and the newer version is carried out instead."""
    rig.worlds["east"].slow("stage", 1e9)
    rig.commit(service("a"))
    with rig.running() as daemon:
        until(lambda: rig.worlds["east"].names() == ["service/a"])
        rig.worlds["east"].slow("stage", 0)
        sha = rig.commit(service("a", image="two"))
        began = time.monotonic()
        stopped = rig.next(lambda r: r.outcome == "interrupted")
        assert time.monotonic() - began < 2.0
        assert stopped.reason == f"superseded by main@{sha[:7]}"
        rig.next(lambda r: r.target == "east" and r.outcome == "applied")
        rig.settled(daemon, lambda s: s.report.health == "Healthy" and s.report.services)
    assert rig.worlds["east"].native("service/a")["image"] == "two"


def test_a_commit_that_concerns_another_target_interrupts_nothing(rig: Rig):
    """A roll-out goes on while other targets change."""
    rig.worlds["east"].slow("stage", 1e9)
    rig.commit(service("a"))
    with rig.running() as daemon:
        until(lambda: rig.worlds["east"].names() == ["service/a"])
        rig.commit(service("a"), service("b", "west"))
        rig.next(lambda r: r.target == "west" and r.outcome == "applied")
        assert not daemon._running["east"].cancel.requested


def test_a_failed_change_is_tried_again_when_its_time_has_come(rig: Rig):
    """The hold of the record wakes the key; nobody waits for the next full look."""
    daemon = rig.make()
    daemon._parts.reconciler.backoff = lambda attempts: 0.2
    rig.worlds["east"].fault(Fault("stage", "400"))
    rig.commit(service("a"))
    with rig.running(daemon):
        rig.next(lambda r: r.outcome == "failed")
        again = rig.next(lambda r: r.outcome == "applied")
        assert "a failed change may be tried again" in again.causes


def test_a_build_elsewhere_delays_only_those_who_need_it(tmp_path):
    """A target's services go on while the registry makes what one of them waits for, and that one follows."""
    rig = Rig(tmp_path, registry_names=("registry/images",))
    now = [0.0]
    rig.worlds["registry/images"]._clock = lambda: now[0]
    rig.worlds["registry/images"].slow("write", 60.0)
    image = {"name": "img", "target": "registry/images", "kind": "source", "content": "bytes"}
    rig.commit(image, service("needs", image="?registry/images/source/img"), service("free"))
    with rig.running() as daemon:
        first = rig.next(lambda r: r.target == "east" and r.outcome == "applied")
        assert rig.worlds["east"].names() == ["service/free"]
        assert first.changes == {"create": 1}
        now[0] = 61.0
        rig.next(lambda r: r.target == "registry/images" and r.outcome == "applied")
        until(lambda: rig.worlds["east"].names() == ["service/free", "service/needs"])
        rig.settled(daemon, lambda s: len(s.report.services) == 2 and s.report.health == "Healthy")
    rig.close()


def test_interrupted_work_is_resumed_by_the_next_daemon(rig: Rig):
    """A daemon that stops hands over: the intent stands, and its successor completes it without doing it twice."""
    rig.worlds["east"].slow("stage", 1e9)
    rig.commit(service("a"))
    with rig.running():
        until(lambda: rig.worlds["east"].names() == ["service/a"])
        until(lambda: any(b.pending for b in rig.store.baselines().values()))
    pending = [b.pending.step for b in rig.store.baselines().values() if b.pending]
    assert pending == ["stage"]
    rig.worlds["east"].slow("stage", 0)
    rig.worlds["east"].condition_staged("service/a", "running")
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services and s.report.health == "Healthy")
        until(lambda: not any(b.pending for b in rig.store.baselines().values()))
    assert [op for op, _ in rig.worlds["east"].writes].count("promote") == 1


def test_a_second_daemon_on_the_same_state_is_refused(rig: Rig):
    """It says who is at work, and exits with the code for that."""
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready)
        second = Rig(rig.folder)
        with pytest.raises(StaleError, match=r"daemon on .*, pid") as caught:
            second.make().run()
        second.close()
    assert caught.value.exit_code == 14


def test_a_daemon_that_loses_its_lease_stops(rig: Rig):
    """Another writer with a newer fence ends it, with the exit code for a stale state, and nothing is written."""
    rig.commit(service("a"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        with rig.store._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE lease SET fence = fence + 1, holder = 'another'")
        writes = rig.store.history()
        rig.worlds["east"].happen("something")
        until(lambda: daemon.codes)
    assert daemon.codes == [14]
    assert [a for a in rig.store.history() if a not in writes] == []


class Elected:
    """An election that is won, and lost when a test says so."""

    holder, retry_seconds = "me", 0.01

    def __init__(self) -> None:
        self.lost = False

    def attempt(self) -> bool:
        return True

    def keep(self) -> None:
        pass

    def check(self) -> None:
        if self.lost:
            raise StaleError("this replica leads no more")

    def release(self) -> None:
        pass


def test_a_replica_that_leads_no_more_writes_nothing(rig: Rig):
    """Not to a target, not to the record: it stops with the exit code for that, though nobody took its record."""
    rig.commit(service("a"))
    election = Elected()
    with rig.running(rig.make(election=election)) as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        calls = list(rig.worlds["east"].calls)
        history = rig.store.history()
        election.lost = True
        rig.commit(service("a", size=2))
        rig.worlds["east"].happen("something")
        until(lambda: daemon.codes)
    assert daemon.codes == [14]
    assert rig.worlds["east"].calls == calls
    assert rig.store.history() == history


def test_a_replica_that_leads_does_not_take_a_commands_place(rig: Rig):
    """What somebody applies by hand is not broken off: it was elected by nobody, and ends."""
    with rig.store.writing("apply") as before:
        second = Rig(rig.folder)
        with pytest.raises(StaleError, match="another writer is at work on this state: apply on"):
            second.make(election=Elected()).run()
        second.close()
        assert not before.lost.is_set()
        rig.store.put_fact("late", 1)


def test_a_replica_that_leads_waits_for_no_replica_before_it(rig: Rig):
    """The record's lease of one that was elected before ends at once: its later writes fail."""
    rig.commit(service("a"))
    with rig.store.writing("daemon") as before:
        second = Rig(rig.folder)
        with second.running(second.make(election=Elected())) as daemon:
            second.settled(daemon, lambda s: s.ready)
            assert not before.lost.is_set()
            with pytest.raises(StaleError):
                rig.store.put_fact("late", 1)
        second.close()


def test_a_source_that_breaks_leaves_the_last_good_revision_standing(rig: Rig):
    """The daemon says so, heals drift from what it knows, and goes on when the source is back."""
    rig.commit(service("a"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        (rig.repo / ".git/HEAD").rename(rig.repo / ".git/HEAD.away")
        daemon._queue.wake("*", "full look", time.monotonic())
        rig.settled(daemon, lambda s: s.source_error)
        rig.worlds["east"].remove("service/a")
        until(lambda: rig.worlds["east"].names() == ["service/a"])
        (rig.repo / ".git/HEAD.away").rename(rig.repo / ".git/HEAD")
        rig.settled(daemon, lambda s: not s.source_error)


def test_a_service_with_errors_is_left_alone_and_the_others_go_on(rig: Rig):
    """What resolves is carried out, nothing is deleted, and the problem is on the board."""
    rig.commit(service("a"), service("b"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: s.ready and len(s.report.services) == 2)
        rig.commit(service("a", image="two"), {**service("b"), "broken": True})
        rig.next(lambda r: r.changes == {"update": 1})
        snapshot = rig.settled(daemon, lambda s: s.problems)
        assert [p.code for p in snapshot.problems] == ["broken"]
    assert rig.worlds["east"].names() == ["service/a", "service/b"]


def test_reloading_takes_new_settings_and_survives_bad_ones(rig: Rig):
    """Bad settings change nothing; good ones hold from the next run on, and the old parts are closed."""
    closed = threading.Event()
    first = rig.parts()
    first = Parts(first.reconciler, first.watches, options=first.options, close=closed.set)
    answers = [invalid, rig.parts]
    daemon = rig.make(reload=lambda: answers.pop(0)())
    daemon._parts = first
    with rig.running(daemon):
        rig.settled(daemon, lambda s: s.ready)
        with capture_logs() as logged:
            daemon.reload()
        assert daemon._parts is first
        (told,) = [line for line in logged if line["event"] == "reload failed"]
        assert "reconciler.yaml:3:1" in told["problems"][0]
        daemon.reload()
        assert daemon._parts is not first
        assert closed.wait(10)
        rig.commit(service("a"))
        rig.next(lambda r: r.outcome == "applied")


def test_a_driver_call_that_outlasts_the_grace_time_ends_the_process_hard(tmp_path):
    """The daemon says so by its exit code instead of hanging for ever."""
    rig = Rig(tmp_path, options=Options(grace_seconds=0.2, pace=PACE))
    gate = threading.Event()
    rig.drivers["east"] = hanging = Hanging("east", rig.worlds["east"], gate)
    rig.commit(service("a"))
    codes: list[int] = []
    with rig.running(rig.make(hard_exit=codes.append)) as daemon:
        assert hanging.asked.wait(10)
        daemon.end(Ending("terminated", 0))
        until(lambda: daemon.codes)
        gate.set()
        until(lambda: not any(t.name == "run east" for t in threading.enumerate()))
    assert daemon.codes == codes == [15]
    rig.close()


def test_a_refused_plan_is_recorded_once_and_an_approval_lets_it_through(tmp_path):
    """The approval is that of the whole plan, as people see it; the daemon's own looks are narrower."""
    rig = Rig(tmp_path)
    many = [service(f"s{n}") for n in range(12)]
    rig.commit(*many, service("w", "west"))
    with rig.running() as daemon:
        rig.settled(daemon, lambda s: len(s.report.services) == 13 and s.report.health == "Healthy")
        rig.commit(*many[:4], service("w", "west"))
        refused = rig.next(lambda r: r.outcome == "refused")
        assert refused.refused == 1
        daemon._queue.wake("east", "again", time.monotonic())
        rig.next(lambda r: r.outcome == "refused")
        (told,) = [a for a in rig.store.history() if a.outcome == "refused"]
        assert len(rig.worlds["east"].names()) == 12
        approve(rig.store, told.data["digest"], "somebody", rig.clock.now())
        daemon.wake(None, "approved")
        until(lambda: len(rig.worlds["east"].names()) == 4)
    rig.close()
