"""Editing YAML text: the named value becomes another, every other byte stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.errors import InvalidError
from reconciler.core.values import escape, walk
from reconciler.manifests.editing import Append, Insert, Put, edited
from reconciler.manifests.writing import to_yaml
from reconciler.manifests.yaml import parse


def edit(text: str, pointer: str, make: Any, expected: Any, document: int = 0) -> str:
    """The text after one edit at what stands at a pointer."""
    documents, problems = parse(text.encode(), "x.yaml")
    assert problems == []
    change = make(documents[document].marks.at(pointer))
    return edited(text.encode(), "x.yaml", [change], {document: expected}).decode()


def put(value: str | int) -> Any:
    """An edit that puts a value."""
    return lambda position: Put(position, value)


@pytest.mark.parametrize(
    ("before", "pointer", "value", "after"),
    [
        ("a: 1 # one\nb: 2\n", "/a", 3, "a: 3 # one\nb: 2\n"),
        ("a:   1\r\nb: 2\r\n", "/b", 3, "a:   1\r\nb: 3\r\n"),
        ("\ufeffa: 1\n", "/a", 2, "\ufeffa: 2\n"),
        ("é: {ü: 'ä', ö: 1}   # ß\n", "/é/ö", 22, "é: {ü: 'ä', ö: 22}   # ß\n"),
        ("a: [x, 1 , 'y']\n", "/a/1", 10, "a: [x, 10 , 'y']\n"),
        ("a: 'x:1'\n", "/a", "x:2", "a: 'x:2'\n"),
        ('a: "x:1"\n', "/a", "x:2", 'a: "x:2"\n'),
        ("a: x:1\n", "/a", "x:2", "a: x:2\n"),
        ("a: 'latest'\n", "/a", 3, "a: 3\n"),
        ("a: 3\n", "/a", "latest", "a: latest\n"),
        ("a: &v 1\nb: 2\n", "/a", 3, "a: &v 3\nb: 2\n"),
        ("a: &v 1\nb: *v\n", "/b", 3, "a: &v 1\nb: 3\n"),
        ("- - 1\n  - 2 # two\n", "/0/1", 3, "- - 1\n  - 3 # two\n"),
        ("a:\n  1\nb: 2", "/b", 3, "a:\n  1\nb: 3"),
        ("? a\n: 1\n", "/a", 3, "? a\n: 3\n"),
        ("{a: 1}", "/a", "it's", "{a: it's}".replace("it's", '"it\'s"')),
        ("a: 'x'\n", "/a", "it's", "a: 'it''s'\n"),
        ("a: x\n", "/a", "1", 'a: "1"\n'),
    ],
)
def test_one_value_becomes_another(before: str, pointer: str, value: str | int, after: str) -> None:
    """Comments, quotes, blanks, line ends, marks and anchors stay as they are."""
    assert edit(before, pointer, put(value), {pointer: value}) == after


def test_one_of_several_documents() -> None:
    """The others stay, separators too."""
    text = "# first\na: 1\n---\na: 1\n...\n---\na: 1 # last\n"
    assert edit(text, "/a", put(2), {"/a": 2}, document=1) == "# first\na: 1\n---\na: 2\n...\n---\na: 1 # last\n"


@pytest.mark.parametrize(
    ("before", "pointer", "after"),
    [
        ("- name: m   # the model\n  x: 1\n", "/0/name", "- name: m   # the model\n  version: 3\n  x: 1\n"),
        ("- name: m", "/0/name", "- name: m\n  version: 3"),
        ("- name: m\r\n- name: n\r\n", "/0/name", "- name: m\r\n  version: 3\r\n- name: n\r\n"),
        ("[{name: m}, {name: n}]\n", "/0/name", "[{name: m, version: 3}, {name: n}]\n"),
        ("- {name: 'm' , x: 1}\n", "/0/name", "- {name: 'm', version: 3 , x: 1}\n"),
        ("-   name: &a m\n    x: *a\n", "/0/name", "-   name: &a m\n    version: 3\n    x: *a\n"),
    ],
)
def test_a_key_is_put_behind_another(before: str, pointer: str, after: str) -> None:
    """In the style of the mapping, with its indentation and the line ends of the file."""
    made = edit(before, pointer, lambda at: Insert(at, "version", 3), {"/0/version": 3})
    assert made == after


ITEM = {"kind": "S", "patch": [{"op": "add", "path": "/spec/x", "value": 3}]}
BLOCK = "- kind: S\n  patch:\n    - op: add\n      path: /spec/x\n      value: 3\n"


def indented(by: int) -> str:
    """The item, that many columns to the right."""
    return "".join(f"{' ' * by}{line}\n" for line in BLOCK.splitlines())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n  - kind: R\n    x: 1\n", "a:\n  - kind: R\n    x: 1\n" + indented(2)),
        ("a:\n- kind: R\n# end\nb: 1\n", "a:\n- kind: R\n" + indented(0) + "# end\nb: 1\n"),
        ("a:\n- {kind: R, x: [1]} # r\nb: 1\n", "a:\n- {kind: R, x: [1]} # r\n" + indented(0) + "b: 1\n"),
        ("a:\n    - x\n    - y\n\n# end\n---\nb: 1\n", "a:\n    - x\n    - y\n" + indented(4) + "\n# end\n---\nb: 1\n"),
        ("a: []\n", "a: [{kind: S, patch: [{op: add, path: /spec/x, value: 3}]}]\n"),
        ("a: [x]  # x\n", "a: [x, {kind: S, patch: [{op: add, path: /spec/x, value: 3}]}]  # x\n"),
        ("a: [x,]\n", "a: [x, {kind: S, patch: [{op: add, path: /spec/x, value: 3}]}]\n"),
        ("a:\n  - b:\n      - 1\nc: 2\n", "a:\n  - b:\n      - 1\n" + indented(2) + "c: 2\n"),
        ("a: &l\n  - x\nb: 1\n", "a: &l\n  - x\n" + indented(2) + "b: 1\n"),
    ],
)
def test_an_item_is_put_at_the_end_of_a_list(before: str, after: str) -> None:
    """Below the last line of the list, at its indentation; comments behind it stay behind."""
    made = edit(before, "/a", lambda at: Append(at, [ITEM]), {"/a/-": [ITEM]})
    assert made == after


@pytest.mark.parametrize(
    ("text", "pointer", "message"),
    [
        ("a: &v 1\nb: *v\n", "/a", "x.yaml:1 cannot be changed by itself: it is shared with line 2 through an anchor"),
        ("a: &m {x: 1}\nb:\n  <<: *m\n", "/a/x", "through an anchor"),
        ("a: &m [1]\nb: *m\n", "/b/0", "through an anchor"),
        ("a: |\n  1\n", "/a", "it is a block of text"),
        ("a: {b: 1}\n", "/a", "it is no single value"),
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_people(text: str, pointer: str, message: str) -> None:
    """Shared anchors, merge keys and blocks of text are errors that say why; nothing is written."""
    with pytest.raises(InvalidError) as caught:
        edit(text, pointer, put(9), {pointer: 9})
    assert message in caught.value.message
    assert caught.value.hint == "edit it by hand"


def test_edits_that_meet_are_an_error() -> None:
    """Two edits of the same value are not both made."""
    (document,), _ = parse(b"a: 1\n", "x.yaml")
    at = document.marks.at("/a")
    with pytest.raises(InvalidError, match="meet in one place"):
        edited(b"a: 1\n", "x.yaml", [Put(at, 2), Put(at, 3)], {0: {"/a": 3}})


# For any file


keys = st.sampled_from(["a", "b", "name", "version", "x/y", "é", "on", "1"])
leaves = (
    st.integers(-9, 99) | st.booleans() | st.none() | st.sampled_from(["x", "m:2", "latest", "a b", "it's", "#", "ü"])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=10
)


def flow(value: Any) -> str:
    """A value in flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {flow(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    return to_yaml({"k": value}).strip().removeprefix("k: ")


@st.composite
def files(draw: st.DrawFn) -> tuple[str, Any, str]:
    """A file in some style with comments, its value, and the pointer to one of its leaves."""
    value = draw(st.dictionaries(keys, values, min_size=1, max_size=3))
    text = draw(st.sampled_from([to_yaml(value, lambda pointer: "a word"), to_yaml(value), f"{flow(value)}  # all\n"]))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    text = draw(st.sampled_from(["", "# first\n\n", "---\n", "\ufeff"])) + text
    leaf = draw(st.sampled_from([pointer for pointer, inner in walk(value) if inner not in ({}, [])] or [""]))
    return text, value, leaf


@given(files(), st.integers(-99, 99) | st.sampled_from(["m:3", "latest", "a, b", "it's", "7", "", "ü #", "\n"]))
def test_in_any_file_only_the_named_value_changes(case: tuple[str, Any, str], new: str | int) -> None:
    """Before and behind the value every byte stays; read again, that value is the new one and all others the old."""
    text, _, pointer = case
    if not pointer:
        return
    made = edit(text, pointer, put(new), {pointer: new})
    (old,), _ = parse(text.encode(), "x.yaml")
    (document,), problems = parse(made.encode(), "x.yaml")
    assert problems == []
    assert dict(walk(document.value)) == {**dict(walk(old.value)), pointer: new}
    at = old.marks.at(pointer)
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: at.line - 1]) + at.column - 1
    start += 1 if at.line == 1 and text.startswith("\ufeff") else 0
    assert made.startswith(text[:start])
    assert made.endswith("\n".join(lines[at.line :]))


@given(files(), st.integers(1, 9))
def test_what_was_put_can_be_put_back(case: tuple[str, Any, str], new: int) -> None:
    """A number in the place of a number, and the first one again, gives the file as it was, byte for byte."""
    text, value, pointer = case
    was = dict(walk(value)).get(pointer)
    if not isinstance(was, int) or isinstance(was, bool) or was == new:
        return
    made = edit(text, pointer, put(new), {pointer: new})
    assert edit(made, pointer, put(was), {pointer: was}) == text


def test_names_in_pointers_are_escaped() -> None:
    """A key with a slash is found."""
    assert edit("x/y: 1\n", f"/{escape('x/y')}", put(2), {"/x~1y": 2}) == "x/y: 2\n"
