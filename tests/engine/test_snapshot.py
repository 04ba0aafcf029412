"""Snapshots: what they hold and hide, who is believed, and that a plan against one is the plan against the target."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.change import Plan
from reconciler.core.contents import Revision
from reconciler.core.diff import assign
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError, RefusedError, UsageError
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.resources import Desired, Health, Observed, Pending
from reconciler.core.secrets import Secret, SecretRef, seal
from reconciler.core.situation import Hold, Situation
from reconciler.core.values import transform
from reconciler.engine.desired import DesiredState
from reconciler.engine.snapshot.document import Snapshot, as_json, from_text, to_text
from reconciler.engine.snapshot.labels import labelled
from reconciler.engine.snapshot.making import SnapshotMaker
from reconciler.engine.snapshot.reading import situation_from
from reconciler.engine.snapshot.schema import schema
from reconciler.engine.snapshot.signing import PAYLOAD_TYPE, PublicKey, Signer, open_envelope
from reconciler.engine.store import Store
from reconciler.views import plan_json, plan_text
from tests.core.model import KIND, POLICIES, SPECS, US, VALUES, Loop, ModelTarget, id_of
from tests.views import schemas

from .conftest import FakeClock

KEY = b"k" * 32
NOW = 1_700_000_000.0
CANARY = "hunter2-canary"
STRICT = schemas.strict(schema())
REFS = [
    SecretRef("env", "A"),
    SecretRef("env", "B"),
    SecretRef("generated", "one/primary"),
    SecretRef("sops", "s.yaml#/a", "d1g"),
]


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotMaker]:
    """Makes snapshots of an installation that has recorded nothing but what a situation says."""
    store = Store(tmp_path_factory.mktemp("state") / "state.db", FakeClock())
    yield SnapshotMaker(US, "https://git.example/ml", "", store, FakeClock(), [], lambda targets: ({}, []))
    store.close()


def secret(ref: SecretRef, text: str) -> Secret:
    """What a reference gives."""
    return seal(KEY, text, ref)


def looked(maker: SnapshotMaker, situation: Situation) -> Snapshot:
    """The snapshot of one look, after it went through its text."""
    return from_text(to_text(maker.make(dict.fromkeys(situation.observations, situation))))


def state_of(desired: Sequence[Desired], revision: Revision) -> DesiredState:
    """What one revision wants, as a reader without the key has it."""
    named = frozenset(d.service for d in desired)
    wanted = tuple(replace(d, spec=labelled(d.spec)) for d in desired)
    return DesiredState(revision, wanted, {}, named, frozenset(), True, (), (), {})


def read(snapshot: Snapshot, desired: Sequence[Desired], situation: Situation) -> Plan:
    """The plan of a revision against a snapshot."""
    state = state_of(desired, situation.revision)
    return plan(situation_from(snapshot, state, situation.capabilities, NOW))


def same(one: Plan, other: Plan) -> None:
    """Two plans read alike and have one digest."""
    plain = replace(other, basis=None)
    assert plan_text.render(one) == plan_text.render(plain)
    assert plan_json.render(one) == plan_json.render(plain)
    assert one.digest == other.digest


# A random life: commits, renewed secrets, hands, crashes, lost records

SECRET_SPECS = st.builds(
    lambda spec, secrets: {**spec, **secrets},
    SPECS,
    st.dictionaries(st.sampled_from(["k", "m2", "k/1"]), st.sampled_from(REFS), max_size=2),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("commit"), SECRET_SPECS),
    st.tuples(st.just("renew"), st.sampled_from(REFS)),
    st.tuples(st.just("edit"), st.tuples(st.sampled_from(["a", "k", "theirs", "m"]), VALUES)),
    st.tuples(st.just("policy"), POLICIES),
    st.tuples(st.just("reconcile"), st.none()),
    st.tuples(st.just("interrupt"), st.none()),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("delete"), st.none()),
    st.tuples(st.just("missing"), st.none()),
)


class Life:
    """One service, its secrets, and what happens to them."""

    def __init__(self) -> None:
        self.loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), write_only=("/k",))))
        self.spec: Mapping[str, Any] = {}
        self.values = {ref: f"first of {ref}" for ref in REFS}
        self.policy = Policy()

    def desired(self) -> list[Desired]:
        """What Git wants, with the secrets of this moment."""

        def filled(leaf: Any) -> Any:
            return secret(leaf, self.values[leaf]) if isinstance(leaf, SecretRef) else leaf

        return [Desired(id_of("one"), transform(self.spec, filled), "one", policy=self.policy)]

    def happen(self, what: str, how: Any) -> None:
        """One event."""
        records, baselines = self.loop.target.records, self.loop.baselines
        if what == "commit":
            self.spec = how
        elif what == "renew":
            self.values[how] += "+"
        elif what == "policy":
            self.policy = how
        elif what == "reconcile":
            self.loop.reconcile(self.desired())
        elif what == "forget":
            baselines.clear()
        elif what == "delete":
            records.clear()
        elif what == "interrupt":
            for id_, baseline in list(baselines.items()):
                baselines[id_] = replace(baseline, pending=Pending("update", "apply", self.desired()[0].spec))
        for id_, observed in list(records.items()):
            if what == "edit":
                self.loop.target.put(id_, assign(observed.spec, f"/{how[0]}", how[1]), observed.mark)
            elif what == "missing":
                records[id_] = replace(observed, health=Health.MISSING, reason="it ended")


@settings(max_examples=25, deadline=None)
@given(st.lists(OPERATIONS, max_size=8))
def test_a_plan_against_a_snapshot_is_the_plan_against_the_target(maker: SnapshotMaker, events: list[Any]) -> None:
    """Whatever happened before: without the key and without the target, the same text, JSON and digest."""
    life = Life()
    for what, how in [("reconcile", None), *events]:
        life.happen(what, how)
    situation = life.loop.situation(life.desired())
    snapshot = looked(maker, situation)
    same(plan(situation), read(snapshot, life.desired(), situation))


@pytest.mark.parametrize("now", [True, 1.0, "1", 2])
def test_what_is_almost_equal_is_not_taken_for_equal(maker: SnapshotMaker, now: Any) -> None:
    """A 1 that became true is drift, with a snapshot as without."""
    life = serving({"a": 1, "key": REFS[0]})
    life.happen("edit", ("a", now))
    situation = life.loop.situation(life.desired())
    same(plan(situation), read(looked(maker, situation), life.desired(), situation))


@settings(max_examples=25, deadline=None)
@given(st.lists(OPERATIONS, max_size=8))
def test_no_secret_and_nothing_of_others_is_published(maker: SnapshotMaker, events: list[Any]) -> None:
    """Neither a secret nor its fingerprint nor the value of a field that is not ours is in the text."""
    life = Life()
    for what, how in [("reconcile", None), *events]:
        life.happen(what, how)
    for id_, observed in list(life.loop.target.records.items()):
        spec = {**observed.spec, "theirs2": CANARY, "more": {"of": [CANARY]}}
        life.loop.target.put(id_, spec, observed.mark)
    situation = life.loop.situation(life.desired())
    text = to_text(maker.make({"t": situation}))
    assert CANARY not in text
    assert "first of" not in text
    for ref in REFS:
        for count in range(len(events) + 1):
            assert seal(KEY, f"first of {ref}{'+' * count}").fingerprint not in text


@settings(max_examples=20, deadline=None)
@given(st.lists(OPERATIONS, max_size=6))
def test_a_snapshot_survives_its_text(maker: SnapshotMaker, events: list[Any]) -> None:
    """Reading what was written gives the same snapshot, and writing it again the same text."""
    life = Life()
    for what, how in events:
        life.happen(what, how)
    made = maker.make({"t": life.loop.situation(life.desired()), "u": None})
    text = to_text(made)
    assert from_text(text) == made
    assert to_text(from_text(text)) == text


@settings(max_examples=25, deadline=None)
@given(st.lists(OPERATIONS, max_size=8))
def test_a_snapshot_is_as_its_schema_says(maker: SnapshotMaker, events: list[Any]) -> None:
    """No key is missing, none is there that the schema does not name."""
    life = Life()
    for what, how in events:
        life.happen(what, how)
    STRICT.validate(as_json(maker.make({"t": life.loop.situation(life.desired()), "u": None})))


def test_the_committed_schema_is_fresh_and_describes_every_key() -> None:
    """`make schema` renews it."""
    assert json.loads((Path(__file__).parents[2] / "schema" / "snapshot.json").read_text()) == schema()
    assert schemas.undescribed(schema()) == []


# Secrets without a key


def serving(spec: Mapping[str, Any], values: Mapping[SecretRef, str] | None = None) -> Life:
    """A service at rest."""
    life = Life()
    life.spec = spec
    life.values |= values or {}
    life.loop.settle(life.desired())
    return life


def test_another_reference_shows_whatever_its_value_is(maker: SnapshotMaker) -> None:
    """env:A becomes env:B in a pull request: it is a change, and its value is said not to be compared."""
    life = serving({"key": REFS[0]})
    snapshot = looked(maker, life.loop.situation(life.desired()))
    life.spec = {"key": REFS[1]}
    made = read(snapshot, life.desired(), life.loop.situation(life.desired()))
    (change,) = made.effective()
    assert [f.pointer for f in change.fields] == ["/key"]
    assert "(sensitive) changed" in plan_text.render(made)
    assert made.basis is not None
    assert [(n.id, n.pointer, n.reference) for n in made.basis.not_compared] == [("t/thing/one", "/key", "env:B")]
    assert "Not compared: the value of env:B, for t/thing/one /key" in plan_text.render(made)


def test_a_renewed_secret_shows_without_the_key(maker: SnapshotMaker) -> None:
    """The daemon compared it; the reader learns that it is another one."""
    life = serving({"key": REFS[0]})
    life.happen("renew", REFS[0])
    situation = life.loop.situation(life.desired())
    made = read(looked(maker, situation), life.desired(), situation)
    assert [f.pointer for c in made.effective() for f in c.fields] == ["/key"]
    assert made.basis is not None
    assert made.basis.not_compared == ()


def test_a_secret_that_the_daemon_cannot_read_is_taken_for_unchanged_and_said_to_be(maker: SnapshotMaker) -> None:
    """Its service has no desired state there: what was sent stands, with a note."""
    life = serving({"key": REFS[0], "a": 1})
    wanted = life.desired()
    situation = replace(life.loop.situation(wanted), desired=[], incomplete=frozenset({"one"}))
    snapshot = looked(maker, situation)
    life.spec = {"key": REFS[0], "a": 2}
    made = read(snapshot, life.desired(), life.loop.situation(life.desired()))
    assert [f.pointer for c in made.effective() for f in c.fields] == ["/a"]
    assert made.basis is not None
    assert [n.reference for n in made.basis.not_compared] == ["env:A"]


def test_a_sealed_secret_that_was_sealed_anew_shows(maker: SnapshotMaker) -> None:
    """The encrypted value in the repo is another one, whatever it holds."""
    life = serving({"key": REFS[3]})
    snapshot = looked(maker, life.loop.situation(life.desired()))
    anew = replace(REFS[3], digest="0ther")
    life.spec, life.values = {"key": anew}, {**life.values, anew: "anew"}
    made = read(snapshot, life.desired(), life.loop.situation(life.desired()))
    assert [f.pointer for c in made.effective() for f in c.fields] == ["/key"]
    assert made.basis is not None
    assert [n.reference for n in made.basis.not_compared] == [str(anew)]


def test_going_back_to_a_reference_that_is_not_used_now_is_not_compared(maker: SnapshotMaker) -> None:
    """Git moved on to env:B and that was not applied; a pull request that says env:A again changes nothing for sure."""
    life = serving({"key": REFS[0]})
    life.spec = {"key": REFS[1]}
    snapshot = looked(maker, life.loop.situation(life.desired()))
    assert [c.id.name for c in read(snapshot, life.desired(), life.loop.situation(life.desired())).effective()] == [
        "one"
    ]
    life.spec = {"key": REFS[0]}
    made = read(snapshot, life.desired(), life.loop.situation(life.desired()))
    assert made.empty
    assert made.basis is not None
    assert [n.reference for n in made.basis.not_compared] == ["env:A"]


def test_a_field_that_git_has_only_now_is_not_compared_with_what_others_put_there(maker: SnapshotMaker) -> None:
    """What was nobody's business is a label in the snapshot, so the change shows without the value."""
    life = serving({"a": 1})
    ((id_, observed),) = life.loop.target.records.items()
    life.loop.target.put(id_, {**observed.spec, "b": CANARY}, observed.mark)
    snapshot = looked(maker, life.loop.situation(life.desired()))
    life.spec = {"a": 1, "b": "ours"}
    made = read(snapshot, life.desired(), life.loop.situation(life.desired()))
    assert CANARY not in plan_json.render(made)
    assert made.basis is not None
    assert [(n.pointer, n.reference) for n in made.basis.not_compared] == [("/b", "")]


def test_equal_secrets_at_two_places_have_nothing_in_common(maker: SnapshotMaker) -> None:
    """Who shares a password with whom is not told."""
    life = serving({"a": REFS[0], "b": REFS[1]}, {REFS[0]: "shared", REFS[1]: "shared"})
    life.values = dict.fromkeys(REFS, "both renewed")
    recorded = to_text(maker.make({"t": life.loop.situation(life.desired())}))
    other = serving({"a": REFS[0], "b": REFS[1]}, {REFS[0]: "one", REFS[1]: "other"})
    other.values = {ref: f"{ref} renewed" for ref in REFS}

    def without_digests(text: str) -> Any:
        data = json.loads(text)
        for resource in data["targets"]["t"]["resources"]:
            del resource["observed"]["mark"]["specDigest"]
        return data

    apart = to_text(maker.make({"t": other.loop.situation(other.desired())}))
    assert without_digests(recorded) == without_digests(apart)


def test_reasons_and_outputs_are_kept_to_what_planning_needs(maker: SnapshotMaker) -> None:
    """The last words of a script and the outputs that nobody refers to stay where they are."""
    life = serving({"a": 1})
    ((id_, observed),) = life.loop.target.records.items()
    told: Observed = replace(
        observed, health=Health.DEGRADED, reason=CANARY, outputs={"url": CANARY}, events=(CANARY,), version=CANARY
    )
    life.loop.target.records[id_] = told
    assert CANARY not in to_text(maker.make({"t": life.loop.situation(life.desired())}))


def test_what_failed_is_held_in_a_snapshot_too(maker: SnapshotMaker) -> None:
    """A hold of a spec with secrets holds the same version for a reader without the key."""
    life = serving({"key": REFS[0], "a": 1})
    life.spec = {"key": REFS[0], "a": 2}
    (wanted,) = life.desired()
    hold = Hold(wanted.spec_digest, "it failed", NOW + 1e9)
    situation = life.loop.situation([wanted], holds={wanted.id: hold}, now=maker.clock.now())
    made = plan(situation)
    assert [b.id for b in made.blocked] == [wanted.id]
    same(made, read(looked(maker, situation), [wanted], situation))


# Who is believed


def test_a_signature_is_believed_of_the_pinned_key_alone() -> None:
    """Another installation's key, or none of those given, is refused."""
    signer, other = Signer("rc-one", KEY), Signer("rc-two", b"o" * 32)
    data = signer.sign('{"a": "ä"}')
    assert open_envelope(data, [other.public_key, signer.public_key]) == (b'{"a": "\xc3\xa4"}', signer.public_key)
    with pytest.raises(RefusedError, match="not signed by rc-two"):
        open_envelope(data, [other.public_key])
    assert PublicKey.parse(str(signer.public_key)) == signer.public_key
    assert Signer("rc-one", KEY).public_key == signer.public_key


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, bits: int) -> None:
    """Whatever byte of the envelope is changed, it is refused, no envelope any more, or still means the same."""
    signer = Signer("rc-one", KEY)
    data = bytearray(signer.sign('{"kind": "Snapshot"}'))
    data[at % len(data)] ^= bits
    payload, hint = None, ""
    try:
        payload, _ = open_envelope(bytes(data), [signer.public_key])
    except (RefusedError, InvalidError) as error:
        hint = error.hint
    assert hint or payload == b'{"kind": "Snapshot"}'


def test_the_signature_is_that_of_dsse() -> None:
    """What is signed is DSSE's encoding, so that others can check it (dsse, protocol.md, "Signature Definition")."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signer = Signer("rc-one", KEY)
    envelope = json.loads(signer.sign("hello"))
    assert base64.b64decode(envelope["payload"]) == b"hello"
    signed = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} 5 hello".encode()
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    Ed25519PublicKey.from_public_bytes(signer.public_key.raw).verify(signature, signed)


@pytest.mark.parametrize("text", ["", "rc-one", "rc-one:rsa:AAAA", "rc-one:ed25519:AAAA", ":ed25519:" + "A" * 43 + "="])
def test_a_key_of_another_form_is_told(text: str) -> None:
    """What to give stands in the message."""
    with pytest.raises(UsageError) as caught:
        PublicKey.parse(text)
    assert "--public-key" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"kind": "Plan", "formatVersion": 1}', "not a snapshot"),
        ('{"kind": "Snapshot", "formatVersion": 2}', "version 2"),
        ('{"kind": "Snapshot", "formatVersion": "1"}', "version '1'"),
        ('{"kind": "Snapshot", "formatVersion": 1}', "damaged"),
    ],
)
def test_what_is_no_snapshot_is_told(text: str, says: str) -> None:
    """One error with a way on, never a traceback."""
    with pytest.raises(InvalidError, match=says) as caught:
        from_text(text)
    assert caught.value.hint


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_document_is_told(maker: SnapshotMaker, data: st.DataObject) -> None:
    """Wherever a value is replaced by another, it reads as a snapshot or is told to be damaged."""
    life = serving({"key": REFS[0], "a": [1, {"b": None}]})
    life.happen("interrupt", None)
    document = json.loads(to_text(maker.make({"t": life.loop.situation(life.desired())})))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just([]), st.just({"x": 1})))
    hint = "none needed"
    try:
        from_text(json.dumps(document))
    except InvalidError as error:
        hint = error.hint
    assert hint


def test_a_target_that_the_snapshot_does_not_have_is_not_planned_for(maker: SnapshotMaker) -> None:
    """A pull request that adds a target gets no guess about what is there."""
    life = serving({"a": 1})
    situation = life.loop.situation(life.desired())
    snapshot = looked(maker, situation)
    elsewhere = Desired(id_of("two")._replace(target="new"), {"a": 1}, "two")
    able = {**situation.capabilities, "new": situation.capabilities["t"]}
    made = plan(situation_from(snapshot, state_of([*life.desired(), elsewhere], Revision("1")), able, NOW))
    assert [b.id for b in made.blocked] == [elsewhere.id]
    assert "the snapshot does not have it" in made.blocked[0].reason
    assert made.targets["new"] == "unavailable"


def test_its_age_is_that_of_what_was_seen_longest_ago(maker: SnapshotMaker, tmp_path: Path) -> None:
    """One slow target makes the whole as old as it is."""
    life = serving({"a": 1})
    situation = life.loop.situation(life.desired(), now=NOW - 5)
    slow = replace(situation, observations={"u": replace(situation.observations["t"], target="u")}, now=NOW - 500)
    snapshot = from_text(to_text(maker.make({"t": situation, "u": slow})))
    assert snapshot.observed_at == NOW - 500
    made = plan(situation_from(snapshot, state_of([], Revision("1")), situation.capabilities, NOW))
    assert made.basis is not None
    assert made.basis.age == 500
