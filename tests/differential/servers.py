"""Starts both servers on a script and asks them the same things."""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .cases import Ask, Case

ORACLE = "azureml-inference-server-http==1.5.1"
TOGETHER = ("numpy", "pandas", "scikit-learn", "joblib", "inference-schema", "werkzeug")
CORPUS = Path(__file__).parent / "corpus"
DEADLINE = 60.0
COMPARED = (
    "content-type",
    "x-ms-run-function-failed",
    "x-ms-run-fn-exec-ms",
    "x-ms-server-version",
    "x-request-id",
    "x-ms-request-id",
    "x-ms-client-request-id",
    "traceid",
    "x-many",
    "x-mine",
    "allow",
    "vary",
    "location",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Answer:
    """What one server said, with what differs from run to run masked."""

    status: str
    headers: dict[str, str]
    body: str


def oracle_python() -> Path:
    """Python of an environment that holds the reference server, made once per set of versions."""
    packages = [ORACLE, *(f"{name}=={metadata.version(name)}" for name in TOGETHER)]
    key = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(tempfile.gettempdir())) / "reconciler-tests"
    home = cache / f"oracle-{key}"
    if not (home / "complete").exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=cache))
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "-q", "--relocatable", "-p", sys.executable, str(building)], check=True)
        python = str(building / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "-p", python, *packages], check=True)
        (building / "complete").touch()
        try:
            building.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(building)
    return home / "bin" / "python"


def prepare(case: Case, folder: Path) -> dict[str, str]:
    """A service folder with the script and a model; returns the environment for both servers."""
    folder.mkdir(parents=True)
    for script in (case.script, "plain"):
        # One script is no Python, so that tools which read the corpus do not stumble: it is called .txt there.
        source = next(CORPUS.glob(f"{script}.*"))
        shutil.copy(source, folder / f"{script}.py")
    for version in ("2", "12"):
        model = folder / "azureml-models" / "ridge" / version
        model.mkdir(parents=True)
        (model / "ridge.pkl").write_bytes(b"")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "AML_APP_ROOT": str(folder),
        "AZUREML_ENTRY_SCRIPT": f"{case.script}.py",
        "AZUREML_MODEL_DIR": str(folder / "azureml-models"),
        "HTTP_X_MS_SERVER_VERSION": "version",
        "OMP_NUM_THREADS": "1",
        **case.env,
    }


def run(which: str, case: Case, folder: Path, python: Path) -> dict[str, Answer]:
    """Answers of one server by request name. `start` tells how the server started."""
    env = prepare(case, folder)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    fd = listening.fileno()
    ours = [sys.executable, "-m", "reconciler.serving", f"--fd={fd}"]
    theirs = [str(python), "-m", "gunicorn", "--no-control-socket", "-b", f"fd://{fd}"]
    command = ours if which == "ours" else [*theirs, "azureml_inference_server_http.server.entry:app"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=output, pass_fds=(fd,))
    try:
        answers: dict[str, Answer] = {}
        if not _started(process, port):
            answers["start"] = Answer(f"exit {process.returncode}", {}, "")
            return answers
        answers["start"] = Answer("serves", {}, "")
        for ask in case.asks:
            said = _ask(port, ask)
            document = ask.path == "/swagger.json" and said.status == "200"
            answers[ask.name] = Answer(said.status, said.headers, _schemas(said)) if document else said
        if case.swagger:
            for version in ("2", "3", "3.1"):
                said = _ask(port, Ask("swagger", "GET", f"/swagger.json?version={version}"))
                answers[f"swagger-{version}"] = Answer(said.status, said.headers, _schemas(said))
        return answers
    finally:
        listening.close()
        process.terminate()
        process.wait(DEADLINE)


def _started(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers (True) or has ended (False). The socket listens before it does."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    raise AssertionError("the server neither answered nor ended")


def _ask(port: int, ask: Ask) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.putrequest(ask.method, ask.path, skip_accept_encoding=True)
        for name, value in ask.headers.items():
            connection.putheader(name, value)
        if ask.body or ask.method in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(ask.body)))
        connection.endheaders(ask.body)
        response = connection.getresponse()
        headers = {name: _masked(name, response.headers.get_all(name)) for name in COMPARED if name in response.headers}
        return Answer(str(response.status), headers, response.read().decode("latin-1"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(f"connection lost ({type(error).__name__})", {}, "")
    finally:
        connection.close()


def _masked(name: str, values: list[str] | None) -> str:
    value = ", ".join(values or [])
    if name == "x-ms-run-fn-exec-ms":
        return "<ms>"
    if name == "allow":
        return ", ".join(sorted(part.strip() for part in value.split(",")))
    return UUID.sub("<id>", value)


def _schemas(said: Answer) -> str:
    """Of an API document: its version and the schemas of the service, which is what clients are made from."""
    document = json.loads(said.body)
    definitions = document.get("definitions") or document.get("components", {}).get("schemas")
    if definitions is None:
        return said.body
    version = document.get("swagger") or document["openapi"]
    wanted = {name: definitions.get(name) for name in ("ServiceInput", "ServiceOutput")}
    return json.dumps({"version": version, "paths": sorted(document["paths"]), **wanted}, sort_keys=True)
