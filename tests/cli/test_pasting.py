"""Commands in messages can be pasted as they are, with the options of the call that printed them."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.pasting import pasteable, plan_for, summary_for
from reconciler.core.change import Refusal, Way
from reconciler.engine.summary import Stop, Summary
from tests.cli.conftest import Run, commit
from tests.views.plans import everything

PLACE = Namespace(repo="/srv/my repo", ref=None, path=None, settings=None, state_dir="/srv/state", output="text")


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [
        ("reconciler approve 12", PLACE, "reconciler approve 12 --state-dir /srv/state"),
        (
            "reconciler apply --max-delete 40",
            PLACE,
            "reconciler apply --max-delete 40 --repo '/srv/my repo' --state-dir /srv/state",
        ),
        ("reconciler apply --allow-empty", Namespace(), "reconciler apply --allow-empty"),
        ("see `reconciler approve --help`", PLACE, "see `reconciler approve --help`"),
    ],
)
def test_a_command_has_the_options_of_the_call(command: str, given: Namespace, expected: str) -> None:
    """Those it takes, quoted for a shell; a command within a sentence is left as it is."""
    assert pasteable(command, given) == expected


def test_plans_and_ends_name_such_commands() -> None:
    """Each way on of a plan's refusal, and each line of an end's hint."""
    ways = (Way("so", "reconciler approve 12"), Way("or", edit="a.yaml:1: x"))
    made = replace(everything(), refusals=(Refusal("protected", "m", "h", ways=ways),))
    (refusal,) = plan_for(made, PLACE).refusals
    assert [way.command for way in refusal.ways] == ["reconciler approve 12 --state-dir /srv/state", ""]
    ended = Summary("refused", "r", "d", 13, refusals=(Stop("", "protected", "m", refusal.advice),))
    ended = replace(ended, refusals=(Stop("", "protected", "m", made.refusals[0].advice),))
    assert summary_for(ended, PLACE).refusals[0].hint == refusal.advice


def test_an_offline_plan_names_the_approval_too(reconciler: Run, repo: Path) -> None:
    """The digest is that of the plan made with access, where nothing has moved: it can be approved in advance."""
    text = (repo / "services/diabetes.yaml").read_text()
    (repo / "services/more.yaml").write_text(text.replace("name: diabetes", "name: more", 1))
    commit(repo, "Two services")
    for path in (repo / "services").iterdir():
        path.unlink()
    done = reconciler("plan", "--offline", cwd=repo)
    assert done.returncode == 0, done.stderr
    assert "[empties-target]" in done.stdout
    told = json.loads(reconciler("plan", "--offline", "-o", "json", cwd=repo).stdout)
    digest = told["targets"]["local"]["digest"]
    assert f"        reconciler approve {digest}\n" in done.stdout
