"""`models lock` from the outside: a server with a model, a repo, and plans that know what moved."""

from __future__ import annotations

import functools
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run, commit, git
from tests.cli.test_offline import replace_in


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def www(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path / "www"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_address[1]}/m.pkl"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def shop(repo: Path, www: tuple[Path, str], tmp_path: Path) -> Path:
    """A repo whose model stands at that address."""
    folder, uri = www
    shutil.move(repo / "models/diabetes-ridge.pkl", folder / "m.pkl")
    replace_in(repo / "models/diabetes-ridge.yaml", "path: models/diabetes-ridge.pkl", f"uri: {uri}")
    commit(repo, "Models lie elsewhere")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"models: {{uriPrefixes: ['{uri[:-5]}'], checkSeconds: 0, connectTimeout: 5}}\n")
    return repo


def test_a_model_is_locked_watched_and_followed(
    reconciler: Run, shop: Path, www: tuple[Path, str], tmp_path: Path
) -> None:
    """Nothing is planned before somebody looked; then the lock holds, and says when it does not any more."""
    settings = ("--settings", str(tmp_path / "settings.yaml"))

    def told(*words: str, code: int = 0) -> str:
        done = reconciler(*words, *settings, cwd=shop)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert "[model-unknown-content]\n    `reconciler models lock` looks" in told("validate", code=11)
    assert "is not locked" in told("models", "lock", "--check", code=14)
    assert "model.lock has 1 entry, 1 change: commit it." in told("models", "lock")
    first = (shop / "model.lock").read_bytes()
    assert b"lastModified: " in first
    commit(shop, "Lock")
    assert "1 entry holds." in told("models", "lock", "--check")
    assert "diabetes-ridge:1  633 B  sha256:d7bd6d5375c8" in told("plan", "--base", "HEAD~1")

    with (www[0] / "m.pkl").open("ab") as stream:
        stream.write(b"\n")
    assert "model-source-changed" not in told("plan")
    replace_in(shop / "models/diabetes-ridge.yaml", "  uri:", "  lock: warn\n  uri:")
    assert "warning: the bytes behind this `uri` are not those in model.lock any more: size was 633, is 634" in told(
        "plan"
    )
    assert "diabetes-ridge  moved: size was 633, is 634" in told("models", "lock", "--check", code=14)
    assert "as before" in told("models", "lock")
    assert (shop / "model.lock").read_bytes() == first
    assert "~ diabetes-ridge  sha256:d7bd6d5375c8 → sha256:" in told("models", "lock", "diabetes-ridge")
    assert "size: 634" in git(shop, "diff", "-U0", "model.lock")
    assert "model-source-changed" not in told("plan")

    replace_in(shop / "models/diabetes-ridge.yaml", "lock: warn", "lock: follow")
    report = json.loads(reconciler("models", "lock", "-o", "json", *settings, cwd=shop).stdout)
    assert (report["entries"], [c["after"] for c in report["changes"]]) == (0, [None])
    assert not (shop / "model.lock").exists()
    assert "digest known after registering" in told("plan")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("diabetes-rigde",), 10, "did you mean 'diabetes-ridge'?"),
        (("--check", "--upgrade"), 10, "--check looks at everything"),
        (("--ref", "HEAD"), 10, "written in the working copy"),
        (("--env", "prod"), 11, "there is no environment 'prod'"),
        (("--repo", "https://x.invalid/y"), 12, ""),
        ((), 16, "is not below any address that this installation may fetch models from"),
    ],
)
def test_what_cannot_be_locked(reconciler: Run, shop: Path, words: tuple[str, ...], code: int, said: str) -> None:
    """Slips, and addresses that the operator's settings do not allow; nothing is written."""
    done = reconciler("models", "lock", *words, cwd=shop)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert git(shop, "status", "--porcelain") == ""
