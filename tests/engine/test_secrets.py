"""The keyring: what a look's references become, and what stands where a place does not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.errors import (
    AccessError,
    ConflictError,
    InvalidError,
    ReconcilerError,
    RefusedError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.problems import Position, Severity
from reconciler.core.resources import Baseline, Desired, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import from_json, has_secret, references, to_json, walk
from reconciler.engine.identity import Identity
from reconciler.engine.secrets import Keyring
from reconciler.secrets.found import Found

IDENTITY = Identity("rc-test", b"k" * 32)
ID = ResourceId("here", "service", "one")
AT = Position("services/one.yaml", 3, 1)
VAULT = SecretRef("keyVault", "ml/db")
ENV = SecretRef("env", "APP_TOKEN")


@dataclass
class Places:
    """Places that give, or say why not."""

    answers: dict[SecretRef, Found | ReconcilerError]
    asked: list[SecretRef] = field(default_factory=list[SecretRef])

    def begin(self) -> None:
        """A new look."""

    def read_all(self, refs: Iterable[SecretRef]) -> Mapping[SecretRef, Found | ReconcilerError]:
        """What they say."""
        wanted = list(refs)
        self.asked += wanted
        return {ref: self.answers[ref] for ref in wanted}


def keyring(
    answers: Mapping[SecretRef, Found | ReconcilerError],
    baselines: Mapping[ResourceId, Baseline] | None = None,
    rotations: Mapping[tuple[str, str], int] | None = None,
) -> tuple[Keyring, Places]:
    """A keyring over some places."""
    places = Places(dict(answers))
    return Keyring(IDENTITY, places, lambda: rotations or {}, lambda: baselines or {}), places


def wanting(**spec: Any) -> Desired:
    """A resource of the service `one`."""
    return Desired(ID, spec, "one")


def applied(spec: Mapping[str, Any]) -> dict[ResourceId, Baseline]:
    """The record after a spec was applied, and read back from the store."""
    return {ID: Baseline(ID, "one", from_json(to_json(spec, refs=True)))}


def test_references_become_secrets_wherever_they_stand() -> None:
    """In mappings and lists, each read once a look; what is no reference stays."""
    ring, places = keyring({VAULT: Found("hush"), ENV: Found("token")})
    desired = wanting(a=VAULT, deep={"list": [ENV, "text", {"again": VAULT}]}, other=1)
    filled, problems = ring.fill(desired, AT)
    assert problems == []
    assert filled.spec == {
        "a": IDENTITY.seal("hush"),
        "deep": {"list": [IDENTITY.seal("token"), "text", {"again": IDENTITY.seal("hush")}]},
        "other": 1,
    }
    assert {leaf.text for _, leaf in walk(filled.spec) if isinstance(leaf, Secret)} == {"hush", "token"}
    ring.fill(desired, AT)
    assert places.asked == [VAULT, ENV]
    ring.begin()
    ring.prepare([VAULT, VAULT])
    assert places.asked == [VAULT, ENV, VAULT]


def test_generated_keys_follow_their_counter() -> None:
    """A slot is the present key of its service, not any before it."""
    ring, places = keyring({}, rotations={("one", "primary"): 2})
    keys = {slot: SecretRef("generated", f"one/{slot}") for slot in ("primary", "secondary")}
    filled, _ = ring.fill(wanting(**keys), AT)
    assert filled.spec == {
        "primary": IDENTITY.service_key("one", "primary", 2),
        "secondary": IDENTITY.service_key("one", "secondary", 0),
    }
    now, old = (IDENTITY.service_key("one", "primary", rotation) for rotation in (2, 1))
    assert ring.reveal(Secret(now.fingerprint, now.ref)) == now.text
    with pytest.raises(ConflictError):
        ring.reveal(Secret(old.fingerprint, old.ref))
    assert places.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("not allowed"), "secret-not-allowed"),
        (InvalidError("not set"), "secret-unavailable"),
        (AccessError("no role"), "secret-unavailable"),
        (TerminalError("disabled"), "secret-unavailable"),
        (UnavailableError("down"), "secret-unreachable"),
        (ThrottledError("slow down"), "secret-unreachable"),
    ],
)
def test_what_cannot_be_had_is_a_problem_of_its_service(error: ReconcilerError, code: str) -> None:
    """At the document, with the place in the resource; nothing was ever applied that could stand."""
    ring, _ = keyring({VAULT: error})
    _, (problem,) = ring.fill(wanting(env={"DB": VAULT}), AT)
    assert (problem.code, problem.position, problem.severity) == (code, AT, Severity.ERROR)
    assert (problem.message, problem.subject) == (f"/env/DB: {error.message}", "Service/one")


@pytest.mark.parametrize("error", [UnavailableError("down"), ThrottledError("slow down")])
def test_what_was_last_applied_stands_while_a_place_is_silent(error: ReconcilerError) -> None:
    """The same fingerprint, without the text, and a warning: so nothing is changed and nothing restarts."""
    before = IDENTITY.seal("hush", VAULT)
    ring, places = keyring({VAULT: error}, applied({"env": {"DB": before}}))
    filled, (problem,) = ring.fill(wanting(env={"DB": VAULT}), AT)
    assert filled.spec == {"env": {"DB": before}}
    assert (problem.code, problem.severity) == ("secret-unreachable", Severity.WARNING)
    secret = filled.spec["env"]["DB"]  # type: ignore[index, call-overload]
    assert secret.text is None
    with pytest.raises(type(error)):
        ring.reveal(secret)
    places.answers[VAULT] = Found("hush")
    assert ring.reveal(secret) == "hush"
    ring.begin()
    places.answers[VAULT] = Found("other")
    with pytest.raises(ConflictError, match="changed since it was planned"):
        ring.reveal(secret)


@pytest.mark.parametrize(
    "record",
    [
        {"env": {"DB": IDENTITY.seal("hush", SecretRef("keyVault", "ml/other"))}},
        {"env": {"DB": IDENTITY.seal("hush", SecretRef("keyVault", "ml/db", "digest"))}},
        {"env": {"DB": Secret(IDENTITY.seal("hush").fingerprint)}},
        {"env": {"DB": "text"}},
        {"env": {}},
    ],
)
def test_only_the_same_reference_stands(record: Mapping[str, Any]) -> None:
    """What another reference led to says nothing about this one."""
    ring, _ = keyring({VAULT: UnavailableError("down")}, applied(record))
    _, (problem,) = ring.fill(wanting(env={"DB": VAULT}), AT)
    assert problem.severity is Severity.ERROR


def test_a_verdict_is_no_silence() -> None:
    """A vault that says no was heard: what was applied does not stand for ever against its word."""
    ring, _ = keyring({VAULT: AccessError("no role")}, applied({"a": IDENTITY.seal("hush", VAULT)}))
    _, (problem,) = ring.fill(wanting(a=VAULT), AT)
    assert (problem.code, problem.severity) == ("secret-unavailable", Severity.ERROR)


def test_a_secret_past_its_time_is_used_and_said() -> None:
    """A warning at the service."""
    ring, _ = keyring({VAULT: Found("hush", "it expired on 2023-11-14")})
    filled, (problem,) = ring.fill(wanting(a=VAULT), AT)
    assert filled.spec == {"a": IDENTITY.seal("hush")}
    assert (problem.code, problem.severity) == ("secret-expired", Severity.WARNING)
    assert problem.message == "/a: it expired on 2023-11-14"


def test_revealing() -> None:
    """A text at hand is given; a reference is read; a fingerprint alone, or what is not allowed, ends it."""
    ring, places = keyring({ENV: RefusedError("not allowed"), VAULT: Found("hush")})
    assert ring.reveal(IDENTITY.seal("here")) == "here"
    assert ring.reveal(VAULT) == "hush"
    for secret in (Secret("0" * 32), Secret("0" * 32, ENV), ENV):
        with pytest.raises(TerminalError):
            ring.reveal(secret)
    assert places.asked == [VAULT, ENV]


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([VAULT, ENV])
SPECS = st.dictionaries(
    st.text(),
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20),
)


@given(SPECS)
def test_no_reference_is_overlooked(spec: dict[str, Any]) -> None:
    """Whatever a driver renders: afterwards no reference is left, and the rest is as it was."""
    ring, _ = keyring({VAULT: Found("hush"), ENV: Found("token")})
    desired = Desired(ID, spec, "one")
    filled, problems = ring.fill(desired, None)
    assert problems == []
    assert references(filled.spec) == []
    assert references(spec) == [leaf for _, leaf in walk(spec) if isinstance(leaf, SecretRef)]
    assert has_secret(filled.spec) == bool(references(spec))


@given(SPECS)
def test_the_record_keeps_where_secrets_came_from(spec: dict[str, Any]) -> None:
    """Stored and read back, a spec is the same one, without its texts."""
    ring, _ = keyring({VAULT: Found("hush"), ENV: Found("token")})
    filled, _ = ring.fill(Desired(ID, spec, "one"), None)
    back = from_json(to_json(filled.spec, refs=True))
    assert back == filled.spec
    secrets = [(leaf.ref, leaf.text) for _, leaf in walk(back) if isinstance(leaf, Secret)]
    assert secrets == [(ref, None) for _, ref in walk(spec) if isinstance(ref, SecretRef)]
    assert from_json(to_json(spec)) == spec
