"""Many files are read by two processes: what is found, remembered and told is the same as with one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.manifests import DocumentCache, load
from reconciler.manifests.together import FEWEST
from tests.manifests.trees import MemoryTree

MANY = 3 * FEWEST
SERVICE = "apiVersion: reconciler/v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec: {{inference: shared{more}}}\n"


def repo() -> MemoryTree:
    """Services in both halves, every tenth wrong in a way of its own, one a file of two documents, one too large."""
    files: dict[str, bytes | str] = {}
    for n in range(MANY):
        more = {3: ", no-such-key: 1", 5: ", target: [", 7: ", tags: *none"}.get(n % 10, "")
        files[f"services/s{n:04d}.yaml"] = SERVICE.format(n=n, more=more)
    files["services/s0200.yaml"] = SERVICE.format(n="a", more="") + "---\n" + SERVICE.format(n="b", more="")
    files["services/s0201.yaml"] = SERVICE.format(n=201, more="") + "# more\n" * 200_000
    files["services/s0202.yaml"] = b"\xff"
    return MemoryTree(files)


# Whoever runs the tests may have threads, with which nothing is copied; a process of its own has none.
ALONE = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from reconciler.manifests import DocumentCache, load
from tests.manifests.test_together import repo, told
made = []
fork = os.fork
def counted():
    made.append(1)
{harm}
os.fork = counted
cache = DocumentCache(Path({cache!r}))
found = load(repo(), cache)
cache.save()
assert len(made) == 1, made
print(told(found))
"""


def told(found: object) -> str:
    """All that loading found, with the places of it."""
    from reconciler.manifests.repo import Repo

    assert isinstance(found, Repo)
    services = [(m.name, dict(m.spec), str(m.at("/spec/inference"))) for m in found.services.values()]
    return f"{services}\n{[str(problem) for problem in found.problems]}\n{sorted(found.broken)}"


def alone(cache: Path, harm: str = "    return fork()") -> str:
    """What a process without threads finds, which has to make one copy of itself."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one processor, on which nothing is shared out")
    program = ALONE.format(root=str(Path(__file__).parents[2]), cache=str(cache), harm=harm)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.rstrip("\n")


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    """Documents, problems in their order, places; and the memory holds both halves."""
    expected = told(load(repo()))
    assert "s0203.yaml" in expected
    assert alone(tmp_path / "documents") == expected
    remembered = DocumentCache(tmp_path / "documents")
    listed = repo().documents()
    known = [entry.path for entry in listed if remembered.get(entry.path, entry.object_id) is not None]
    assert {f"services/s{n:04d}.yaml" for n in range(MANY) if n % 10 not in (3, 5, 7)} - set(known) == {
        "services/s0201.yaml",
        "services/s0202.yaml",
    }
    assert told(load(repo(), remembered)) == expected


@pytest.mark.parametrize(
    "harm",
    [
        "    raise BlockingIOError(11, 'Resource temporarily unavailable')",
        "    pid = fork()\n    if not pid:\n        os.kill(os.getpid(), 9)\n    return pid",
    ],
    ids=["no more processes", "killed"],
)
def test_a_copy_that_fails_leaves_its_half_to_this_process(tmp_path: Path, harm: str) -> None:
    """Nothing is lost with it."""
    assert alone(tmp_path / "documents", harm) == told(load(repo()))
