"""What is GitHub's alone: whose token it is, and its two kinds of limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.core.errors import AccessError, ThrottledError
from reconciler.forge.body import marker
from reconciler.forge.ci import Surroundings
from reconciler.forge.comments import Written, put_comment
from reconciler.forge.forge import Provider
from tests.forge.conftest import Bench
from tests.forge.wire import Answer
from tests.forge.wire_github import Token

MARK = marker("")


@pytest.fixture
def bench(benches: Callable[[str], Bench]) -> Bench:
    """github.com."""
    return benches("github")


def test_whose_token_it_is_is_asked_only_if_it_matters(bench: Bench) -> None:
    """A pull request without our marker needs no such question."""
    bench.add("a remark", ours=False)
    put_comment(bench.forge(), 7, "one", MARK)
    # Once, for the look after the write.
    assert len(bench.wire.sent("POST /graphql")) == 1


@pytest.mark.parametrize(
    ("which", "path"), [("github", "/graphql"), ("github-enterprise", "/api/graphql")], ids=["cloud", "server"]
)
def test_the_other_api_stands_where_each_has_it(benches: Callable[[str], Bench], which: str, path: str) -> None:
    """github.com and Enterprise Server have GraphQL at different places; Actions name theirs."""
    bench = benches(which)
    put_comment(bench.forge(), 7, "one", MARK)
    named = Surroundings(Provider.GITHUB, bench.wire.api, graphql=f"{bench.wire.origin}{path}")
    put_comment(bench.forge(around=named), 7, "two", MARK)
    assert len(bench.wire.sent(f"POST {path}$")) == 2


def test_comments_of_another_program_are_not_ours(bench: Bench) -> None:
    """Two bots may both write; each knows its own."""
    bench.wire.add(f"{MARK}\nby another", "renovate[bot]")
    assert put_comment(bench.forge(), 7, "mine", MARK).written is Written.CREATED
    assert bench.bodies() == [f"{MARK}\nby another", f"{MARK}\nmine"]


def test_where_github_does_not_say_who_we_are_programs_count(bench: Bench) -> None:
    """Then a comment with our marker by any program is updated, and a person's never is."""
    bench.wire.graphql = False
    bench.add(f"{MARK}\npasted", ours=False)
    bench.wire.add(f"{MARK}\nolder", "some-app[bot]")
    assert put_comment(bench.forge(), 7, "newer", MARK).written is Written.UPDATED
    assert bench.bodies() == [f"{MARK}\npasted", f"{MARK}\nnewer"]


def test_a_person_s_token_finds_its_comments(bench: Bench) -> None:
    """A personal access token writes as that person."""
    bench.wire.tokens["ghp-ada"] = Token("ada", bot=False)
    for number in (1, 2):
        put_comment(bench.forge("ghp-ada"), 7, f"plan {number}", MARK)
    assert bench.bodies() == [f"{MARK}\nplan 2"]


def test_403_for_too_many_calls_is_no_question_of_permissions(bench: Bench) -> None:
    """GitHub's limits come as 403: with the time at which they end, or with a sentence."""
    ended = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(bench.now) + 20)}
    bench.wire.fail("POST .*comments", Answer(403, {"message": "API rate limit exceeded"}, ended))
    put_comment(bench.forge(), 7, "one", MARK)
    assert bench.slept == [20.0]
    bench.wire.fail("POST .*statuses", Answer(403, {"message": "You have exceeded a secondary rate limit."}), times=9)
    with pytest.raises(ThrottledError):
        bench.forge().post_status("a" * 40, CommitStatus(CommitState.PENDING, "x"), "production")
    assert bench.slept == [20.0, 60.0]


def test_a_refusal_says_what_github_would_accept(bench: Bench) -> None:
    """GitHub names permissions in a header of its refusals."""
    with pytest.raises(AccessError) as caught:
        put_comment(bench.forge("ghs-poor"), 7, "one", MARK)
    assert "(issues=write; pull_requests=write)" in caught.value.hint


def test_a_token_that_may_not_read_pull_requests_may_still_comment(bench: Bench) -> None:
    """`issues: write` alone is enough for a comment; the question for the newest commit goes unanswered."""
    refused = Answer(403, {"message": "Resource not accessible by integration"})
    bench.wire.fail("GET .*/pulls/7", refused, times=9)
    assert put_comment(bench.forge(), 7, "one", MARK, "c" * 40).written is Written.CREATED


def test_a_repository_that_was_renamed_is_found(bench: Bench) -> None:
    """GitHub redirects the old name, reads and writes alike, and wants the method kept."""
    calls = [f"/repos/old/models/{rest}" for rest in ("pulls/7", "issues/7/comments")]
    for path in calls:
        moved = f"{bench.wire.origin}{path.replace('/repos/old/models', '/repositories/42')}"
        status = 307 if "comments" in path else 301
        bench.wire.fail(f" {path}$", Answer(status, {"message": "Moved Permanently"}, {"location": moved}), times=9)
    written = put_comment(bench.forge(project="old/models"), 7, "one", MARK, "a" * 40).written
    assert written is Written.CREATED
    assert bench.bodies() == [f"{MARK}\none"]
