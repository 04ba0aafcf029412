"""Every refusal names a way on: a command to paste or an edit to make, with the plan's own digest and the place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.approval import BY_POLICY
from reconciler.core.change import Plan, Refusal
from reconciler.core.deployment import Deployment, EntryScript, Environment, Target
from reconciler.core.driver import Capabilities
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.problems import Position
from reconciler.core.resources import Mark
from reconciler.core.situation import Origin
from tests.cli.codes import refusal_codes

from .model import KIND, US, Loop, ModelTarget, id_of, want

DOCS = Path(__file__).parents[2] / "docs"
TEN = [f"s{n}" for n in range(10)]


def deployment(name: str) -> Deployment:
    """A service whose document stands in a file."""
    at = Position(f"services/{name}.yaml", 3, 1)
    return Deployment(name, Target("t", "local"), (), EntryScript("s.py", "", ""), Environment(), position=at)


def too_many() -> Plan:
    loop = Loop()
    desired = [want(name, {"a": 1}) for name in TEN]
    loop.settle(desired)
    return plan(loop.situation(desired[4:]))


def empties() -> Plan:
    loop = Loop()
    loop.settle([want("one", {}), want("two", {})])
    return plan(loop.situation([]))


def other_repo() -> Plan:
    loop = Loop()
    loop.settle([want("one", {}), want("two", {})])
    return plan(loop.situation([want("two", {})], elsewhere={"t": Origin("/srv/theirs")}))


def other_environment() -> Plan:
    loop = Loop()
    loop.settle([want("one", {}), want("two", {})])
    return plan(loop.situation([want("two", {"a": 1})], elsewhere={"t": Origin("", "staging")}))


def protected() -> Plan:
    loop = Loop()
    loop.settle([want("one", {}, policy=Policy(protect=True)), want("two", {})])
    return plan(loop.situation([want("two", {})]))


def protected_and_moved() -> Plan:
    loop = Loop()
    loop.settle([want("one", {}, policy=Policy(protect=True)), want("two", {})])
    return plan(loop.situation([want("uno", {}), want("two", {})], moves={"uno": "one"}))


def protected_with_data() -> Plan:
    capabilities = Capabilities(frozenset({KIND}), immutable=("/zone",), holds_data=frozenset({KIND}))
    loop = Loop(ModelTarget(capabilities=capabilities))
    loop.settle([want("one", {"zone": "a"}, policy=Policy(protect=True))])
    return plan(loop.situation([want("one", {"zone": "b"})]))


def for_good() -> Plan:
    loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), irreplaceable=frozenset({KIND}))))
    loop.settle([want("one", {}), want("two", {})])
    return plan(loop.situation([want("two", {})]))


def irreplaceable() -> Plan:
    capabilities = Capabilities(frozenset({KIND}), immutable=("/zone",), irreplaceable=frozenset({KIND}))
    loop = Loop(ModelTarget(capabilities=capabilities))
    loop.settle([want("one", {"zone": "a", "size": 1})])
    return plan(loop.situation([want("one", {"zone": "b", "size": 2})], deployments={"one": deployment("one")}))


def foreign() -> Plan:
    loop = Loop()
    loop.target.put(id_of("one"), {"a": 1}, Mark("them", "one", "r", "d", str(id_of("one"))))
    return plan(loop.situation([want("one", {"a": 1})], deployments={"one": deployment("one")}))


def foreign_and_immutable() -> Plan:
    loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), immutable=("/zone",))))
    loop.target.put(id_of("one"), {"zone": "a"}, None)
    desired = want("one", {"zone": "b"}, policy=Policy(adopt=True))
    return plan(loop.situation([desired], deployments={"one": deployment("one")}))


def unapproved() -> Plan:
    return plan(Loop().situation([want("one", {})], approval={"t": BY_POLICY}))


# Each code with plans that refuse so.
REFUSED: Mapping[str, tuple[Callable[[], Plan], ...]] = {
    "too-many-deletes": (too_many,),
    "empties-target": (empties,),
    "other-repo": (other_repo,),
    "other-environment": (other_environment,),
    "approval-required": (unapproved,),
    "protected": (protected, protected_and_moved, protected_with_data),
    "foreign": (foreign, foreign_and_immutable),
    "deletes-for-good": (for_good,),
    "irreplaceable": (irreplaceable,),
}


def refused(code: str) -> list[tuple[Plan, Refusal]]:
    """Refusals of a code, each with its plan."""
    found: list[tuple[Plan, Refusal]] = []
    for make in REFUSED[code]:
        made = make()
        found += [(made, refusal) for refusal in made.refusals if refusal.code == code]
        assert any(refusal.code == code for refusal in made.refusals), make
    return found


def test_every_code_of_a_refusal_is_walked() -> None:
    """A refusal that is added to the source needs a plan here that shows its way on."""
    assert set(REFUSED) == refusal_codes()


@pytest.mark.parametrize("code", sorted(REFUSED))
def test_every_refusal_has_a_way_on(code: str) -> None:
    """A command with the real digest or an edit with its place; an approval is offered just where it helps."""
    for made, refusal in refused(code):
        assert refusal.ways
        for way in refusal.ways:
            assert bool(way.command) != bool(way.edit)
            assert way.text
            assert "DIGEST" not in way.command
        approvals = [way.command for way in refusal.ways if way.command.startswith("reconciler approve ")]
        assert approvals == ([f"reconciler approve {made.digest_for(refusal)}"] if refusal.approvable else [])
        assert all(way.command or way.edit in refusal.advice for way in refusal.ways)


@pytest.mark.parametrize("code", sorted(REFUSED))
def test_every_refusal_is_explained_in_the_docs(code: str) -> None:
    """docs/messages.md says what is refused and what to do."""
    (row,) = re.findall(rf"^\| `{code}` \| (.+) \|$", (DOCS / "messages.md").read_text(), re.MULTILINE)
    assert re.search(r"pprove|`policy:", row)


def test_an_edit_says_where() -> None:
    """The document of the service, with file, line and column, and what to write below which key."""
    ((_, refusal),) = [found for found in refused("foreign") if found[0] == foreign()]
    assert [way.edit for way in refusal.ways] == [
        "services/one.yaml:3:1, below spec: policy: {adopt: true}",
        "services/one.yaml:3:1, below metadata: another name",
    ]
    assert "belongs to installation them" in refusal.message


def test_a_shared_artifact_is_taken_over_by_a_service_that_needs_it() -> None:
    """An artifact has no document with a policy: the edit is in one of a service that uses it."""
    loop = Loop()
    loop.target.put(id_of("model"), {"a": 1}, None)
    model: Any = want("model", {"a": 1})
    shared = type(model)(model.id, model.spec)
    user = want("user", {}, depends_on=(shared.id,))
    made = plan(loop.situation([shared, user], deployments={"user": deployment("user")}))
    (refusal,) = made.refusals
    assert refusal.ways[0].edit == "services/user.yaml:3:1, below spec: policy: {adopt: true}"
    assert "another name or version" in refusal.ways[1].edit
    assert US not in refusal.message
