"""Commit statuses at every forge, and when one is worth posting."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.commit_status import LONGEST_DESCRIPTION, CommitState, CommitStatus, worth_telling
from reconciler.core.errors import AccessError, TargetError, UnavailableError
from reconciler.forge.ci import Surroundings
from reconciler.forge.forge import Provider
from tests.forge.conftest import Bench
from tests.forge.wire import Answer

SHA = "a" * 40
PAGE = "https://ci.example/1"
WORDS = {
    "github": {"pending": "pending", "success": "success", "failure": "failure", "stopped": "error"},
    "gitlab": {"pending": "running", "success": "success", "failure": "failed", "stopped": "canceled"},
    "azure-devops": {"pending": "pending", "success": "succeeded", "failure": "failed", "stopped": "error"},
}


def named(bench: Bench, status: dict[str, object]) -> object:
    """What a status is called at its forge."""
    return status.get("context") or status.get("name")


@pytest.mark.parametrize("state", list(CommitState))
def test_each_state_is_posted_in_the_forge_s_words(bench: Bench, state: CommitState) -> None:
    """With a name for the environment, a line, and a page about it."""
    bench.forge().post_status(SHA, CommitStatus(state, "2 changes done"), "production", PAGE)
    (status,) = bench.wire.statuses
    assert status["state"] == WORDS[bench.provider.value][state.value]
    assert status["description"] == "2 changes done"
    assert status.get("target_url") or status.get("targetUrl") == PAGE
    expected = {"genre": "reconciler", "name": "production"}
    assert named(bench, status) == (expected if bench.provider is Provider.AZURE_DEVOPS else "reconciler/production")


def test_environments_are_apart(bench: Bench) -> None:
    """Each has a status of its own on the same commit."""
    forge = bench.forge()
    for environment in ("production", "staging"):
        forge.post_status(SHA, CommitStatus(CommitState.SUCCESS, "done"), environment)
    one, other = bench.wire.statuses
    assert named(bench, one) != named(bench, other)


def test_a_long_line_is_cut(bench: Bench) -> None:
    """To what GitHub takes, on one line."""
    bench.forge().post_status(SHA, CommitStatus(CommitState.FAILURE, "failed:\n" + "x" * 300), "production")
    (status,) = bench.wire.statuses
    assert len(status["description"]) == LONGEST_DESCRIPTION
    assert "\n" not in status["description"]


def test_a_token_that_may_not_post_names_the_permission(bench: Bench) -> None:
    """403 says what is missing."""
    needs = {"github": "statuses: write", "gitlab": "scope `api`", "azure-devops": "Code (status)"}
    with pytest.raises(AccessError) as caught:
        bench.forge(bench.poor).post_status(SHA, CommitStatus(CommitState.SUCCESS, ""), "production")
    assert needs[bench.provider.value] in caught.value.hint


def test_a_commit_that_the_forge_does_not_know_is_named(bench: Bench) -> None:
    """It was not pushed, or to another repository."""
    with pytest.raises(TargetError, match=r"the status of commit ccccccc of .*: .*[Cc]ommit"):
        bench.forge().post_status("c" * 40, CommitStatus(CommitState.SUCCESS, ""), "production")


def test_posting_again_is_no_error(bench: Bench) -> None:
    """A second `pending` is what is so already; GitLab refuses it, which is no failure of ours."""
    forge = bench.forge()
    for state in (CommitState.PENDING, CommitState.PENDING, CommitState.SUCCESS):
        forge.post_status(SHA, CommitStatus(state, "…"), "production")
    assert bench.wire.statuses[-1]["state"] == WORDS[bench.provider.value]["success"]


def test_what_passes_is_waited_for_or_left_to_the_caller(bench: Bench) -> None:
    """A command tries a few times; the daemon, which waits by itself, once."""
    bench.wire.fail("POST .*statuses", Answer(500, {}))
    bench.forge().post_status(SHA, CommitStatus(CommitState.SUCCESS, ""), "production")
    assert bench.slept == [1.0]
    bench.wire.fail("POST .*statuses", Answer(500, {}))
    with pytest.raises(UnavailableError):
        bench.forge(attempts=1).post_status(SHA, CommitStatus(CommitState.SUCCESS, ""), "production")
    assert bench.slept == [1.0]


def test_in_a_pipeline_of_gitlab_it_is_one_of_its_jobs(benches) -> None:
    """The status of the pipeline's own commit joins it; that of another commit does not."""
    bench = benches("gitlab")
    bench.wire.commits.add("b" * 40)
    around = Surroundings(Provider.GITLAB, pipeline=("900", SHA))
    for sha in (SHA, "b" * 40):
        bench.forge(around=around).post_status(sha, CommitStatus(CommitState.SUCCESS, ""), "production")
    assert [status["pipeline"] for status in bench.wire.statuses] == ["900", ""]


@given(st.lists(st.sampled_from(list(CommitState)), max_size=60))
def test_a_commit_is_told_of_four_times_at_most(states: list[CommitState]) -> None:
    """However much its services flap, no forge's limit is ever reached, and a success is the last word."""
    told: list[CommitState] = []
    for state in states:
        if worth_telling(told[-1] if told else None, state):
            told.append(state)
    assert len(told) <= 4
    assert CommitState.SUCCESS not in told[:-1]
    assert all(a is not b for a, b in product(told[:1], told[1:]))
