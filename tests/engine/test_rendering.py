"""Rendering and merging: what is kept from one revision to the next changes nothing but the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.deployment import Auth, Deployment, EntryScript, Environment, Settings, Target
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError, ReconcilerError, UnavailableError
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Problem
from reconciler.core.resources import Baseline, Desired, ResourceId
from reconciler.core.secrets import SecretRef
from reconciler.engine.keynames import Names
from reconciler.engine.merging import Merged, merged
from reconciler.engine.rendering import Rendering, Renderings
from reconciler.engine.secrets import Keyring
from reconciler.secrets.found import Found
from tests.core.conftest import DEEP, QUICK

from .test_secrets import ENV, IDENTITY, VAULT, Places

SERVICES = "abcd"
RULED = Policy(rules=(DriftRule("/a", FieldPolicy.IGNORE),))
POLICIES = {"own": Policy(), "adopt": Policy(adopt=True), "protect": Policy(protect=True), "ruled": RULED}
VALUES: dict[str, Any] = {"plain": "1", "other": "2", "env": ENV, "vault": VAULT, "refused": "refused"}
ANSWERS: dict[str, Found | ReconcilerError] = {
    "one": Found("one"),
    "two": Found("two"),
    "late": Found("one", warning="it expires"),
    "down": UnavailableError("no answer"),
    "wrong": InvalidError("not there"),
}
NAMES = st.sampled_from(SERVICES)
EDITS = st.one_of(
    st.tuples(st.just("service"), NAMES, st.sampled_from(sorted(VALUES)), st.sampled_from("xy"), st.booleans()),
    st.tuples(st.just("policy"), NAMES, st.sampled_from(sorted(POLICIES))),
    st.tuples(st.sampled_from(["drop", "move", "elsewhere", "rotate", "rename"]), NAMES),
    st.tuples(st.just("answer"), st.sampled_from([ENV, VAULT]), st.sampled_from(sorted(ANSWERS))),
    st.tuples(st.sampled_from(["record", "alone", "nothing"])),
)
HISTORY = st.lists(st.lists(EDITS, min_size=1, max_size=3), min_size=1, max_size=8)


@dataclass
class Box:
    """A target whose resource has what the deployment says, made of an artifact that others may share."""

    target: str = "t"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(kinds=frozenset({"service"}), endpoints=frozenset({"service"}))
    )
    renders: int = 0

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """One resource."""
        self.renders += 1
        value = deployment.settings.environment_variables["V"]
        if value == "refused":
            raise InvalidError("it cannot be")
        spec = {"value": value, "key": deployment.auth.primary}
        artifact = ResourceId("registry", "artifact", deployment.description)
        id_ = ResourceId("t", "service", deployment.service)
        return [Desired(id_, spec, deployment.service, (artifact,), deployment.policy)]


@dataclass
class Shelf:
    """A registry that makes the artifacts, some of them the same object for everyone."""

    target: str = "registry"
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(kinds=frozenset({"artifact"})))
    made: dict[str, Desired] = field(default_factory=dict[str, Desired])

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The artifact that it needs; `y` is wanted in the way of the service that wants it."""
        name = deployment.description
        spec = {"of": name if name == "x" else str(deployment.settings.environment_variables["V"])}
        desired = Desired(ResourceId("registry", "artifact", name), spec, "", policy=deployment.policy)
        return [self.made.setdefault(name, desired) if name == "x" else replace(desired, service=deployment.service)]


def deployment(name: str, value: str = "plain", artifact: str = "x", *, keyed: bool = True) -> Deployment:
    """A service with one variable."""
    auth = Auth(keyed, SecretRef("generated", f"{name}/primary"), SecretRef("generated", f"{name}/secondary"))
    return Deployment(
        name,
        Target("t", "box"),
        (),
        EntryScript("score.py", "", "0"),
        Environment(),
        auth=auth if keyed else Auth(),
        settings=Settings(environment_variables={"V": VALUES[value]}),
        description=artifact,
    )


class Histories:
    """Edits of services, secrets and records, where what nobody edits stays the same object."""

    def __init__(self, *, secrets: bool) -> None:
        self.services = {name: deployment(name) for name in SERVICES}
        self.answers: dict[SecretRef, Found | ReconcilerError] = {ENV: ANSWERS["one"], VAULT: ANSWERS["one"]}
        self.rotations: dict[tuple[str, str], int] = {}
        self.names: dict[str, str] = {}
        self.recorded: dict[ResourceId, Baseline] = {}
        self.drivers: dict[str, Box] = {"t": Box()}
        self.alone: list[Desired] = []
        self.shelf = Shelf()
        self.secrets = secrets
        self.keyring = self.ring()
        self.remembering = self.rendering()
        self.merged = Merged()

    def ring(self) -> Keyring | None:
        """A keyring that has read nothing yet."""
        places = Places(self.answers)
        return Keyring(IDENTITY, places, lambda: dict(self.rotations), lambda: self.recorded) if self.secrets else None

    def rendering(self) -> Rendering:
        """One that remembers nothing yet."""
        return Rendering([self.shelf], self.keyring)

    def edit(self, what: str, *more: Any) -> None:
        """One edit."""
        known = self.services.get(more[0]) if more else None
        match what:
            case "service":
                self.services[more[0]] = deployment(*more[:3], keyed=more[3])
            case "policy" if known:
                self.services[more[0]] = replace(known, policy=POLICIES[more[1]])
            case "drop":
                self.services.pop(more[0], None)
            case "move" if known:
                self.services[more[0]] = replace(known, moved_from="before")
            case "elsewhere" if known:
                self.services[more[0]] = replace(known, target=Target("nowhere", "none"))
            case "rotate":
                self.rotations[more[0], "primary"] = self.rotations.get((more[0], "primary"), 0) + 1
            case "rename":
                self.names[more[0]] = f"{more[0]}#2"
            case "answer":
                self.answers[more[0]] = ANSWERS[more[1]]
            case "record":
                for desired in self.merged.resources.values():
                    self.recorded[desired.id] = Baseline(desired.id, desired.service, desired.spec)
            case "alone":
                self.alone = [*self.alone, Desired(ResourceId("registry", "artifact", "x"), {"of": "x"})]

    def look(self) -> None:
        """What is rendered and merged with all that is remembered is what is without."""
        deployments = tuple(self.services[name] for name in sorted(self.services))
        names = Names(lambda name, before: self.names.get(name) or before or name, set(self.names))
        if self.keyring is not None:
            self.keyring.begin()
        made = self.remembering.of(deployments, self.drivers, names)
        fresh = self.rendering().of(deployments, self.drivers, names)
        assert told(made) == told(fresh)
        self.merged = merged(self.alone, made.groups, self.merged)
        anew = merged(self.alone, fresh.groups, Merged())
        assert list(self.merged.resources.items()) == list(anew.resources.items())
        assert (list(self.merged.problems), self.merged.shared) == (list(anew.problems), anew.shared)


def told(made: Renderings) -> tuple[Mapping[str, Any] | list[Any] | list[Problem] | frozenset[str], ...]:
    """All that is said of services, in their order where that counts."""
    ordered = (list(made.services), list(made.deployments.items()), list(made.groups.items()))
    return (*ordered, made.keys, made.moves, made.failed, made.open, made.ruled, made.problems)


def holds(history: list[list[tuple[Any, ...]]], *, secrets: bool) -> None:
    """Whatever is edited between two looks."""
    life = Histories(secrets=secrets)
    life.look()
    for edits in history:
        for edit in edits:
            life.edit(*edit)
        life.look()


@settings(QUICK, max_examples=100)
@given(HISTORY, st.booleans())
def test_remembering_changes_nothing(history: list[list[tuple[Any, ...]]], secrets: bool) -> None:
    """Services, shared artifacts, problems, keys and moves are those of a process that remembers nothing."""
    holds(history, secrets=secrets)


@pytest.mark.long
@settings(DEEP)
@given(HISTORY, st.booleans())
def test_remembering_changes_nothing_searched_deeply(history: list[list[tuple[Any, ...]]], secrets: bool) -> None:
    """The same with many more."""
    holds(history, secrets=secrets)


def test_only_what_may_have_changed_is_rendered_and_filled() -> None:
    """One edit renders one service; a secret that is kept elsewhere is read at each look, a generated one is not."""
    life = Histories(secrets=True)
    life.services["b"] = deployment("b", "env")
    box = life.drivers["t"]
    rendering, others = life.remembering, dict[str, str]()

    def look() -> tuple[int, Renderings]:
        before = box.renders
        assert life.keyring is not None
        life.keyring.begin()
        names = Names(lambda name, moved_from: others.get(name, name), others)
        made = rendering.of(tuple(life.services[name] for name in SERVICES), life.drivers, names)
        return box.renders - before, made

    assert look()[0] == 4
    rendered, first = look()
    assert (rendered, look()[1] is first) == (0, True)
    life.services["c"] = deployment("c", "other")
    rendered, second = look()
    assert rendered == 1
    assert [name for name in SERVICES if second.services[name] is not first.services[name]] == ["c"]
    life.answers[ENV] = ANSWERS["two"]
    rendered, third = look()
    assert rendered == 0
    assert [name for name in SERVICES if third.groups[name] is not second.groups[name]] == ["b"]
    life.rotations["d", "primary"] = 1
    rendered, fourth = look()
    assert rendered == 0
    assert [name for name in SERVICES if fourth.keys[name] != third.keys[name]] == ["d"]
    others["a"] = "a#2"
    rendered, fifth = look()
    assert rendered == 1
    assert [name for name in SERVICES if fifth.keys[name] != fourth.keys[name]] == ["a"]
    others.clear()
    assert look()[1].keys == fourth.keys
    one = merged([], fifth.groups, Merged())
    assert merged([], fifth.groups, one).resources is one.resources
    life.edit("alone")
    assert merged(life.alone, fifth.groups, one).shared == one.shared
    assert merged([], {}, merged(life.alone, {}, one)).resources == {}
    for name in "ab":
        life.services[name] = deployment(name, "plain", "y")
    one = merged([], look()[1].groups, one)
    assert one.problems == []
    life.services["b"] = deployment("b", "other", "y")
    (clash,) = merged([], look()[1].groups, one).problems
    assert "wanted in two different ways, by a and b" in clash.message
