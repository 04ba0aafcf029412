"""A live daemon and targets whose policy asks for approvals."""

from __future__ import annotations

from structlog.testing import capture_logs

from reconciler.core.commit_status import CommitState
from reconciler.engine.daemon.announcing import status_of
from reconciler.engine.requests import daemon_of
from reconciler.engine.summary import Summary
from tests.daemon.rig import Rig, service, until
from tests.daemon.test_requests import put


def test_a_daemon_waits_for_somebodys_word_and_goes_on_with_it(rig: Rig) -> None:
    """Others go on; what waits is told once, in the log, the history and as a commit's state; then just that is done.

    A commit that wants something else there asks anew, also of who asks for no approvals any more; deletions are no
    exception, and a command that approves what it applies is somebody's word, too.
    """
    guarded = {"approval": True}
    rig.commit(service("a", **guarded), service("b", "west"))
    with capture_logs() as logs, rig.running() as daemon:
        waiting = rig.next(lambda r: r.target == "east" and r.outcome == "waiting")
        assert waiting.refused == 1
        assert "a change waits for somebody's approval: its policy asks for it" in waiting.reason
        until(lambda: rig.worlds["west"].names() == ["service/b"])
        snapshot = rig.settled(daemon, lambda s: all(t.last and t.last.good for t in s.targets.values()))
        told = status_of(snapshot)
        assert told is not None
        assert (told[1].state, told[1].line) == (CommitState.PENDING, "1 of 2 targets done; east waits for approval")
        daemon.wake({"east"}, "again")
        rig.next(lambda r: r.target == "east" and r.outcome == "waiting")
        (noted,) = [a for a in rig.store.history() if a.outcome == "waiting"]
        digest = noted.data["digest"]
        assert rig.worlds["east"].names() == []

        put(rig, "approve", digest="0" * 64, by="eve")
        rig.next(lambda r: r.target == "east" and r.outcome == "waiting")
        put(rig, "approve", digest=digest, by="ann")
        until(lambda: rig.worlds["east"].names() == ["service/a"])
        until(lambda: digest not in rig.store.approvals())
        until(lambda: any(a.data.get("lifted") for a in rig.store.history()))
        approved = [a.data["by"] for a in rig.store.history() if a.outcome == "approved"]
        assert approved == ["ann", "eve"]
        (done,) = [a for a in rig.store.history() if a.data.get("lifted")]
        assert done.data["by"] == "daemon, approved by ann"

        rig.commit(service("b", "west"))
        refused = Summary.from_json(put(rig, "apply", by="me", timeout=15))
        assert (refused.exit_code, [r.code for r in refused.refusals]) == (13, ["approval-required"])
        assert "taking that back takes a merge of its own" in refused.refusals[0].message
        assert rig.worlds["east"].names() == ["service/a"]
        applied = Summary.from_json(put(rig, "apply", by="me", timeout=15, digest=refused.digest, approve=True))
        assert applied.exit_code == 0
        assert rig.worlds["east"].names() == []
    asked = [log for log in logs if log["event"] == "waits for approval"]
    assert asked[0]["approve"] == f"reconciler approve {digest}"
    assert len({log["digest"] for log in asked}) == len(asked)


def test_an_approval_can_be_taken_back(rig: Rig) -> None:
    """By a command, with who did it in the history; without it the daemon goes on waiting."""
    with rig.running():
        until(lambda: daemon_of(rig.store) is not None)
        put(rig, "approve", digest="1" * 64, by="ann")
        assert [approval.by for approval in rig.store.approvals().values()] == ["ann"]
        put(rig, "approve", digest="1" * 64, by="bob", revoke=True)
        assert rig.store.approvals() == {}
        noted = [(a.outcome, a.data["by"]) for a in rig.store.history() if a.data.get("digest") == "1" * 64]
        assert noted == [("revoked", "bob"), ("approved", "ann")]
