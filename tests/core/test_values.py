"""Values: JSON forms, canonical spelling, pointers, secrets and unknowns."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.secrets import SecretRef, fingerprint, generated_key, seal
from reconciler.core.values import (
    MISSING,
    Unknown,
    canonical,
    digest,
    escape,
    from_json,
    has_secret,
    lookup,
    split_pointer,
    to_json,
    to_text,
    transform,
    unknowns,
    walk,
)

from .conftest import QUICK
from .model import SPECS, VALUES

TAGGED = st.recursive(
    st.one_of(
        VALUES,
        st.just(SecretRef("env", "A:B")),
        st.just(Unknown("t/k/n", "/x")),
        st.just(seal(b"k", "text")),
        st.dictionaries(st.sampled_from(["$secret", "$$secret", "$secretRef", "$unknown", "$x"]), VALUES, max_size=1),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)


@QUICK
@given(TAGGED)
def test_json_and_back(value: Any) -> None:
    """A spec survives JSON with its secrets (by fingerprint), references and unknowns, whatever its keys look like."""
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


@QUICK
@given(VALUES)
def test_the_canonical_form_is_a_fixed_point(value: Any) -> None:
    """`canon(canon(x)) == canon(x)`."""
    once = canonical(value)
    assert canonical(json.loads(once)) == once


FLOATS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([-0.0, 1e16, 2.5e300, 1e-7]))


@QUICK
@given(st.one_of(TAGGED, st.dictionaries(st.text(max_size=3), st.lists(st.one_of(FLOATS, TAGGED), max_size=3))))
def test_texts_are_those_of_the_json(value: Any) -> None:
    """Whatever of it is written without being walked: tags, what looks like one, and integral floats are seen."""
    whole = transform(value, lambda v: int(v) if isinstance(v, float) and v.is_integer() else v)
    ordered = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    assert canonical(value) == json.dumps(to_json(whole), **ordered)
    assert to_text(value) == json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)
    assert json.loads(to_text(value, refs=True)) == to_json(value, refs=True)
    assert canonical(MappingProxyType({"a": (value,)})) == canonical({"a": [value]})


def test_what_is_no_value_has_no_text() -> None:
    """It is said, and does not end in a recursion."""
    with pytest.raises(TypeError, match="set"):
        canonical({"a": {1}})


@QUICK
@given(SPECS)
def test_the_digest_does_not_see_order_or_spelling_of_numbers(spec: dict[str, Any]) -> None:
    """Key order and integral floats make no other digest."""
    twin = transform(dict(reversed(list(spec.items()))), lambda v: float(v) if type(v) is int else v)
    assert digest(twin) == digest(spec)


@QUICK
@given(VALUES)
def test_every_leaf_is_found_at_its_pointer(value: Any) -> None:
    """`walk` and `lookup` agree."""
    assert all(lookup(value, pointer) is leaf or lookup(value, pointer) == leaf for pointer, leaf in walk(value))


@QUICK
@given(st.lists(st.text(max_size=4), min_size=1, max_size=4))
def test_pointers_keep_their_steps(steps: list[str]) -> None:
    """Any key, also the empty one, can be a step."""
    assert split_pointer("".join("/" + escape(step) for step in steps)) == steps


def test_looking_up_what_is_not_there() -> None:
    """Past a leaf, past the end and beside a key there is nothing, and nothing raises."""
    value = {"a": [1], "b": "x"}
    assert [lookup(value, p) for p in ("/a/1", "/a/x", "/a/²", "/b/c", "/c", "/c/d")] == [MISSING] * 6
    assert lookup(value, "") is value
    assert repr(MISSING) == "(absent)"


def test_unknowns_and_secrets_are_found_and_never_shown() -> None:
    """They are found at any depth, and printing them tells nothing."""
    secret = seal(b"key", "hush", SecretRef("env", "TOKEN"))
    spec = {"a": [{"b": Unknown("t/k/n", "/digest")}], "c": {"d": secret}}
    assert [u.source for u in unknowns(spec)] == ["t/k/n"]
    assert str(unknowns(spec)[0]) == "(known after apply)"
    assert has_secret(spec)
    assert not has_secret({"a": 1})
    assert "hush" not in f"{spec!r} {secret} {json.dumps(to_json(spec))} {canonical(spec)}"
    assert secret.reveal() == "hush"
    assert from_json(to_json(secret)) == secret
    with pytest.raises(ValueError, match="not at hand"):
        from_json(to_json(secret)).reveal()
    assert str(secret.ref) == "env:TOKEN"


def test_fingerprints_belong_to_one_key() -> None:
    """Another installation's fingerprints and keys tell nothing about ours; the same inputs give the same."""
    assert fingerprint(b"a", "x") == fingerprint(b"a", "x") != fingerprint(b"b", "x")
    assert generated_key(b"a", "s", "primary", 0) != generated_key(b"a", "s", "primary", 1)
