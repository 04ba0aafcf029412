"""`plan --snapshot` from the outside: whose snapshot is believed, where it may come from, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.identity import load_identity
from reconciler.engine.snapshot.signing import Signer, open_envelope
from tests import prefork
from tests.certificates import certificate_in
from tests.cli.conftest import Run, environment, git
from tests.engine.addresses import says, serving


@dataclass(frozen=True)
class Production:
    """What an installation published.

    Args:
        repo: The one that it reconciles, of which nothing was applied yet.
        file: The signed snapshot.
        key: Its public key.
    """

    repo: Path
    state: Path
    file: Path
    key: str

    def signed(self, change: Callable[[dict[str, Any]], object], folder: Path) -> Path:
        """The same snapshot after a change, signed by the installation itself."""
        identity = load_identity(self.state / "identity.json")
        signer = Signer(identity.installation, identity.key)
        payload = json.loads(open_envelope(self.file.read_bytes(), [signer.public_key])[0])
        change(payload)
        made = folder / "changed.json"
        made.write_bytes(signer.sign(json.dumps(payload)))
        return made


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, quickstart: Path) -> Production:
    """An installation of the quickstart, and what `reconciler snapshot` says there."""
    folder = tmp_path_factory.mktemp("production")
    repo = Path(shutil.copytree(quickstart, folder / "repo"))

    def run(*words: str) -> str:
        done = prefork.run("reconciler", ("snapshot", *words), repo, environment(folder / "state"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("--out", str(folder / "snapshot.json"))
    return Production(repo, folder / "state", folder / "snapshot.json", run("--public-key").strip())


@pytest.fixture
def clone(production: Production, tmp_path: Path) -> Path:
    """Where pull requests are planned: a clone."""
    git(tmp_path, "clone", "-q", str(production.repo), "clone")
    return tmp_path / "clone"


def test_a_plan_needs_nothing_but_the_snapshot(reconciler: Run, production: Production, clone: Path) -> None:
    """It is the plan that the installation itself makes, with its digest, and says against what it was made."""
    own = prefork.run("reconciler", ("plan", "-o", "json"), production.repo, environment(production.state))
    done = reconciler(
        "plan", "--snapshot", str(production.file), "--snapshot-key", production.key, "-o", "json", cwd=clone
    )
    assert (done.returncode, done.stderr) == (0, "")
    there, here = json.loads(own.stdout), json.loads(done.stdout)
    basis = here.pop("basis")
    assert there.pop("basis") is None
    assert here == there
    assert here["summary"]["create"] == 3
    assert basis["installation"] == production.key.partition(":")[0]
    assert (basis["kind"], basis["old"], basis["notCompared"]) == ("snapshot", False, [])


def test_it_comes_from_wherever_it_is(reconciler: Run, production: Production, clone: Path, tmp_path: Path) -> None:
    """A file, standard input, http on this machine, https with a certificate that is believed, a redirection."""
    data = production.file.read_bytes()
    certificate = certificate_in(tmp_path)
    keys = ("--snapshot-key", production.key)
    with (
        serving(says(200, data)) as plain,
        serving(says(200, data), certificate) as safe,
        serving(says(307, Location=safe)) as leading,
    ):
        for place in (str(production.file), plain, safe, leading):
            done = reconciler("plan", "--snapshot", place, *keys, cwd=clone, SSL_CERT_FILE=str(certificate[0]))
            assert done.returncode == 0, done.stderr
            assert "Compared with what rc-" in done.stdout
    words = ("plan", "--snapshot", "-", *keys)
    piped = prefork.run("reconciler", words, clone, environment(tmp_path / "state"), text=data.decode())
    assert piped.returncode == 0, piped.stderr
    assert "3 to create" in piped.stdout


@pytest.mark.long
def test_the_settings_may_name_the_key(reconciler: Run, production: Production, clone: Path, tmp_path: Path) -> None:
    """`snapshot.keys` in place of the option; an option counts instead of them."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"snapshot": {"keys": ["rc-x:ed25519:" + "A" * 43 + "=", production.key]}}))
    words = ("plan", "--snapshot", str(production.file), "--settings", str(settings))
    assert reconciler(*words, cwd=clone).returncode == 0
    other = reconciler(*words, "--snapshot-key", "rc-x:ed25519:" + "A" * 43 + "=", cwd=clone)
    assert (other.returncode, "not signed by rc-x" in other.stderr) == (13, True)


def told(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """One error with a way on, in words and as JSON, and no plan."""
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
    error = json.loads(done.stdout)
    assert (error["kind"], error["exitCode"]) == ("Error", code)
    assert says in error["message"]
    assert error["hint"]


def flipped(data: bytes) -> bytes:
    """An envelope whose payload was changed after it was signed."""
    envelope = json.loads(data)
    payload = envelope["payload"]
    envelope["payload"] = payload[:400] + ("B" if payload[400] != "B" else "C") + payload[401:]
    return json.dumps(envelope).encode()


def unsigned(data: bytes) -> bytes:
    """An envelope without signatures."""
    return json.dumps({**json.loads(data), "signatures": []}).encode()


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        pytest.param(flipped, 13, "not signed by rc-", id="changed"),
        pytest.param(lambda data: data[: len(data) // 2], 11, "not a signed snapshot", id="truncated"),
        pytest.param(unsigned, 13, "not signed by rc-", id="unsigned", marks=pytest.mark.long),
        pytest.param(lambda _: b"", 11, "not a signed snapshot", id="empty", marks=pytest.mark.long),
        pytest.param(lambda _: b"[" * 100_000, 11, "not a signed snapshot", id="deep", marks=pytest.mark.long),
        pytest.param(lambda _: b"<html>", 11, "not a signed snapshot", id="page", marks=pytest.mark.long),
    ],
)
def test_what_is_not_what_was_signed_is_refused(
    reconciler: Run,
    production: Production,
    clone: Path,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
    code: int,
    says: str,
) -> None:
    """Changed, cut off, or something else."""
    bad = tmp_path / "bad.json"
    bad.write_bytes(spoil(production.file.read_bytes()))
    words = ("plan", "--snapshot", str(bad), "--snapshot-key", production.key, "-o", "json")
    told(reconciler(*words, cwd=clone), code, says)


def older(seconds: float) -> Callable[[dict[str, Any]], object]:
    """Makes a snapshot older than it is, or younger."""

    def change(payload: dict[str, Any]) -> None:
        payload["madeAt"] -= seconds
        for target in payload["targets"].values():
            target["observedAt"] -= seconds

    return change


def misfit(
    name: str, change: Callable[[dict[str, Any]], object], code: int, says: str, *words: str, long: bool = True
) -> Any:
    """A change of what was signed, and what is said to it; most of them are tried by the long suite."""
    return pytest.param(change, words, code, says, id=name, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize(
    ("change", "words", "code", "says"),
    [
        misfit("old", older(3600), 13, "1h old, more than --max-age allows (30m)", "--max-age", "30m", long=False),
        misfit("installation", lambda p: p.update(installation="rc-other"), 13, "of installation rc-other", long=False),
        misfit("repo", lambda p: p["repo"].update(origin="https://git.example/x"), 13, "of the repo https", long=False),
        misfit("damaged", lambda p: p.pop("targets"), 11, "is damaged (KeyError)", long=False),
        misfit("early", older(-3600), 13, "one of the clocks is wrong"),
        misfit("path", lambda p: p["repo"].update(path="ml"), 13, "is of the folder ml"),
        misfit("environment", lambda p: p.update(environment="a"), 13, "is of the environment a", "--env", "b"),
        misfit("kind", lambda p: p.update(kind="Plan"), 11, "not a snapshot"),
        misfit("version", lambda p: p.update(formatVersion=99), 11, "has format version 99"),
        misfit("surroundings", lambda p: p.update(surroundings={"registry/environments": 1}), 11, "does not say what"),
    ],
)
def test_what_does_not_fit_is_refused_although_it_is_signed(
    reconciler: Run,
    production: Production,
    clone: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    words: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    """Too old, of the future, of another installation, repo, folder or environment; or of another release."""
    changed = production.signed(change, tmp_path)
    every = ("plan", "--snapshot", str(changed), "--snapshot-key", production.key, "-o", "json", *words)
    told(reconciler(*every, cwd=clone), code, says)


def test_an_old_one_says_so(reconciler: Run, production: Production, clone: Path, tmp_path: Path) -> None:
    """Without --max-age it is planned with, and the plan warns."""
    changed = production.signed(older(7200), tmp_path)
    done = reconciler("plan", "--snapshot", str(changed), "--snapshot-key", production.key, cwd=clone)
    assert done.returncode == 0
    assert "saw 2h ago" in done.stdout
    assert "The snapshot is 2h old: what happened since does not show" in done.stdout


def test_a_fork_says_which_repo_it_is_of(reconciler: Run, production: Production, clone: Path) -> None:
    """Its origin is another; the message has the option to paste."""
    git(clone, "remote", "set-url", "origin", "https://git.example/mallory/ml.git")
    words = ("plan", "--snapshot", str(production.file), "--snapshot-key", production.key)
    refused = reconciler(*words, cwd=clone)
    way = f"--snapshot-repo {production.repo}"
    assert (refused.returncode, way in refused.stderr) == (13, True), refused.stderr
    assert reconciler(*words, *way.split(" "), cwd=clone).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--snapshot", "FILE", "--base", "HEAD"), 10, "compare with different things"),
        (("--snapshot", "FILE", "--offline"), 10, "compare with different things"),
        (("--snapshot", "FILE", "--out", "p.json"), 10, "from the targets themselves"),
        (("--snapshot", "FILE"), 10, "nobody's snapshots are believed here"),
        (("--snapshot", "FILE", "--snapshot-key", "KEY"), 10, "INSTALLATION:ed25519:KEY"),
        (("--max-age", "1h"), 10, "--max-age says something about a snapshot"),
        (("--snapshot", "nowhere.json", "--snapshot-key", "GOOD"), 11, "nowhere.json cannot be read"),
        (("--snapshot", ".", "--snapshot-key", "GOOD"), 11, "cannot be read: Is a directory"),
        (("--snapshot", "http://ml.example/snapshot", "--snapshot-key", "GOOD"), 13, "is not https"),
        (("--snapshot", "ftp://ml.example/snapshot", "--snapshot-key", "GOOD"), 11, "no address of a snapshot"),
    ],
)
def test_what_is_asked_wrongly(
    reconciler: Run, production: Production, clone: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    """Each is one error with a way on."""
    known = {"FILE": str(production.file), "GOOD": production.key}
    told(reconciler("plan", "-o", "json", *(known.get(w, w) for w in words), cwd=clone), code, says)


def test_addresses_that_give_none(reconciler: Run, production: Production, clone: Path) -> None:
    """A daemon that is not ready, a page that is not there, one that wants credentials, nobody; no secret is told."""
    keys = ("--snapshot-key", production.key, "-o", "json")
    for status, code, words in ((503, 12, "not seen all"), (404, 11, "no snapshot at"), (401, 12, "refused (401)")):
        with serving(says(status)) as address:
            secret = address.replace("://", "://me:hunter2@") + "?token=hunter2"
            done = reconciler("plan", "--snapshot", secret, *keys, cwd=clone)
            assert "hunter2" not in done.stdout + done.stderr
            told(done, code, words)
    told(reconciler("plan", "--snapshot", address, *keys, cwd=clone), 12, "cannot be fetched")


@pytest.mark.long
def test_an_interrupt_ends_a_stalled_transfer(production: Production, clone: Path, tmp_path: Path) -> None:
    """Ctrl-C while a server says nothing: 130 at once."""
    import signal

    asked, over = threading.Event(), threading.Event()

    def silent(_: object) -> None:
        asked.set()
        over.wait(60)

    with serving(silent) as address:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "plan", "--snapshot", address, "--snapshot-key", production.key],
            cwd=clone,
            env=environment(tmp_path / "state"),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(60)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        over.set()
    assert (process.returncode, "Traceback" in error) == (130, False)
    assert time.monotonic() - began < 20
