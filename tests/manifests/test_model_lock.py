"""`model.lock`: what it says of bytes behind addresses, and what that does to versions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.problems import Severity
from reconciler.core.sources import SourceState, Watched, difference
from reconciler.manifests import DocumentCache, Resolution, load, resolve
from reconciler.manifests.model_lock import FILE, Locked, LockKey, lock_for, parse_lock, read_lock, to_text
from reconciler.manifests.models import watched
from reconciler.manifests.overlays.environment import in_environment
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
URI = "https://models.example/ridge.onnx"
LOCKED = Locked(A, 7, (("etag", '"one"'),))

texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=1, max_size=20)
keys = st.builds(LockKey, texts, st.none() | st.integers(1, 9), texts)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
stamps = st.dictionaries(st.sampled_from(("etag", "lastModified")), texts).map(
    lambda found: tuple(sorted(found.items()))
)
entries = st.dictionaries(keys, st.builds(Locked, digests, st.none() | st.integers(0, 1 << 50), stamps), max_size=5)


def model(spec: str) -> str:
    """A model's document."""
    return f"apiVersion: reconciler/v1\nkind: Model\nmetadata: {{name: ridge}}\nspec: {{uri: '{URI}'{spec}}}\n"


def repo(spec: str, locked: dict[LockKey, Locked] | str | None = None, **files: str) -> MemoryTree:
    """The good repo with its model behind an address, and a lock."""
    lock = {} if locked is None else {FILE: locked if isinstance(locked, str) else to_text(locked)}
    return MemoryTree({**GOOD, "models/ridge.yaml": model(spec), **lock, **files})


def resolved(
    tree: MemoryTree,
    registered: dict[str, str] | None = None,
    state: SourceState | None = None,
) -> Resolution:
    """Its resolution; every address that is asked has the same state."""
    loaded = load(tree)
    asked = watched(loaded, lock_for(loaded, tree))
    states = dict.fromkeys(asked, state) if state is not None else {}
    return resolve(loaded, tree, {"ridge": registered or {}}, None, None, None, states)


@given(entries, st.randoms())
def test_what_is_written_is_read_again(found: dict[LockKey, Locked], chance: random.Random) -> None:
    """Every entry, whatever is in it; and the same bytes whatever their order."""
    shuffled = list(found.items())
    chance.shuffle(shuffled)
    text = to_text(shuffled)
    assert text == to_text(found)
    rows, problems = parse_lock(text.encode())
    assert problems == []
    assert {LockKey(*key): Locked(*locked) for key, locked in rows} == found


ENTRY = f"name: ridge, uri: '{URI}', digest: '{A}'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "model.lock: error: model.lock is empty"),
        ("[]", "has no `lockVersion: 1` with a list of `models`"),
        ("lockVersion: 2\nmodels: []\n", "model.lock:1:14: error: model.lock has no `lockVersion: 1`"),
        ("lockVersion: 1\nmodels: {}\n", "has no `lockVersion: 1`"),
        ("lockVersion: 1\nmodels: [a]\n", "model.lock:2:10: error: model.lock has an entry that is no mapping"),
        (f"lockVersion: 1\nmodels: [{{{ENTRY}, sise: 1}}]\n", "did you mean 'size'?"),
        (f"lockVersion: 1\nmodels: [{{{ENTRY}, size: x}}]\n", "has a `size` that is no whole number"),
        (f"lockVersion: 1\nmodels: [{{{ENTRY}, version: true}}]\n", "has a `version` that is no whole number"),
        (f"lockVersion: 1\nmodels: [{{{ENTRY}, etag: 3}}]\n", "an entry without a `etag` that is text"),
        ("lockVersion: 1\nmodels: [{name: ridge}]\n", "an entry without a `uri` that is text"),
        ("lockVersion: 1\nmodels: [{name: r, uri: u, digest: abc}]\n", "64 hexadecimal digits"),
        (f"lockVersion: 1\nmodels: [{{{ENTRY}}}, {{{ENTRY}}}]\n", "two entries for the same model"),
        ("<<<<<<< ours\nlockVersion: 1\n=======\n", "[yaml-"),
        ("lockVersion: 1\n---\nlockVersion: 1\n", "[yaml-limit]"),
        ("a: 'canary\n", "[yaml-syntax]"),
    ],
)
def test_a_damaged_lock_is_told_once_and_stops_the_models_that_need_it(text: str, said: str) -> None:
    """With the place of the damage, and none of the file's text; a service of such a model is left alone."""
    found = resolved(repo("", text))
    told = "\n".join(str(problem) for problem in found.problems)
    assert said in told
    assert "canary" not in told
    assert {problem.position.file for problem in found.problems if problem.position} == {FILE}
    assert (found.deployments, found.complete) == ((), False)


def test_a_locked_model_has_the_digest_of_its_entry() -> None:
    """Without number it gets the number of those bytes, or the next one; with one it keeps that."""
    lock = {LockKey("ridge", None, URI): LOCKED}
    for registered, number in (({}, "1"), ({"1": A, "2": B}, "1"), ({"1": B}, "2")):
        (version,) = resolved(repo("", lock), registered).models
        assert (version.version, version.digest, version.size) == (number, A, 7)
    (version,) = resolved(repo(", version: 4, lock: pin", {LockKey("ridge", 4, URI): LOCKED})).models
    assert (version.version, version.digest) == ("4", A)


@pytest.mark.parametrize(
    ("spec", "locked", "code"),
    [
        ("", None, "model-unknown-content"),
        (", lock: pin, version: 3", None, "model-not-locked"),
        (", lock: warn", None, "model-not-locked"),
        ("", {LockKey("ridge", None, URI + "2"): LOCKED}, "model-not-locked"),
        (", version: 2", {LockKey("ridge", 1, URI): LOCKED}, "model-not-locked"),
        (", version: 2", {LockKey("lasso", 1, URI): LOCKED}, ""),
        (", version: 2", None, ""),
        (f", sha256: '{B}'", {LockKey("ridge", None, URI): LOCKED}, ""),
        (", lock: follow", None, ""),
    ],
)
def test_what_nobody_looked_at_is_not_served(spec: str, locked: dict[LockKey, Locked] | None, code: str) -> None:
    """An address or a number that is not in the lock stops the model, unless nobody ever locked it."""
    found = resolved(repo(spec, locked))
    assert [problem.code for problem in found.problems] == ([code] if code else [])
    assert [str(p.position) for p in found.problems] == (["models/ridge.yaml:4:13"] if code else [])
    assert bool(found.deployments) is not bool(code)


def test_a_number_does_not_change_its_bytes_through_the_lock() -> None:
    """An entry with other bytes than the registered ones asks for a new number."""
    lock = {LockKey("ridge", 1, URI): LOCKED}
    (problem,) = resolved(repo(", version: 1", lock), {"1": B}).problems
    assert problem.code == "model-version-taken"


def test_warn_keeps_what_is_locked_and_says_what_moved() -> None:
    """The plan's reader learns how the address differs, and the command that takes the change."""
    tree = repo(", lock: warn", {LockKey("ridge", None, URI): LOCKED})
    for state, code in (
        (SourceState("1", A), []),
        (SourceState("1", A, moved='etag was "one", is "two"'), ["model-source-changed"]),
        (SourceState("1", A, silent="it does not answer"), ["model-source-silent"]),
    ):
        found = resolved(tree, {"1": A}, state)
        assert [problem.code for problem in found.problems] == code
        assert [m.digest for m in found.models] == [A]
        assert found.complete
        assert all(problem.severity is Severity.WARNING for problem in found.problems)
    assert watched(load(tree), read_lock(tree)) == [Watched("ridge", URI, (("etag", '"one"'), ("size", 7)))]


def test_follow_takes_what_comes_as_the_next_number() -> None:
    """While nothing moved it is the version that came from there; where nobody could be asked, the newest there is."""
    tree = repo(", lock: follow", {LockKey("ridge", None, URI): LOCKED})
    assert watched(load(tree), read_lock(tree)) == [Watched("ridge", URI)]
    for state, number, digest, codes in (
        (SourceState(), "4", None, []),
        (SourceState("2", B), "2", B, []),
        (SourceState("2", B, moved="size was 1, is 2"), "4", None, ["model-source-changed"]),
        (SourceState("2", B, silent="it does not answer"), "2", B, ["model-source-silent"]),
        (None, "3", A, []),
    ):
        found = resolved(tree, {"1": A, "2": B, "3": A}, state)
        assert [(m.version, m.digest) for m in found.models] == [(number, digest)]
        assert [problem.code for problem in found.problems] == codes
        assert found.complete


def test_defaults_say_it_for_models_that_do_not() -> None:
    """A model's own word counts more; one with a number is not made to follow, one with a digest needs no lock."""
    files = {"reconciler.yaml": "apiVersion: reconciler/v1\nkind: Defaults\nspec: {modelLock: follow}\n"}
    for spec, follows in (("", True), (", lock: pin", False), (", version: 1", False), (f", sha256: '{A}'", False)):
        tree = repo(spec, None, **files)
        assert bool(watched(load(tree), read_lock(tree))) is follows
    tree = repo(", version: 1", None, **{"reconciler.yaml": files["reconciler.yaml"].replace("follow", "pin")})
    assert [problem.code for problem in resolved(tree).problems] == ["model-not-locked"]


def test_an_empty_key_is_one_that_was_left_out() -> None:
    """Whatever overlays and templates leave behind."""
    lock = {LockKey("ridge", None, URI): LOCKED}
    (version,) = resolved(repo(", version: null, sha256: null, lock: null, path: null", lock)).models
    assert version.digest == A


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (f", lock: pin, sha256: '{A}'", "`sha256` fixes the bytes"),
        (", lock: follow, version: 1", "cannot follow its `uri`"),
        (", lock: folow", "did you mean 'follow'?"),
    ],
)
def test_words_that_contradict_each_other(spec: str, said: str) -> None:
    """Are told where they stand."""
    assert said in str(resolved(repo(spec)).problems[0])


def test_a_file_of_the_repo_takes_no_lock() -> None:
    """`lock` without `uri` is an error."""
    tree = MemoryTree({**GOOD, "models/ridge.yaml": GOOD["models/ridge.yaml"].replace("pkl}", "pkl, lock: pin}")})
    assert "`lock` is for a model with a `uri`" in str(resolved(tree).problems[0])


def test_an_environment_with_an_address_of_its_own_has_an_entry_of_its_own() -> None:
    """Each finds its bytes in the same file."""
    other = URI.replace("models", "staging")
    overlay = (
        "apiVersion: reconciler/v1\nkind: Overlay\nmetadata: {name: staging}\n"
        f"spec: {{overrides: [{{kind: Model, name: ridge, spec: {{uri: '{other}'}}}}]}}\n"
    )
    lock = {LockKey("ridge", None, URI): LOCKED, LockKey("ridge", None, other): Locked(B)}
    tree = repo("", lock, **{"environments/staging.yaml": overlay})
    loaded = load(tree)
    for name, digest in (("", A), ("staging", B)):
        (version,) = resolve(in_environment(loaded, name).repo, tree, {}).models
        assert version.digest == digest


def test_what_did_not_change_stays_the_same_object() -> None:
    """Another revision with the same entry gives the same deployment; another entry gives another one."""
    key = LockKey("ridge", None, URI)
    first = repo("", {key: LOCKED})
    same = repo("", {key: LOCKED, LockKey("zz", None, URI): Locked(B)})
    other = repo("", {key: Locked(B)})
    loaded = load(first)
    before = resolve(loaded, first, {})
    again = resolve(load(same, None, loaded), same, {}, before)
    assert again.deployments[0] is before.deployments[0]
    after = resolve(load(other, None, loaded), other, {}, again)
    assert after.deployments[0].models[0].digest == B


def test_a_lock_is_read_once() -> None:
    """The same bytes are remembered; a repo without addresses does not even look for it."""
    cache = DocumentCache()
    lock = {LockKey("ridge", None, URI): LOCKED}
    tree = repo("", lock)
    assert read_lock(tree, cache).entries == read_lock(tree, cache).entries == lock
    assert tree.reads.count(FILE) == 1
    plain = MemoryTree({**GOOD, FILE: "["})
    assert resolved(plain).problems == ()
    assert FILE not in plain.reads


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ({"etag": "1", "size": 1}, {"etag": "1", "size": 2}, ""),
        ({"etag": 'W/"1"'}, {"etag": '"1"'}, ""),
        ({"etag": "1"}, {"etag": "2"}, "etag was 1, is 2"),
        ({"etag": "1", "size": 1}, {"size": 2}, "size was 1, is 2"),
        ({"size": 1, "lastModified": "a"}, {"size": 1, "lastModified": "b"}, "lastModified was a, is b"),
        ({"size": 1}, {"lastModified": "b"}, ""),
        ({}, {"etag": "1"}, ""),
    ],
)
def test_what_tells_that_an_address_moved(then: dict[str, object], now: dict[str, object], said: str) -> None:
    """Tags decide where both have one, weak or not; else whatever both know."""
    assert difference(then, now) == said
