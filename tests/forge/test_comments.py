"""One comment a pull request: what holds at every forge."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from reconciler.core.errors import AccessError, InvalidError, TargetError, ThrottledError, UnavailableError
from reconciler.forge.body import length, marker
from reconciler.forge.comments import Written, put_comment
from reconciler.forge.refusals import NotFoundError
from tests.forge.conftest import PULL_REQUEST, Bench
from tests.forge.wire import Answer

MARK = marker("production")
HEAD = "a" * 40
WRITES = r"^(POST .*(comments|notes|threads)|PUT|PATCH|DELETE)"


def text(number: int) -> str:
    """A plan as `reconciler plan -o markdown` prints it."""
    return f"<!-- reconciler-plan -->\n### {number} to update\n\n| | service |\n|---|---|\n| `~` | diabetes |\n"


def put(bench: Bench, number: int = 1, **more: str) -> Written:
    """Writes a plan with a connection of its own, as each run has."""
    return put_comment(
        bench.forge(), PULL_REQUEST, text(number), more.get("mark", MARK), more.get("head", HEAD)
    ).written


def test_the_first_is_created_and_the_next_ones_take_its_place(bench: Bench) -> None:
    """One comment stays one, and the same words are not written again."""
    assert put(bench, 1) is Written.CREATED
    assert put(bench, 2) is Written.UPDATED
    before = len(bench.wire.sent(WRITES))
    assert put(bench, 2) is Written.UNCHANGED
    assert len(bench.wire.sent(WRITES)) == before
    (body,) = bench.bodies()
    assert body.startswith(f"{MARK}\n### 2 to update\n")
    assert body.count("<!--") == 1


def test_each_environment_and_folder_has_its_own(bench: Bench) -> None:
    """Comments are told apart by what they are about."""
    marks = [marker("production"), marker("staging"), marker("production", "teams/a"), marker("")]
    for number, mark in enumerate(marks):
        assert put(bench, number, mark=mark) is Written.CREATED
    assert put(bench, 9, mark=marks[1]) is Written.UPDATED
    assert [re.findall(r"\d", body.split("\n")[1]) for body in bench.bodies()] == [["0"], ["9"], ["2"], ["3"]]


def test_it_is_found_on_the_last_page(bench: Bench) -> None:
    """However many comments there are, every page is looked at."""
    for number in range(150):
        bench.add(f"remark {number}", ours=number % 2 == 0)
    bench.add(f"{MARK}\nolder")
    bench.add("one more")
    assert put(bench) is Written.UPDATED
    assert sum(MARK in body for body in bench.bodies()) == 1
    assert len(bench.bodies()) == 152


def test_a_marker_that_others_pasted_stays_theirs(bench: Bench) -> None:
    """Whoever copies our comment keeps the copy; ours is made beside it."""
    bench.add(f"{MARK}\nI am the plan", ours=False)
    assert put(bench) is Written.CREATED
    assert put(bench, 2) is Written.UPDATED
    assert bench.bodies()[0] == f"{MARK}\nI am the plan"
    assert len(bench.bodies()) == 2


def test_a_marker_within_a_comment_of_ours_is_none(bench: Bench) -> None:
    """Another tool that writes as the same user may quote us."""
    bench.add(f"> {MARK}\n> quoted")
    bench.add(f"See:\n{MARK}\n")
    assert put(bench) is Written.CREATED
    assert len(bench.bodies()) == 3


def test_comments_of_the_forge_itself_are_left_alone(benches: Callable[[str], Bench]) -> None:
    """System notes and threads are no comments, whatever stands in them."""
    gitlab, azure = benches("gitlab"), benches("azure-devops")
    gitlab.wire.add(f"{MARK}\nadded 1 commit", 17, system=True)
    azure.wire.add(f"{MARK}\nupdated the pull request status", "build-service", kind="system")
    assert put(gitlab) is Written.CREATED
    assert put(azure) is Written.CREATED


def test_two_of_ours_become_one(bench: Bench) -> None:
    """What two runs left behind is put right by the next: the older one stays."""
    bench.add(f"{MARK}\none")
    bench.add("a remark", ours=False)
    bench.add(f"{MARK}\ntwo")
    assert put(bench, 3) is Written.UPDATED
    first, second = bench.bodies()
    assert "3 to update" in first
    assert second == "a remark"


def test_a_run_that_was_overtaken_between_its_look_and_its_write_leaves_one(bench: Bench) -> None:
    """Another run creates the comment just before ours does: one is left, with the words of the last."""
    bench.wire.before(r"POST .*7/(comments|notes|threads)$", lambda: put(bench, 1))
    assert put(bench, 2) is Written.UPDATED
    (body,) = bench.bodies()
    assert "2 to update" in body


def test_many_runs_at_once_leave_one(bench: Bench) -> None:
    """Whatever the order of their calls."""
    at_once = 6
    barrier = Barrier(at_once)

    def run(number: int) -> Written:
        barrier.wait()
        return put(bench, number)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, range(at_once)))
    put(bench, 7)
    (body,) = bench.bodies()
    assert "7 to update" in body


def test_a_comment_that_is_taken_away_meanwhile_is_written_anew(bench: Bench) -> None:
    """Somebody deletes it between our look and our write."""
    bench.add(f"{MARK}\nolder")

    def take_away() -> None:
        forge = bench.forge()
        forge.delete(PULL_REQUEST, next(forge.comments(PULL_REQUEST)))

    bench.wire.before(r"^(PUT|PATCH) ", take_away)
    assert put(bench) is Written.CREATED
    assert len(bench.bodies()) == 1


def test_an_older_commit_does_not_overwrite(bench: Bench) -> None:
    """The run of a commit that is no longer the newest one writes nothing."""
    assert put(bench, 1) is Written.CREATED
    bench.wire.head = "b" * 40
    assert put(bench, 2) is Written.SUPERSEDED
    assert put(bench, 3, head="b" * 40) is Written.UPDATED
    assert put(bench, 4, head="") is Written.UPDATED


def test_a_plan_that_is_too_long_is_cut_where_the_forge_would_refuse_it(bench: Bench) -> None:
    """The longest text is written; one unit more is cut, and says so."""
    head = f"{MARK}\n"
    fits = "x" * (bench.limit - length(head))
    assert put_comment(bench.forge(), PULL_REQUEST, fits, MARK).written is Written.CREATED
    assert bench.bodies() == [head + fits]
    lines = "\n".join(["🚀" * 50] * (bench.limit // 100 + 1))
    assert put_comment(bench.forge(), PULL_REQUEST, lines, MARK).written is Written.UPDATED
    (body,) = bench.bodies()
    assert bench.limit - 1000 < length(body) <= bench.limit
    assert "lines are left out" in body


def test_an_answer_that_was_lost_makes_no_second_comment(bench: Bench) -> None:
    """The comment was written and the connection broke: it is found, and not written twice."""
    bench.wire.fail(r"POST .*7/(comments|notes|threads)$", None, after=True)
    assert put(bench) is Written.CREATED
    assert len(bench.bodies()) == 1


def test_what_passes_is_waited_for(bench: Bench) -> None:
    """5xx, 429 with its time, and a broken connection: a few times, then it is written."""
    reads = r"^GET .*(comments|notes|threads)$"
    bench.wire.fail(reads, Answer(502, "<html>Bad gateway"))
    bench.wire.fail(reads, Answer(429, {"message": "Too many requests"}, {"retry-after": "7"}))
    bench.wire.fail(reads, None)
    assert put(bench) is Written.CREATED
    assert bench.slept[:3] == [1.0, 7.0, 4.0]


def test_what_does_not_pass_is_not_waited_for_long(bench: Bench) -> None:
    """A forge that stays down, or asks for an hour, is told of; nothing hangs."""
    reads = r"^GET .*(comments|notes|threads)$"
    bench.wire.fail(reads, Answer(503, {"message": "down for maintenance"}), times=100)
    with pytest.raises(UnavailableError, match="answered 503 for the comments of"):
        put(bench)
    assert bench.slept == [1.0, 2.0, 4.0]
    bench.wire.faults.clear()
    bench.wire.fail(reads, Answer(429, {"message": "slow down"}, {"retry-after": "3600"}))
    with pytest.raises(ThrottledError) as caught:
        put(bench)
    assert caught.value.retry_after == 3600
    assert bench.slept == [1.0, 2.0, 4.0]


def test_a_date_says_when_to_come_back(bench: Bench) -> None:
    """`Retry-After` may be a date."""
    bench.now = 784111777.0
    date = {"retry-after": "Sun, 06 Nov 1994 08:49:57 GMT"}
    bench.wire.fail(r"^GET .*(comments|notes|threads)$", Answer(503, {}, date))
    assert put(bench) is Written.CREATED
    assert bench.slept == [20.0]


def test_a_forge_that_cannot_be_reached_is_named(bench: Bench) -> None:
    """Nobody listens there any more."""
    forge = bench.forge()
    bench.wire.close()
    with pytest.raises(UnavailableError, match=re.escape(bench.wire.origin)):
        put_comment(forge, PULL_REQUEST, text(1), MARK)


def test_a_token_that_may_not_write_names_the_permission(bench: Bench) -> None:
    """403 says what is missing, in the forge's own words for it."""
    needs = {"github": "pull-requests: write", "gitlab": "scope `api`", "azure-devops": "Contribute to pull requests"}
    with pytest.raises(AccessError) as caught:
        put_comment(bench.forge(bench.poor), PULL_REQUEST, text(1), MARK)
    assert needs[bench.provider.value] in caught.value.hint
    assert "403" in caught.value.message
    assert bench.bodies() == []


def test_a_token_that_is_wrong_is_told_and_not_shown(bench: Bench) -> None:
    """401, and whatever the forge answers, the token is in no message."""
    with pytest.raises(AccessError) as caught:
        put_comment(bench.forge("c4n4ry-token"), PULL_REQUEST, text(1), MARK)
    assert "wrong or has expired" in caught.value.hint
    bench.wire.fail("GET", Answer(400, {"message": f"no such token: {bench.token}"}))
    with pytest.raises(TargetError) as refused:
        put_comment(bench.forge(), PULL_REQUEST, text(1), MARK)
    assert "no such token: ***" in refused.value.message


def test_a_pull_request_that_is_not_there_is_named(bench: Bench) -> None:
    """404 says what was looked for, and that the token may not see it."""
    with pytest.raises(NotFoundError, match=f"request 8 of {bench.project}") as caught:
        put_comment(bench.forge(), 8, text(1), MARK)
    assert "the token may also not see it" in caught.value.hint


def test_a_repository_that_is_not_there_is_named(bench: Bench) -> None:
    """The same for a wrong name."""
    wrong = "team/other"
    with pytest.raises(NotFoundError, match=wrong):
        put_comment(bench.forge(project=wrong), PULL_REQUEST, text(1), MARK)


def test_the_certificate_is_checked(bench: Bench) -> None:
    """A forge whose certificate nobody vouches for gets no token."""
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        put_comment(bench.forge(ca_file=""), PULL_REQUEST, text(1), MARK)
    assert bench.wire.requests == []
    with pytest.raises(InvalidError, match=r"nothing\.pem cannot be read"):
        bench.forge(ca_file="/nothing.pem")


def test_the_token_does_not_leave_for_elsewhere(bench: Bench, benches: Callable[[str], Bench]) -> None:
    """A redirect to another origin is not followed; one that stays is, with the same method and body."""
    other = benches("gitlab")
    bench.wire.fail("GET", Answer(301, None, {"location": f"{other.wire.origin}/elsewhere?token=1"}))
    with pytest.raises(TargetError, match="the token stays with") as caught:
        put_comment(bench.forge(), PULL_REQUEST, text(1), MARK)
    assert other.wire.requests == []
    assert "token=1" not in caught.value.message
    path = bench.wire.sent("GET")[0].path
    bench.wire.fail(
        f"GET {re.escape(path)}$", Answer(307, None, {"location": f"{bench.wire.origin}{path}?api-version=6.0"})
    )
    assert put_comment(bench.forge(), PULL_REQUEST, text(1), MARK).written is Written.CREATED


def test_an_answer_of_another_kind_is_told(bench: Bench) -> None:
    """A proxy's page is no list of comments."""
    bench.wire.fail("GET", Answer(200, "<html>Welcome to our proxy"))
    with pytest.raises(TargetError, match="something else than JSON"):
        put_comment(bench.forge(), PULL_REQUEST, text(1), MARK)
