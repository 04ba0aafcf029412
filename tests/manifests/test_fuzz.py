"""Mutated manifests: whatever is in a file, loading and resolving end with values, never with an exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifests import load, resolve
from reconciler.manifests.yaml import parse
from tests.manifests.trees import MemoryTree

ROOT = Path(__file__).parents[2]
TREES = {
    path.name: MemoryTree.of(path)
    for path in sorted((ROOT / "examples").iterdir())
    if path.is_dir() and path.name[0] not in "._"
}
SNIPPETS = [
    *(
        b": ",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!x ",
        b"'",
        b'"',
        b"\t",
        b"\n",
        b"\0",
        b"\xff",
    ),
    *(b"null", b"yes", b"true", b"1e999", b"99999999999999999999", b"~", b"|", b">", b"---\n", b"# ", b"%TAG", b"?"),
    *("ä".encode(), b"../..", b"/", b"local", b"latest", b"valueFrom: {env: A}", b"kind: Model", b"spec:", b"name:"),
]


def mutate(data: bytes, seed: int) -> bytes:
    """A few cuts, doublings, swaps and insertions."""
    rng = random.Random(seed)
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randint(0, 12))
        lines = data.split(b"\n")
        line = rng.randrange(len(lines))
        data = rng.choice(
            [
                data[:at] + rng.choice(SNIPPETS) + data[at:],
                data[:at] + data[end:],
                data[:end] + data[at:],
                b"\n".join([*lines[:line], *lines[line + 1 :]]),
                b"\n".join([*lines[:line], b" " * rng.randint(1, 4) + lines[line], *lines[line + 1 :]]),
                b"\n".join([*lines[:line], lines[rng.randrange(len(lines))], *lines[line:]]),
            ]
        )
    return data


def check(example: str, seed: int) -> None:
    """A mutation of one file of an example gives a resolution whose problems can all be printed."""
    tree = TREES[example]
    rng = random.Random(seed)
    paths = [path for path in tree.paths() if path.endswith((".yaml", ".yml", ".py", ".txt"))]
    path = rng.choice(paths)
    changed = tree.changed({path: mutate(tree.read(path, 1 << 20), seed)})
    found = resolve(load(changed), changed, {})
    assert all(str(problem) and problem.code and problem.message for problem in found.problems)
    assert found.complete == (not any(problem.severity == "error" for problem in found.problems))
    assert {d.service for d in found.deployments}.isdisjoint(found.incomplete)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TREES)), st.integers(0, 2**32))
def test_a_mutated_example_never_raises(example: str, seed: int) -> None:
    """Whatever is broken is reported."""
    check(example, seed)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None)
@given(st.sampled_from(sorted(TREES)), st.integers(0, 2**32))
def test_ten_thousand_mutated_examples_never_raise(example: str, seed: int) -> None:
    """The same with many more."""
    check(example, seed)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_can_be_parsed_or_refused(data: bytes) -> None:
    """Parsing never raises."""
    parse(data, "f.yaml")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%#,\n\t 0.~<", max_size=60))
def test_any_text_of_yaml_signs_can_be_parsed_or_refused(text: str) -> None:
    """Parsing never raises, and every problem has a place in the file."""
    _, problems = parse(text.encode(), "f.yaml")
    assert all(problem.position is not None and problem.position.line > 0 for problem in problems)
