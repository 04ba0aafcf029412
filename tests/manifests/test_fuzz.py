"""Mutated manifests: whatever is in a file, loading and resolving end with values, never with an exception.

They do so within a second and 200 MB, and open, list, start or connect to nothing outside of the tree.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifests import load, resolve
from reconciler.manifests.yaml import parse
from tests.manifests.trees import MemoryTree
from tests.searching import deeply

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
    *(b"/etc/passwd", b"file:///etc/passwd", b"~/.netrc", b"https://127.0.0.1:1/x", b"../../../../etc/passwd"),
    *("ä".encode(), b"../..", b"/", b"local", b"latest", b"valueFrom: {env: A}", b"kind: Model", b"spec:", b"name:"),
]


MOST_SECONDS = 1.0
MOST_BYTES = 200_000_000
REACHING_OUT = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.exec",
    "subprocess.Popen",
    "socket.connect",
    "socket.getaddrinfo",
)
# Where Python looks for modules: error paths import what they need when they need it.
IMPORTS = tuple({str(ROOT), sys.prefix, sys.base_prefix, *(path for path in sys.path if path)})
# Python looks for the line of a syntax error in the file that the source is said to be from.
UNNAMED = "<unknown>"


class Watch:
    """What this thread reaches for while it is on; an audit hook cannot be taken away again.

    Threads that other tests left behind have nothing to do with it.
    """

    on = 0
    installed = False

    def __init__(self) -> None:
        self.seen: list[str] = []

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on == threading.get_ident() and event in REACHING_OUT:
            what = str(arguments[0])
            if not (event in ("open", "os.listdir") and what.startswith((*IMPORTS, UNNAMED))):
                self.seen.append(f"{event} {what}")

    @contextmanager
    def watching(self) -> Generator[None]:
        if not self.installed:
            sys.addaudithook(self.hear)
            self.installed = True
        self.on = threading.get_ident()
        try:
            yield
        finally:
            self.on = 0
        assert self.seen == []


WATCH = Watch()


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
    with WATCH.watching():
        found = resolve(load(changed), changed, {})
    assert all(str(problem) and problem.code and problem.message for problem in found.problems)
    assert found.complete == (not any(problem.severity == "error" for problem in found.problems))
    assert {d.service for d in found.deployments}.isdisjoint(found.incomplete)


def seconds(example: str, seed: int) -> float:
    """How long this processor is busy with a check."""
    began = time.thread_time()
    check(example, seed)
    return time.thread_time() - began


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(TREES)), st.integers(0, 2**32))
def test_a_mutated_example_never_raises(example: str, seed: int) -> None:
    """Whatever is broken is reported."""
    check(example, seed)


@pytest.mark.long
@settings(max_examples=deeply(10_000), deadline=None)
@given(st.sampled_from(sorted(TREES)), st.integers(0, 2**32))
def test_a_mutated_example_never_raises_searched_deeply(example: str, seed: int) -> None:
    """The same with many more, each within a second of this processor and 200 MB."""
    tracemalloc.start()
    try:
        # What else the process does (a collection of garbage, a first import) may fall into one measurement, not all.
        assert any(seconds(example, seed) < MOST_SECONDS for _ in range(3))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_reaching_out_of_the_tree_would_be_noticed() -> None:
    """The watch itself: a file of the machine that is opened is told."""
    watch = Watch()
    with pytest.raises(AssertionError, match="open /etc/passwd"), watch.watching():
        Path("/etc/passwd").read_bytes()


def test_what_another_thread_opens_is_its_own() -> None:
    """It may be left over from anything that ran before."""
    go, done = threading.Event(), threading.Event()

    def other() -> None:
        go.wait()
        Path("/etc/passwd").read_bytes()
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with Watch().watching():
        go.set()
        done.wait()
    thread.join()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_can_be_parsed_or_refused(data: bytes) -> None:
    """Parsing never raises."""
    parse(data, "f.yaml")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%#,\n\t 0.~<", max_size=60))
def test_any_text_of_yaml_signs_can_be_parsed_or_refused(text: str) -> None:
    """Parsing never raises, and every problem has a place in the file."""
    _, problems = parse(text.encode(), "f.yaml")
    assert all(problem.position is not None and problem.position.line > 0 for problem in problems)
