"""What is written as YAML is read back as it was, by our parser and by others."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.writing import to_yaml
from reconciler.manifests.yaml import parse

WORDS = [
    *(
        "yes",
        "Off",
        "1e3",
        "0o7",
        "0x1f",
        "08",
        "2024-01-01",
        "1:30",
        "~",
        "null",
        ".5",
        "-",
        "...",
        "---",
        "<<",
        "a: b",
    ),
    *(
        "a #b",
        "#",
        "a:",
        "- a",
        "{}",
        "é",
        "\u2028",
        "\x85",
        "\x7f",
        "\ufeff",
        "\U0001f600",
        " ",
        "a\n",
        "",
        "'",
        '"',
        "!x",
    ),
]
words = st.sampled_from(WORDS)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
texts = words | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(texts, values, max_size=4), st.booleans())
def test_any_value_is_read_back(value: dict[str, Any], commented: bool) -> None:
    """Whatever is written reads back as the same values, with and without comments."""
    said = (lambda pointer: "where it came from: # 1") if commented else (lambda pointer: "")
    written = to_yaml(value, said)
    documents, problems = parse(written.encode(), "x.yaml")
    assert problems == []
    assert [document.value for document in documents] == [value]


@given(st.dictionaries(texts, values, max_size=4))
def test_other_parsers_read_the_same_texts(value: dict[str, Any]) -> None:
    """A YAML 1.1 parser takes no text for a number, a date or a truth value."""
    read = yaml.safe_load(to_yaml(value))
    assert kinds(read) == kinds(value)


def kinds(value: Any) -> Any:
    """The same shape with texts kept and everything else by type."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kinds(inner) for inner in value]
    return value if isinstance(value, str) else "other"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": {"b": [1, {"c": "x", "d": []}]}}, "a:\n  b:\n    - 1\n    - c: x\n      d: []\n"),
        ({"data": [[1, 2.5], []], "names": ["a b", "c"]}, "data: [[1, 2.5], []]\nnames: [a b, c]\n"),
        ({"long": ["x" * 50] * 2}, f"long:\n  - {'x' * 50}\n  - {'x' * 50}\n"),
        ({"image": "python:3.11-slim", "v": "3.11"}, 'image: python:3.11-slim\nv: "3.11"\n'),
        ({"text": "Scores patients, daily (v2)"}, "text: Scores patients, daily (v2)\n"),
        ({"a": "/spec/**", "on": "on"}, 'a: "/spec/**"\n"on": "on"\n'),
    ],
)
def test_it_looks_as_people_write_it(value: Any, written: str) -> None:
    """Block style, quotes only where something would else be read differently."""
    assert to_yaml(value) == written


def test_comments_stand_below_each_other() -> None:
    """They begin in one column, so that the eye can follow them."""
    assert to_yaml({"a": 1, "long": {"name": 2}}, lambda pointer: f"at {pointer}") == (
        "a: 1       # at /a\nlong:\n  name: 2  # at /long/name\n"
    )
