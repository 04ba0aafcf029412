"""No secret in anything we print, write, log, store or hand to a process: canaries through a whole life.

The one place that prints keys is `keys --show`. What an entry script itself prints, or raises, stands in the service's
own log, which is the user's output; it is in no status, history or message of ours.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from .conftest import Home, free_port, inference, kill, service, until

CANARY = "c4n4ry"
TOKEN = f"{CANARY}-token-5e1f"
FROM_FILE = f"{CANARY}-file-77ab"
PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}LineOfAPem0001\n{CANARY}LineOfAPem0002\n-----END PRIVATE KEY-----"
PRIMARY = f"{CANARY}-primary-{'x' * 24}"
SECONDARY = f"{CANARY}-secondary-{'y' * 24}"
IN_URL = f"{CANARY}-url-3c3c"

TELLTALE = """
import os


def init():
    if os.environ.get("FAIL"):
        raise RuntimeError("cannot sign in with " + os.environ["TOKEN"] + " and " + os.environ["CERT"])


def run(data):
    return os.environ["TOKEN"]
"""

# Where a person might write a secret by mistake: all of it is refused, and no message repeats it.
LITERALS: dict[str, str] = {
    "variable-by-name": "deployment: {environmentVariables: {DB_PASSWORD: CANARY}}",
    "variable-by-mapping": "deployment: {environmentVariables: {DB: {secret: CANARY}}}",
    "variable-url": "deployment: {environmentVariables: {DB: 'postgres://me:CANARY@host/db'}}",
    "value-from-text": "deployment: {environmentVariables: {DB: {valueFrom: CANARY}}}",
    "value-from-value": "deployment: {environmentVariables: {DB: {valueFrom: {value: CANARY}}}}",
    "value-from-literal": "deployment: {environmentVariables: {DB: {valueFrom: {env: CANARY}}}}",
    "key": "auth: {enabled: true, primaryKey: CANARY}",
    "key-value": "auth: {enabled: true, primaryKey: {value: CANARY}}",
    "key-list": "auth: {enabled: true, primaryKey: [CANARY]}",
    "second-key": "auth: {enabled: true, secondaryKey: {valueFrom: [CANARY]}}",
    "auth": "auth: CANARY",
    "auth-enabled": "auth: {enabled: CANARY}",
    "auth-misspelt": "auth: {enabled: true, primarykey: CANARY}",
    "unknown": "password: CANARY",
    "unknown-deeper": "deployment: {password: CANARY}",
    "token-as-number": "deployment: {port: CANARY}",
    "tls": "deployment: {ssl: {keyPemFile: CANARY}}",
    "headers": "tests: [{request: 1, headers: {Authorization: Bearer CANARY}}]",
}
DOCUMENTS: dict[str, str] = {
    "syntax": "apiVersion: reconciler/v1\nkind: Service\npassword: CANARY : [\n",
    "tab": "apiVersion: reconciler/v1\nkind: Service\nspec:\n\tpassword: CANARY\n",
    "open-quote": 'apiVersion: reconciler/v1\nkind: Service\npassword: "CANARY\n',
    "twice": "apiVersion: reconciler/v1\nkind: Service\npassword: CANARY\npassword: CANARY\n",
    "alias": "apiVersion: reconciler/v1\nkind: Service\npassword: *CANARY\n",
    "tag": "apiVersion: reconciler/v1\nkind: Service\npassword: !CANARY x\n",
    "list": "apiVersion: reconciler/v1\nkind: Service\n- CANARY\n",
    "kind": "apiVersion: reconciler/v1\nkind: CANARY\n",
    "model-uri": """
apiVersion: reconciler/v1
kind: Model
metadata: {name: remote}
spec: {uri: 'https://me:CANARY@models.example.com/ridge.pkl', version: 1}
""",
    "registry-password": """
apiVersion: reconciler/v1
kind: InferenceConfig
metadata: {name: image}
spec:
  entryScript: inference/score.py
  baseImage: registry.example.com/base:1
  baseImageRegistry: {address: registry.example.com, username: me, password: CANARY}
""",
    "connection-string": """
apiVersion: reconciler/v1
kind: Target
metadata: {name: hub}
spec: {type: edge, edge: {connectionString: 'HostName=x;SharedAccessKey=CANARY'}}
""",
}


def holding(texts: Iterable[str]) -> list[str]:
    """The lines that hold a canary."""
    return [line for text in texts for line in text.splitlines() if CANARY in line]


def test_a_secret_written_into_a_manifest_is_refused_and_not_repeated(home: Home) -> None:
    """Each literal is an error at its place, and no format of any command shows it."""
    head = "apiVersion: reconciler/v1\nkind: Service\nmetadata: {name: NAME}\nspec:\n  inference: echo\n  "
    files = {f"services/{name}.yaml": head.replace("NAME", name) + f"{spec}\n" for name, spec in LITERALS.items()}
    files |= {f"more/{name}.yaml": text for name, text in DOCUMENTS.items()}
    home.write({name: text.replace("CANARY", f"{CANARY}-x") for name, text in files.items()})
    problems = home.json("validate")["problems"]
    assert {Path(p["file"]).stem for p in problems} == {*LITERALS, *DOCUMENTS}
    assert all(p["line"] and p["column"] for p in problems)
    for words in (("validate",), ("plan", "--offline", "-o", "json"), ("plan",), ("apply",), ("apply", "-o", "json")):
        assert home.run(*words).returncode == 11
    home.run("drift", "-o", "json")
    home.run("status")
    home.run("plan", "-o", "markdown")
    assert holding(home.said) == []
    assert files_with_canary(home.state) == []


@pytest.mark.long
def test_credentials_in_addresses_are_masked(home: Home) -> None:
    """A Git remote and a package index with credentials are named without them, in messages and in argv."""
    home.write({"services/one.yaml": service("one")})
    port = free_port()
    with watching_processes() as seen:
        url = f"http://me:{IN_URL}@127.0.0.1:{port}/repo.git"
        for words in (("plan", "--repo", url), ("doctor", "--repo", url), ("plan", "--repo", url, "-o", "json")):
            assert home.run(*words).returncode in (11, 12)
        index = f"http://me:{IN_URL}@127.0.0.1:{port}/simple"
        home.settings.write_text(json.dumps({"environments": {"defaultIndex": index, "resolveSeconds": 20}}))
        home.write({"inference/echo.yaml": inference(requirementsFile="r.txt"), "r.txt": "no-such-package==1.0\n"})
        assert home.run("apply").returncode == 16
        for words in (("plan",), ("status",), ("history",), ("doctor",)):
            home.run(*words)
    assert holding(home.said) == []
    # The caller's own words are the one thing that holds it; what we started has it on no command line.
    assert [argv for argv in seen if IN_URL in argv and "reconciler" not in argv] == []
    assert files_with_canary(home.state) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_secrets_by_reference_are_nowhere_but_where_they_are_used(home: Home) -> None:
    """A whole life, from validate to a crash, with every byte that came of it searched."""
    secrets = home.folder / "secrets"
    secrets.mkdir()
    for name, text in {"db": FROM_FILE, "second": SECONDARY, "pem": PEM}.items():
        (secrets / name).write_text(text + "\n")
    home.settings.write_text(json.dumps({"secrets": {"envPrefixes": ["APP_"], "folders": [str(secrets)]}}))
    home.variables.update(APP_TOKEN=TOKEN, APP_PRIMARY=PRIMARY)
    variables = {
        "TOKEN": {"valueFrom": {"env": "APP_TOKEN"}},
        "DB": {"valueFrom": {"file": str(secrets / "db")}},
        "CERT": {"valueFrom": {"file": str(secrets / "pem")}},
    }
    auth = {
        "enabled": True,
        "primaryKey": {"valueFrom": {"env": "APP_PRIMARY"}},
        "secondaryKey": {"valueFrom": {"file": str(secrets / "second")}},
    }

    def wanted(**more: object) -> str:
        deployment = {"environmentVariables": {**variables, **more}}
        return service("one", auth=auth, deployment=deployment, tests=[{"request": 1, "expect": {"status": 200}}])

    home.write({"inference/score.py": TELLTALE, "services/one.yaml": wanted()})
    with watching_processes() as seen:
        for output in ("text", "json", "markdown"):
            home.ok("plan", "-o", output)
        home.ok("validate", "-o", "json")
        home.ok("apply", "--verbose")
        home.ok("apply", "-o", "json")
        for words in (("status",), ("status", "one"), ("drift",), ("history",), ("logs", "one"), ("keys", "one")):
            home.run(*words)
            home.run(*words, "-o", "json")

        # A test that fails on an answer that is the secret itself.
        failing = json.loads(wanted(NEW="1"))
        failing["spec"]["tests"] = [{"name": "says", "request": 1, "expect": {"equals": "something else"}}]
        home.write({"services/one.yaml": json.dumps(failing)})
        assert home.run("apply").returncode == 16
        assert home.run("apply", "-o", "json").returncode == 16
        assert "(sensitive)" in home.run("status", "one").stdout + home.ok("history")

        # A script whose exception tells the secret: the service's log has it, our words do not.
        home.write({"services/one.yaml": wanted(FAIL="1")})
        assert home.run("apply").returncode == 16
        home.run("status", "one", "-o", "json")
        home.run("history", "-o", "json")

        # Only the secret changes.
        home.variables["APP_TOKEN"] = TOKEN + "-2"
        home.write({"services/one.yaml": wanted()})
        assert "/environmentVariables/TOKEN" in home.ok("plan")
        home.variables["RECONCILER_LOG__LEVEL"] = "debug"
        with home.daemon() as daemon:
            daemon.until("reconcile", target="local")
            home.ok("apply")
            home.ok("suspend", "one")
            home.ok("resume", "one")
            home.run("keys", "one", "--regenerate", "primary")
            address = until(lambda: home.json("status").get("services"))[0]
            assert address["name"] == "one"
            pid = int(home.json("status", "one")["resources"][0]["outputs"]["pid"])
            assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
            kill(pid)
            until(lambda: home.run("score", "one", "--data", "1").returncode == 0)
        # A fault of ours.
        (home.state / "state.db").rename(home.state / "away.db")
        (home.state / "state.db").mkdir()
        home.run("status")
        (home.state / "state.db").rmdir()
        (home.state / "away.db").rename(home.state / "state.db")

    scored = home.run("score", "one", "--data", "1")
    assert TOKEN in scored.stdout
    home.said.remove(scored.stdout)
    assert "referred to by its manifest" in home.ok("keys", "one", "--show")
    answers = [text for text in home.said if text.strip() in (json.dumps(TOKEN), json.dumps(TOKEN + "-2"))]
    assert holding(text for text in home.said if text not in answers) == []
    assert [argv for argv in seen if CANARY in argv] == []
    logs = [path for path in files_with_canary(home.state) if not Path(path).name.startswith("service.log")]
    assert logs == []


def files_with_canary(folder: Path) -> list[str]:
    """The files below a folder in which a canary stands, in plain text or UTF-16."""
    found: list[str] = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if CANARY.encode() in content or CANARY.encode("utf-16-le") in content:
                found.append(str(path))
    return found


class watching_processes:
    """Collects the command lines of all processes, and the environments of those of ours that are no workers."""

    def __enter__(self) -> list[str]:
        self.seen: set[str] = set()
        self.list: list[str] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self.list

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.list.extend(sorted(self.seen))

    def _watch(self) -> None:
        while not self.over.wait(0.05):
            for argv in command_lines():
                self.seen.add(argv)


def command_lines() -> Iterator[str]:
    """Of every process that runs now."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
