"""The record and its lease: what survives, who may write, and what a damaged file says."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from json import dumps
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from reconciler.core.approval import Approval
from reconciler.core.deployment import Target
from reconciler.core.drifting import Memory, Spell, Told
from reconciler.core.errors import InvalidError, StaleError
from reconciler.core.resources import Baseline, Pending, ResourceId
from reconciler.core.secrets import Secret
from reconciler.core.situation import Hold
from reconciler.engine.store import Attempt, Store
from reconciler.engine.store.lease import TTL_SECONDS, Lease
from reconciler.engine.store.tables import open_database

ID = ResourceId("local", "process", "diabetes")
OTHER = ResourceId("registry/models", "model", "diabetes:1")


def test_a_baseline_comes_back_as_it_was_put(tmp_path: Path, store: Store, clock):
    """Every field of a baseline survives the store; secrets come back as fingerprints without their text."""
    baseline = Baseline(
        ID,
        service="diabetes",
        sent={"port": 1, "key": Secret("ab" * 16, text="hunter2"), "models": [{"name": "m"}]},
        answered={"port": 1},
        outputs={"url": "http://127.0.0.1:1"},
        revision="c0ffee",
        protect=True,
        prune=False,
        depends_on=(OTHER,),
        pending=Pending("update", "stage", {"port": 2}, "c0ffee", '{"n":1}', 12.5),
        unused_since=99.0,
    )
    store.put(baseline)

    again = Store(tmp_path / "state.db", clock)
    assert again.baselines()[ID] == baseline
    again.close()
    assert "hunter2" not in (tmp_path / "state.db").read_bytes().decode(errors="ignore")


def test_while_the_lease_is_held_unchanged_baselines_are_the_same_objects(store: Store):
    """The planner's memo may compare baselines by identity."""
    with store.writing("test"):
        store.put(Baseline(ID), Baseline(OTHER))
        first = store.baselines()[ID]
        store.put(Baseline(OTHER, service="x"))

        assert store.baselines()[ID] is first
        assert store.baselines()[OTHER].service == "x"


def test_forgetting_takes_the_holds_and_drift_of_a_resource_with_it(store: Store):
    """Nothing of a forgotten resource stays behind."""
    store.put(Baseline(ID))
    store.put_hold(ID, Hold("d", "no", 5.0), 2)
    store.put_drift(Memory(ID, "a", {"/x": Spell("v", (1.0,))}, Told.DRIFT))

    store.forget(ID)

    assert not store.baselines()
    assert not store.holds()
    assert not store.drift()


def test_what_is_remembered_of_drift_is_read_back(store: Store):
    """Field by field, with its times; what is forgotten is gone."""
    memory = Memory(ID, "a", {"/x": Spell("v", (1.0, 5.0), 7, 9.0), "": Spell("gone", (6.0,))}, Told.FIGHT)
    store.put_drift(memory, Memory(OTHER))
    assert store.drift() == {ID: memory, OTHER: Memory(OTHER)}
    store.drop_drift([OTHER])
    assert store.drift() == {ID: memory}


def test_the_record_of_an_older_release_is_brought_up_to_date(tmp_path: Path, clock):
    """Drift that version 1 recorded by resources goes on field by field, and everything else stays."""
    path = tmp_path / "state.db"
    old = Store(path, clock)
    old.put(Baseline(ID, service="a"))
    old.close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
        for id_, data in (
            (ID, {"digest": "d", "fields": ["/x", "/y"], "gone": False, "note": "", "count": 3}),
            (OTHER, {"digest": "d", "fields": [], "gone": True, "note": "killed", "count": 1}),
        ):
            row = {"id": str(id_), "data": dumps(data)}
            connection.execute(text("INSERT INTO drift VALUES (:id, 5.0, :data)"), row)
    engine.dispose()

    new = Store(path, clock)
    assert new.drift()[ID].spells == {"/x": Spell("", (5.0,), 3), "/y": Spell("", (5.0,), 3)}
    assert (new.drift()[OTHER].since, [*new.drift()[OTHER].lasting]) == (5.0, [""])
    assert new.baselines()[ID].service == "a"
    new.close()
    again = Store(path, clock)
    assert again.drift()[ID].told is Told.DRIFT
    again.close()


def test_history_is_newest_first_and_bounded(store: Store):
    """Old attempts are dropped once the limit is passed."""
    for number in range(1010):
        store.record(Attempt(float(number), f"r{number}", "applied"))

    assert [a.revision for a in store.history(2)] == ["r1009", "r1008"]
    assert len(store.history(5000)) == 1000


def test_facts_and_targets_are_written_only_when_they_change(tmp_path: Path, store: Store):
    """Putting the same again leaves the file as it is."""
    store.put_fact("services", ["a"])
    store.put_target(Target("laptop", "local", {"engine": "auto"}))
    with sqlite3.connect(tmp_path / "state.db") as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        store.put_fact("services", ["a"])
        store.put_target(Target("laptop", "local", {"engine": "auto"}))
        after = connection.execute("PRAGMA data_version").fetchone()
    connection.close()

    assert before == after
    assert store.targets()["laptop"].block == {"engine": "auto"}


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path, store: Store, clock):
    """The message names purpose, host and pid."""
    other = Store(tmp_path / "state.db", clock)
    with store.writing("daemon"), pytest.raises(StaleError, match=rf"daemon on .*pid {os.getpid()}"):
        with other.writing("apply"):
            pass
    with other.writing("apply"):
        pass
    other.close()


def test_an_expired_lease_passes_on_with_a_higher_fence_and_late_writes_fail(tmp_path: Path, clock):
    """A writer that slept past its lease can change nothing any more."""
    first, second = Store(tmp_path / "state.db", clock), Store(tmp_path / "state.db", clock)
    with pytest.raises(StaleError, match="took over"), first.writing("daemon") as slow:
        clock.advance(TTL_SECONDS + 1)
        with second.writing("apply") as fresh:
            assert fresh.fence == slow.fence + 1
            second.put(Baseline(OTHER))
            first.put(Baseline(ID))

    assert list(second.baselines()) == [OTHER]
    first.close()
    second.close()


def test_a_dead_holder_does_not_block(tmp_path: Path, clock):
    """A lease whose process is gone from this host is free at once."""
    engine = open_database(tmp_path / "state.db")
    Lease(engine, clock, "daemon").take()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET pid = 4194305")
    lease = Lease(engine, clock, "apply")

    lease.take()

    assert lease.fence == 2
    engine.dispose()


def test_a_damaged_database_says_how_to_go_on(tmp_path: Path, clock):
    """The error says that nothing that runs is lost."""
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database at all, " * 100)

    with pytest.raises(InvalidError, match="damaged") as caught:
        Store(path, clock)

    assert "adopted" in caught.value.hint


def test_a_newer_schema_is_refused(tmp_path: Path, clock):
    """An older release does not touch what it cannot read."""
    engine = open_database(tmp_path / "state.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    engine.dispose()

    with pytest.raises(InvalidError, match="schema version 99"):
        Store(tmp_path / "state.db", clock)


def test_a_lease_that_is_taken_away_binds_nobody_and_its_holder_writes_nothing(store: Store, tmp_path: Path, clock):
    """The next holder has a higher fence, the old one's writes fail, and history says who did it to whom."""
    with store.writing("daemon") as held:
        info = store.last_lease()
        assert info is not None
        assert (info.state(clock.now()), info.fence) == ("held", held.fence)
        other = Store(tmp_path / "state.db", clock)
        with pytest.raises(StaleError):
            other.end_lease(held.fence + 1, "ann@laptop")
        other.end_lease(held.fence, "ann@laptop")
        assert other.holder() is None
        with pytest.raises(StaleError):
            store.put(Baseline(ID))
        with other.writing("apply") as next_one:
            assert next_one.fence == held.fence + 2
            other.put(Baseline(OTHER))
    assert set(other.baselines()) == {OTHER}
    (noted,) = other.history()
    assert (noted.outcome, noted.data["by"]) == ("released", "ann@laptop")
    assert f"daemon on {info.host}, pid {info.pid}" in noted.data["text"]
    with pytest.raises(StaleError, match="given back"):
        other.end_lease(next_one.fence, "ann@laptop")
    other.close()


def test_a_lease_says_why_it_binds_nobody(store: Store, clock):
    """Never taken, released, expired or dead: each has its word."""
    assert store.last_lease() is None
    with store.writing("apply"):
        pass
    info = store.last_lease()
    assert info is not None
    assert info.state(clock.now()) == "released"
    late = replace(info, expires_at=clock.now() + 30.0)
    assert (late.state(clock.now()), late.state(clock.now() + 31.0)) == ("held", "expired")
    assert replace(late, pid=4194305).state(clock.now()) == "dead"


def test_requests_queue_without_the_lease_and_keep_their_order(tmp_path: Path, store: Store, clock):
    """A command beside a daemon asks; the daemon answers."""
    client = Store(tmp_path / "state.db", clock)
    with store.writing("daemon"):
        first, second = client.enqueue("suspend", {"service": "a"}), client.enqueue("resume", {"service": "a"})

        assert [r.seq for r in store.requests()] == [first, second]
        store.answer(first, "done", {"ok": True})
        assert [r.seq for r in store.requests()] == [second]
        answered = client.request(first)
        assert answered is not None
        assert answered.result == {"ok": True}
    client.close()


def test_rotations_suspensions_and_approvals_are_kept(store: Store):
    """What people decide survives with who decided it."""
    assert store.rotate("diabetes", "primary") == 1
    assert store.rotate("diabetes", "primary") == 2
    store.suspend("diabetes", "ann", "holiday")
    store.put_approval(Approval("d" * 64, "bob", 1.0, {ResourceId("t", "k", "n"): "w"}))

    assert store.rotations() == {("diabetes", "primary"): 2}
    assert store.suspensions()["diabetes"]["reason"] == "holiday"
    assert list(store.approvals().values()) == [Approval("d" * 64, "bob", 1.0, {ResourceId("t", "k", "n"): "w"})]
    store.drop_approval("d" * 64)
    assert store.approvals() == {}
    assert store.resume("diabetes")
    assert not store.resume("diabetes")
