"""A daemon publishes what it sees, and a job that has access to nothing plans with it: the very same plan."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.engine.snapshot.signing import PublicKey, open_envelope
from tests import prefork
from tests.cli.conftest import environment, git

from .conftest import Home, inference, service, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CANARY = "c4n4ry"
TOKEN, RENEWED, PRIMARY = (f"{CANARY}-{name}-5e1f" for name in ("token", "renewed", "primary"))
VARIABLES = {"TOKEN": {"valueFrom": {"env": "APP_TOKEN"}}, "MODE": "fast"}
AUTH = {"enabled": True, "primaryKey": {"valueFrom": {"env": "APP_PRIMARY"}}}
# Says its secret with its last words.
TELLTALE = """
import os


def init():
    if os.environ["MODE"] == "broken":
        raise RuntimeError("cannot sign in with " + os.environ["TOKEN"])


def run(data):
    return data
"""


def wanted(name: str = "one", **variables: Any) -> str:
    """A service with secrets."""
    return service(name, auth=AUTH, deployment={"environmentVariables": {**VARIABLES, **variables}})


@dataclass
class Outside:
    """Somebody without access: a clone, a state directory of their own, a public key."""

    home: Home
    folder: Path
    address: str
    key: str

    def __post_init__(self) -> None:
        self.clone = self.folder / "clone"
        git(self.folder, "clone", "-q", str(self.home.repo), str(self.clone))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the clone."""
        done = prefork.run("reconciler", words, self.clone, environment(self.folder / "state"))
        assert CANARY not in done.stdout + done.stderr
        return done

    def plan(self, place: str | Path | None = None, *words: str) -> Any:
        """The plan against a snapshot, by default the daemon's own."""
        against = ("--snapshot", str(place or self.address), "--snapshot-key", self.key)
        done = self.run("plan", *against, "-o", "json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def pull(self) -> None:
        """The newest commit."""
        git(self.clone, "pull", "-q")


@pytest.fixture
def outside(home: Home, tmp_path: Path) -> Iterator[Outside]:
    """What a running daemon publishes of one service with secrets."""
    home.settings.write_text(
        json.dumps({"secrets": {"envPrefixes": ["APP_"]}, "snapshot": {"file": str(tmp_path / "published.json")}})
    )
    home.variables.update(APP_TOKEN=TOKEN, APP_PRIMARY=PRIMARY)
    home.write({"inference/score.py": TELLTALE, "inference/echo.yaml": inference(), "services/one.yaml": wanted()})
    folder = tmp_path / "outside"
    folder.mkdir()
    with home.daemon() as daemon:
        daemon.until("reconcile", target="local", outcome="applied")
        address = f"http://{daemon.until('daemon started')['address']}/snapshot"
        key = home.ok("snapshot", "--public-key").strip()
        yield Outside(home, folder, address, key)


def fetched(outside: Outside) -> tuple[bytes, Any]:
    """The newest snapshot as it comes, and what was signed."""
    answer = httpx.get(outside.address, trust_env=False, timeout=60)
    assert answer.status_code == 200
    payload, _ = open_envelope(answer.content, [PublicKey.parse(outside.key)])
    return answer.content, json.loads(payload)


def of_commit(outside: Outside) -> Any:
    """The snapshot of the newest commit."""
    sha = git(outside.home.repo, "rev-parse", "HEAD").strip()

    def found() -> Any:
        _, payload = fetched(outside)
        return payload["revision"]["sha"] == sha and payload

    return until(found)


def same(there: Any, here: Any) -> None:
    """Two plans are one, but for what they were made against."""
    basis = here.pop("basis")
    there.pop("basis")
    assert basis["kind"] == "snapshot"
    assert there == here


def test_the_plan_is_the_daemons_own_with_access_to_nothing(outside: Outside, tmp_path: Path) -> None:
    """In sync and with a change: the same JSON and digest as inside, from the address and from the file."""
    home = outside.home
    # What was just applied is seen, and published, by the look after it.
    at_rest = until(lambda: (plan := outside.plan())["pending"] is False and plan)
    same(home.json("plan"), at_rest)
    assert (at_rest["changes"], at_rest["pending"], at_rest["drifted"]) == ([], False, False)

    text = outside.run("plan", "--snapshot", outside.address, "--snapshot-key", outside.key).stdout
    assert f"Compared with what {outside.key.partition(':')[0]} saw " in text
    assert "ago (" in text

    # A pull request.
    git(outside.clone, "checkout", "-q", "-b", "feature")
    (outside.clone / "services/one.yaml").write_text(wanted(MODE="slow"))
    (outside.clone / "services/two.yaml").write_text(wanted("two"))
    git(outside.clone, "add", "--all", ".")
    git(outside.clone, "commit", "-q", "-m", "Faster")
    git(home.repo, "fetch", "-q", str(outside.clone), "feature:feature")
    planned = outside.plan()
    assert {c["resource"]: c["action"] for c in planned["changes"] if c["service"]} == {
        "local/process/one": "update",
        "local/process/two": "create",
    }
    assert planned["basis"]["notCompared"] == []
    same(home.json("plan", "--ref", "feature"), planned)

    published = tmp_path / "published.json"
    until(lambda: published.exists())
    assert outside.plan(published)["digest"] == planned["digest"]
    # A snapshot that somebody made by hand beside the daemon is as good.
    home.ok("snapshot", "--out", str(tmp_path / "own.json"))
    assert outside.plan(tmp_path / "own.json")["digest"] == planned["digest"]


def test_secrets_are_compared_and_told_to_nobody(outside: Outside, tmp_path: Path) -> None:
    """A renewed secret shows, a new reference shows uncompared; no canary in snapshots, plans, or what failed."""
    home = outside.home
    snapshots = [fetched(outside)[0]]
    # The operator renews a secret: a look of theirs knows, and tells that it is another one.
    home.variables["APP_TOKEN"] = RENEWED
    home.ok("snapshot", "--out", str(tmp_path / "renewed.json"))
    (change,) = [c for c in outside.plan(tmp_path / "renewed.json")["changes"] if c["service"]]
    assert [(f["pointer"], f["sensitive"]) for f in change["fields"]] == [("/environmentVariables/TOKEN", True)]
    snapshots.append((tmp_path / "renewed.json").read_bytes())

    (outside.clone / "services/one.yaml").write_text(wanted(OTHER={"valueFrom": {"env": "APP_OTHER"}}))
    asked = outside.plan()
    assert [n["reference"] for n in asked["basis"]["notCompared"]] == ["env:APP_OTHER"]
    git(outside.clone, "checkout", "-q", ".")

    # A version that fails, with the secret in its last words; and one that is held back after that.
    home.write({"services/one.yaml": wanted(MODE="broken")})
    of_commit(outside)
    until(lambda: any("hold" in r for t in fetched(outside)[1]["targets"].values() for r in t["resources"]))
    snapshots.append(fetched(outside)[0])
    outside.pull()
    assert outside.plan()["blocked"]
    outside.run("plan", "--snapshot", outside.address, "--snapshot-key", outside.key, "-o", "markdown")

    fingerprints = {f for row in home.record()["baselines"] for f in fingerprints_of(row)}
    assert len(fingerprints) >= 2
    for data in snapshots:
        payload, _ = open_envelope(data, [PublicKey.parse(outside.key)])
        assert CANARY not in data.decode() + payload.decode()
        assert [f for f in fingerprints if f in payload.decode()] == []


def fingerprints_of(row: Any) -> Iterator[str]:
    """The keyed fingerprints of secrets in a row of the record."""
    for value in row:
        if isinstance(value, str) and value.startswith("{"):
            yield from _secrets(json.loads(value))


def _secrets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if (secret := node.get("$secret")) is not None:
            yield secret[0] if isinstance(secret, list) else secret
        for inner in node.values():
            yield from _secrets(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _secrets(inner)


def test_another_installation_of_the_same_repo_is_not_believed(home: Home, outside: Outside, tmp_path: Path) -> None:
    """Whoever can read the repo can make an installation, and a snapshot that says that all is well."""
    words = ("snapshot", "--out", str(tmp_path / "mallory.json"))
    assert prefork.run("reconciler", words, home.repo, environment(tmp_path / "mallory")).returncode == 0
    done = outside.run("plan", "--snapshot", str(tmp_path / "mallory.json"), "--snapshot-key", outside.key)
    assert (done.returncode, "is not signed by" in done.stderr) == (13, True)
