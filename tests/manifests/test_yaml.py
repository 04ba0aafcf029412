"""YAML to values and places: scalars, anchors, limits, and messages without the text of the file."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from reconciler.manifests.document import LIMITS, Limits
from reconciler.manifests.yaml import parse


def value(text: str) -> Any:
    """The value of the only document of a sound text."""
    documents, problems = parse(text.encode(), "f.yaml")
    assert problems == []
    return documents[0].value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("007", "007"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2020-01-31", "2020-01-31"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("nothing", "nothing"),
        ("-x", "-x"),
        (".5", 0.5),
        ("+", "+"),
    ],
)
def test_scalars_are_what_yaml_1_2_says_with_few_surprises(text: str, expected: object) -> None:
    """Only true and false are booleans; dates, versions and digits with a leading zero stay text."""
    found = value(f"a: {text}\n")["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_keys_are_text() -> None:
    """A key that looks like a number or a boolean is text, as in JSON."""
    assert value("1: a\ntrue: b\n~: c\n") == {"1": "a", "true": "b", "~": "c"}


def test_merges_and_aliases_are_followed_and_own_keys_win() -> None:
    """`<<` fills in what is missing, from one mapping or several, the first of them winning."""
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 0}\nd: *b\n"
    assert value(text)["c"] == {"x": 0, "y": 2, "z": 4}
    assert value(text)["d"] == {"y": 3, "z": 4}


@pytest.mark.parametrize(
    ("pointer", "key", "place"),
    [
        ("", False, "f.yaml:1:1"),
        ("/a/b", False, "f.yaml:1:11"),
        ("/a/b", True, "f.yaml:1:8"),
        ("/a/b/1", False, "f.yaml:1:15"),
        ("/z", False, "f.yaml:2:4"),
        ("/z/b/1", False, "f.yaml:1:15"),
        ("/m/b/1", False, "f.yaml:1:15"),
        ("/m/own", False, "f.yaml:3:18"),
        ("/a/nothing/here", False, "f.yaml:1:4"),
        ("/s~1l~0t", False, "f.yaml:4:10"),
    ],
)
def test_every_value_has_its_place_also_through_aliases(pointer: str, key: bool, place: str) -> None:
    """A pointer leads to the line and column of the value or its key, below an alias to where its anchor stands."""
    text = "a: &a {b: [1, 2]}\nz: *a\nm: {<<: *a, own: 1}\n's/l~t': 1\n"
    documents, _ = parse(text.encode(), "f.yaml")
    assert str(documents[0].marks.at(pointer, key=key)) == place


def test_documents_before_a_syntax_error_are_still_given() -> None:
    """An error in the second document does not take the first."""
    documents, problems = parse(b"a: 1\n---\nb: [\n", "f.yaml")
    assert [document.value for document in documents] == [{"a": 1}]
    assert [problem.code for problem in problems] == ["yaml-syntax"]


def test_text_that_is_not_utf_8_is_named_with_its_place() -> None:
    """A byte that is no UTF-8 gives its line and column."""
    _, problems = parse("a: 1\nb: ä".encode("latin-1"), "f.yaml")
    assert [(problem.code, str(problem.position)) for problem in problems] == [("yaml-encoding", "f.yaml:2:4")]


def test_a_control_character_is_named_with_its_place() -> None:
    """A control character gives its line and column."""
    _, problems = parse(b"a: 1\nb: \x07\n", "f.yaml")
    assert [(problem.code, str(problem.position)) for problem in problems] == [("yaml-character", "f.yaml:2:4")]


HOSTILE: dict[str, bytes] = {
    "alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)),
    "merge bomb": b"k0: &k0 {x: 1}\n"
    + b"".join(b"k%d: &k%d {<<: *k%d, y%d: 1}\n" % (i, i, i - 1, i) for i in range(1, 20000)),
    "deep lists": b"[" * 1_000_000,
    "deep mappings": b"{a: " * 200_000,
    "deep blocks": b"- " * 500_000,
    "deep keys": b"? " * 500_000,
    "indentation": b"".join(b" " * i + b"a:\n" for i in range(1400)),
    "many items": b"- a\n" * 250_000,
    "many keys": b"".join(b"k%d: v\n" % i for i in range(90_000)),
    "many documents": b"---\n" * 200_000,
    "many comments": b"# x\n" * 250_000,
    "many directives": b"".join(b"%%TAG !a%d! b\n" % i for i in range(60_000)) + b"--- a",
    "one line": b"[" + b"a, " * 300_000,
    "long text": b"a: " + b"x" * 1_000_000,
    "many lines": b"a: x\n" + b" y\n" * 300_000,
    "anchors": b"".join(b"- &a%d x\n" % i for i in range(80_000)),
    "duplicates": b"a: 1\n" * 200_000,
    "unknown aliases": b"- *a\n" * 200_000,
    "big number": b"a: " + b"9" * 1_000_000,
    "big fraction": b"a: 0." + b"9" * 1_000_000,
    "100 MB": b"x" * 100_000_000,
    "zeros": b"\0" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_takes_long(name: str) -> None:
    """A file made to be slow is refused or read within a second of computing."""
    started = time.process_time()
    parse(HOSTILE[name], "f.yaml")
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "name",
    [
        *("alias bomb", "merge bomb", "100 MB", "zeros"),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("many items", "many keys", "anchors")),
    ],
)
def test_no_file_takes_much_memory(name: str) -> None:
    """A file made to be large in memory stays below 200 MB."""
    tracemalloc.start()
    try:
        parse(HOSTILE[name], "f.yaml")
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("limits", "text", "line"),
    [
        (Limits(depth=3), b"a:\n  b:\n    c:\n      d: 1\n", 4),
        (Limits(nodes=4), b"- 1\n- 2\n- 3\n- 4\n", 4),
        (Limits(documents=2), b"a: 1\n---\nb: 1\n---\nc: 1\n", 4),
        (Limits(bytes=4), b"a: 1\n", 0),
    ],
)
def test_each_limit_is_reported_where_it_is_passed(limits: Limits, text: bytes, line: int) -> None:
    """The problem of a limit stands where reading stopped."""
    _, problems = parse(text, "f.yaml", limits)
    assert [(p.code, p.position.line if p.position else None) for p in problems] == [("yaml-limit", line)]


def test_the_default_limits_leave_room_for_a_thousand_services_in_a_file() -> None:
    """Ordinary large files pass."""
    one = "apiVersion: reconciler/v1\nkind: Service\nmetadata: {name: x}\nspec: {inference: a, models: [m]}\n"
    text = "---\n".join([one] * LIMITS.documents).encode()
    documents, problems = parse(text, "f.yaml")
    assert (len(documents), problems) == (LIMITS.documents, [])
