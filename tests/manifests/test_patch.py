"""Merging and JSON Patch: the cases of RFC 6902, and for any document what its sentences, followed plainly, give."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.diff import equal
from reconciler.core.problems import Position
from reconciler.core.values import escape, walk
from reconciler.manifests import layers
from reconciler.manifests.overlays.patch import PatchError, apply_patch
from reconciler.manifests.overlays.traced import Layer, Node, Origin
from reconciler.manifests.yaml import Limits


class Named:
    """Places that tell which file and pointer were asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        return Position(f"{self.name}{pointer}")


BASE, OVERLAY = Named("base"), Named("overlay")


def traced(value: Any) -> Node:
    """A document nobody has changed yet."""
    return Node(value, Origin(Layer.DOCUMENT, BASE, ""))


def patched(document: Any, operations: list[dict[str, Any]], limits: Limits | None = None) -> Any:
    """A document after a patch."""
    root = traced(document)
    apply_patch(root, operations, OVERLAY, "/patch", *([limits] if limits else []))
    return root.plain


# RFC 6902, appendix A; the number of each case in its id.
APPENDIX: list[Any] = [
    pytest.param(
        {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}, id="A.1"
    ),
    pytest.param(
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
        id="A.2",
    ),
    pytest.param({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}, id="A.3"),
    pytest.param(
        {"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}, id="A.4"
    ),
    pytest.param(
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
        id="A.5",
    ),
    pytest.param(
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        id="A.6",
    ),
    pytest.param(
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
        id="A.7",
    ),
    pytest.param(
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
        id="A.8",
    ),
    pytest.param(
        {"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], "patch-test /patch/0/value", id="A.9"
    ),
    pytest.param(
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
        id="A.10",
    ),
    pytest.param(
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
        id="A.11",
    ),
    pytest.param(
        {"foo": "bar"},
        [{"op": "add", "path": "/baz/bat", "value": "qux"}],
        "patch-path /patch/0/path",
        id="A.12",
    ),
    pytest.param({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}, id="A.14"),
    pytest.param(
        {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], "patch-test /patch/0/value", id="A.15"
    ),
    pytest.param(
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
        id="A.16",
    ),
    # What the sections say beyond the appendix.
    pytest.param({"a": 1}, [{"op": "add", "path": "", "value": [2]}], [2], id="add-whole"),
    pytest.param({"a": 1}, [{"op": "replace", "path": "", "value": 2}], 2, id="replace-whole"),
    pytest.param({"a": 1}, [{"op": "remove", "path": ""}], "patch-path /patch/0/path", id="remove-whole"),
    pytest.param({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}, id="add-at-end"),
    pytest.param(
        {"a": [1]}, [{"op": "add", "path": "/a/2", "value": 2}], "patch-path /patch/0/path", id="add-past-end"
    ),
    pytest.param({"a": [1]}, [{"op": "add", "path": "/a/00", "value": 2}], "patch-path /patch/0/path", id="zeros"),
    pytest.param({"a": [1]}, [{"op": "add", "path": "/a/+0", "value": 2}], "patch-path /patch/0/path", id="sign"),
    pytest.param(
        {"a": [1]}, [{"op": "add", "path": "/a/\u0660", "value": 2}], "patch-path /patch/0/path", id="other-digits"
    ),
    pytest.param(
        {"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 2}], "patch-path /patch/0/path", id="past-end"
    ),
    pytest.param({"a": 1}, [{"op": "add", "path": "/a/b", "value": 2}], "patch-path /patch/0/path", id="into-scalar"),
    pytest.param(
        {"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], "patch-path /patch/0/path", id="replace-none"
    ),
    pytest.param({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}, id="test-null"),
    pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}, id="test-number"),
    pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": True}], "patch-test /patch/0/value", id="test-bool"),
    pytest.param(
        {"a": {"b": [1, {"c": 2}]}},
        [{"op": "test", "path": "/a", "value": {"b": [1, {"c": 2}]}}],
        {"a": {"b": [1, {"c": 2}]}},
        id="test-deep",
    ),
    pytest.param(
        {"a": {}}, [{"op": "move", "from": "/a", "path": "/a/b"}], "patch-path /patch/0/path", id="into-itself"
    ),
    pytest.param({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}, id="move-nowhere"),
    pytest.param({"a": 1}, [{"op": "move", "from": "/b", "path": "/a"}], "patch-path /patch/0/from", id="move-none"),
    pytest.param({"a": 1, "ab": 2}, [{"op": "move", "from": "/a", "path": "/ab"}], {"ab": 1}, id="move-beside"),
    pytest.param(
        {"a": {"b": 1}},
        [{"op": "copy", "from": "/a", "path": "/a/c"}, {"op": "replace", "path": "/a/b", "value": 2}],
        {"a": {"b": 2, "c": {"b": 1}}},
        id="copies-are-copies",
    ),
    pytest.param({"": {"": 1}}, [{"op": "remove", "path": "//"}], {"": {}}, id="empty-keys"),
]


@pytest.mark.parametrize(("document", "operations", "expected"), APPENDIX)
def test_the_cases_of_rfc_6902(document: Any, operations: list[dict[str, Any]], expected: Any) -> None:
    """Each case of the RFC's appendix A, and of what its sections say besides, has the result that it has there."""
    before = copy.deepcopy(document)
    try:
        found = patched(document, operations)
    except PatchError as error:
        found = f"{error.code} {error.pointer}"
    assert equal(found, expected)
    assert document == before


@pytest.mark.parametrize(
    ("operation", "message", "hint"),
    [
        (
            {"op": "remove", "path": "/deployment/replica"},
            "/deployment/replica leads nowhere: /deployment has no 'replica'",
            "did you mean 'replicas'?",
        ),
        (
            {"op": "remove", "path": "/xyz"},
            "/xyz leads nowhere: the document has no 'xyz'",
            "there are deployment, models",
        ),
        ({"op": "remove", "path": "/models/2"}, "/models/2 leads nowhere: /models has 1 item", ""),
        (
            {"op": "remove", "path": "/models/0/version"},
            "/models/0/version leads nowhere: /models/0 is a single value",
            "",
        ),
        (
            {"op": "test", "path": "/deployment/replicas", "value": 2},
            "the test fails: /deployment/replicas has another value",
            "",
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_told_with_what_is_there(
    operation: dict[str, Any], message: str, hint: str
) -> None:
    """The message says how far the path leads, and what was probably meant."""
    with pytest.raises(PatchError) as caught:
        patched({"deployment": {"replicas": 1}, "models": ["ridge"]}, [operation])
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_copies_of_copies_end_at_a_limit() -> None:
    """A document doubled sixty times is refused before it is made."""
    operations = [{"op": "copy", "from": "", "path": f"/k{index}"} for index in range(60)]
    with pytest.raises(PatchError) as caught:
        patched({"a": [1, 2, 3]}, operations)
    assert caught.value.code == "patch-limit"
    with pytest.raises(PatchError) as caught:
        patched({}, [{"op": "copy", "from": "", "path": "/a" * (n + 1)} for n in range(10)], Limits(depth=5))
    assert caught.value.message == "the patch makes more levels of nesting than a file may have"


# Against a plain implementation

keys = st.sampled_from(["a", "b", "c/d", "e~f", "0", "1", "-", "environmentVariables"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "1"]) | st.just(1.0)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
mappings = st.dictionaries(keys, values, max_size=4)


@st.composite
def pointers(draw: st.DrawFn, document: Any) -> str:
    """Mostly one that leads somewhere in the document, sometimes one step beyond."""
    places = [""]
    places += [pointer for leaf, _ in walk(document) for pointer in _above(leaf)]
    pointer = draw(st.sampled_from(sorted(set(places))))
    return pointer + draw(st.sampled_from(["", "", "/-", "/0", "/1", "/a", "/new"]))


def _above(pointer: str) -> list[str]:
    steps = pointer.split("/")
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]


@st.composite
def patches(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """A document and a patch of which a good part fits it."""
    document = draw(mappings)
    operations: list[dict[str, Any]] = []
    now: Any = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        op = draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]))
        operation: dict[str, Any] = {"op": op, "path": draw(pointers(now))}
        if op in ("move", "copy"):
            operation["from"] = draw(pointers(now))
        if op in ("add", "replace", "test"):
            operation["value"] = draw(values)
        operations.append(operation)
        try:
            now = reference(copy.deepcopy(now), operation)
        except LookupError:
            break
    return document, operations


def reference(document: Any, operation: dict[str, Any]) -> Any:
    """RFC 6902 on plain values, its sentences one after another; LookupError where it says that it is an error."""
    op, path = operation["op"], operation["path"]
    if op == "test":
        if not equal(get(document, path), operation["value"]):
            raise LookupError
        return document
    if op == "move":
        source = operation["from"]
        if path.startswith(source + "/"):
            raise LookupError
        value = get(document, source)
        if path == source:
            return document
        return insert(delete(document, source), path, value)
    if op == "copy":
        return insert(document, path, copy.deepcopy(get(document, operation["from"])))
    if op == "add":
        return insert(document, path, copy.deepcopy(operation["value"]))
    if op == "remove":
        return delete(document, path)
    get(document, path)
    if not path:
        return operation["value"]
    above, step = split(path)
    owner = get(document, above)
    owner[int(step) if isinstance(owner, list) else step] = copy.deepcopy(operation["value"])
    return document


def split(path: str) -> tuple[str, str]:
    """The pointer to what holds a place, and its last step."""
    above, _, step = path.rpartition("/")
    return above, step.replace("~1", "/").replace("~0", "~")


def get(document: Any, path: str) -> Any:
    """What is at a pointer."""
    if not path:
        return document
    above, step = split(path)
    owner = get(document, above)
    if isinstance(owner, dict):
        return owner[step]
    if isinstance(owner, list) and step.isdigit() and str(int(step)) == step:
        return owner[int(step)]
    raise LookupError


def insert(document: Any, path: str, value: Any) -> Any:
    """The document with a value added."""
    if not path:
        return value
    above, step = split(path)
    owner = get(document, above)
    if isinstance(owner, dict):
        owner[step] = value
    elif isinstance(owner, list):
        index = len(owner) if step == "-" else int(step) if step.isdigit() and str(int(step)) == step else None
        if index is None or index > len(owner):
            raise LookupError
        owner.insert(index, value)
    else:
        raise LookupError
    return document


def delete(document: Any, path: str) -> Any:
    """The document without a value."""
    if not path:
        raise LookupError
    get(document, path)
    above, step = split(path)
    owner = get(document, above)
    del owner[int(step) if isinstance(owner, list) else step]
    return document


@given(patches())
def test_any_patch_does_what_the_rfc_says(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """The result, or which operation is at fault, is that of a plain implementation; the document given stays."""
    document, operations = case
    before = copy.deepcopy(document)
    expected: Any = copy.deepcopy(document)
    failed = None
    for index, operation in enumerate(operations):
        try:
            expected = reference(expected, copy.deepcopy(operation))
        except LookupError:
            failed = index
            break
    root = traced(document)
    if failed is None:
        apply_patch(root, operations, OVERLAY, "/patch")
        assert equal(root.plain, expected)
    else:
        with pytest.raises(PatchError) as caught:
            apply_patch(root, operations, OVERLAY, "/patch")
        assert caught.value.pointer.startswith(f"/patch/{failed}/")
        assert caught.value.pointer.rpartition("/")[2] in operations[failed]
    assert equal(document, before)


@given(mappings, mappings)
def test_laying_over_gives_what_layers_give(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    """A traced merge and the plain one of `layers` agree on every pair of mappings, and change neither."""
    before = copy.deepcopy((lower, upper))
    root = traced(lower)
    root.merge(upper, Origin(Layer.OVERLAY, OVERLAY, ""))
    assert equal(root.plain, layers.merged(lower, upper))
    assert equal(before, (lower, upper))


@given(mappings, mappings)
def test_every_value_of_a_merge_stands_where_its_origin_says(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    """Each leaf is at the same pointer of the document that it is said to come from."""
    root = traced(lower)
    root.merge(upper, Origin(Layer.OVERLAY, OVERLAY, ""))
    for pointer, value in walk(root.plain):
        node, rest = root.nearest(pointer)
        source = upper if node.origin.layer is Layer.OVERLAY else lower
        assert node.origin.pointer + rest == pointer
        assert equal(get(source, pointer), value) or value in ({}, [])


@given(patches())
def test_every_value_of_a_patch_has_an_origin_that_holds_it(case: tuple[Any, list[dict[str, Any]]]) -> None:
    """What the document still holds stands there; the rest in an operation of the patch."""
    document, operations = case
    root = traced(document)
    try:
        apply_patch(root, operations, OVERLAY, "/patch")
    except PatchError:
        return
    for pointer, value in walk(root.plain):
        node, rest = root.nearest(pointer)
        place = node.origin.pointer + rest
        if node.origin.layer is Layer.DOCUMENT:
            assert equal(get(document, place), value) or value in ({}, [])
        elif "/value" in place:
            assert equal(get({"patch": operations}, place), value)
        else:
            assert place.split("/")[3] == "from"


def test_a_secret_reference_is_one_value() -> None:
    """`valueFrom` and a plain value replace each other; their keys are never mixed."""
    reference_to = {"valueFrom": {"env": "A"}}
    for lower, upper in (
        ({"user": reference_to}, {"user": {"value": "me"}}),
        ({"user": {"value": "me"}}, {"user": reference_to}),
        ({"user": reference_to}, {"user": {"valueFrom": {"file": "/b"}}}),
    ):
        root = traced(lower)
        root.merge(upper, Origin(Layer.OVERLAY, OVERLAY, ""))
        assert root.plain == upper == layers.merged(lower, upper)


def test_escaped_keys_keep_their_place() -> None:
    """A key with `/` or `~` is found under its escaped step."""
    root = traced({"a/b": {"c~d": 1}})
    root.merge({"a/b": {"x": 2}}, Origin(Layer.OVERLAY, OVERLAY, "/o"))
    node, rest = root.nearest(f"/{escape('a/b')}/x")
    assert (node.origin.pointer, rest) == ("/o/a~1b/x", "")
