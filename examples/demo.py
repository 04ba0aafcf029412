"""The main job, end to end, in front of you: a Git repo becomes a running, tested, healed REST service.

Run by `make demo`, or in containers by `make demo ENGINE=docker`: the same manifests, and one that says so. Everything
happens in a temporary folder with a state directory of its own; the service gets a free port, and nothing is left
running. Every command is printed before it runs, so it can be repeated by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parent / "quickstart"
RECONCILER = Path(sys.executable).with_name("reconciler")
SERVICE = "diabetes"
# What is different in containers: the target that the service names runs them.
CONTAINERS = """\
apiVersion: reconciler/v1
kind: Target
metadata: {name: local}
spec: {type: local, local: {engine: docker}}
"""


class Demo:
    """A stage with a manifest repo and a state directory."""

    def __init__(self, root: Path, engine: str) -> None:
        self.repo = root / "manifests"
        self.engine = engine
        self.environment = {
            **os.environ,
            "RECONCILER_STATE_DIR": str(root / "state"),
            "GIT_AUTHOR_NAME": "Demo",
            "GIT_AUTHOR_EMAIL": "demo@example.com",
            "GIT_COMMITTER_NAME": "Demo",
            "GIT_COMMITTER_EMAIL": "demo@example.com",
        }

    def say(self, text: str) -> None:
        """A heading."""
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def run(self, *words: str, expect: int = 0, quiet: bool = False) -> str:
        """Runs a reconciler command in the repo and shows it with its output."""
        return self._command([str(RECONCILER), *words], ["reconciler", *words], expect, quiet)

    def git(self, *words: str) -> None:
        """Runs a git command in the repo and shows it."""
        self._command(["git", *words], ["git", *words], 0, False)

    def _command(self, command: list[str], shown: list[str], expect: int, quiet: bool) -> str:
        print("$ " + " ".join(f"'{word}'" if " " in word or "{" in word else word for word in shown), flush=True)
        done = subprocess.run(
            command, cwd=self.repo, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        if not quiet:
            print(done.stdout.rstrip(), flush=True)
        if done.returncode != expect:
            sys.exit(f"the demo expected exit code {expect} and got {done.returncode}")
        return done.stdout

    def status(self) -> dict:
        """The service as `status -o json` reports it; empty if there is none."""
        done = subprocess.run(
            [str(RECONCILER), "status", "-o", "json"],
            cwd=self.repo, env=self.environment, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        services = json.loads(done.stdout)["services"]
        return next((s for s in services if s["name"] == SERVICE), {})


def main() -> None:
    """Plays the demo; exits with 0 only if everything happened as it should."""
    parser = argparse.ArgumentParser(description="Plays the main job, end to end.")
    parser.add_argument("--engine", choices=("process", "docker"), default="process", help="what services run in")
    engine = parser.parse_args().engine
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    demo = Demo(root, engine)
    try:
        play(demo)
    finally:
        clean_up(demo)
        shutil.rmtree(root, ignore_errors=True)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Nothing is left running.")


def play(demo: Demo) -> None:
    """The acts."""
    demo.say("A Git repo of manifests: a model, how to run it, where, and the service")
    shutil.copytree(EXAMPLE, demo.repo, ignore=shutil.ignore_patterns("next", "*.py[co]", "__pycache__"))
    if demo.engine == "docker":
        (demo.repo / "targets").mkdir()
        (demo.repo / "targets" / "local.yaml").write_text(CONTAINERS)
    demo.git("init", "--quiet", "--initial-branch=main", ".")
    demo.git("add", ".")
    demo.git("commit", "--quiet", "-m", "Serve the diabetes model")
    demo.git("ls-files")

    demo.say("Check it, look at the plan, make it so")
    demo.run("validate")
    demo.run("plan")
    demo.run("apply")

    demo.say("Score the model over HTTP, with the service's own key")
    demo.run("score", SERVICE, "--data", json.dumps({"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}))
    demo.run("status")

    demo.say("A new model version is a commit; its tests run before traffic moves")
    shutil.copyfile(EXAMPLE / "next" / "diabetes-ridge.pkl", demo.repo / "models" / "diabetes-ridge.pkl")
    demo.git("commit", "--quiet", "-am", "Retrain with a smaller penalty")
    demo.run("plan")
    demo.run("apply")
    demo.run("score", SERVICE, "--data", json.dumps({"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}))

    what = "container" if demo.engine == "docker" else "process"
    demo.say(f"Reality moves: somebody kills the {what}. That is drift, and it is healed")
    kill(demo)
    demo.run("drift", expect=0)
    demo.run("apply")
    demo.run("status")

    demo.say("The service goes as it came: by a commit")
    demo.git("rm", "--quiet", f"services/{SERVICE}.yaml")
    demo.git("commit", "--quiet", "-m", "Retire the diabetes service")
    demo.run("plan")
    demo.run("apply")
    demo.run("status")
    demo.run("history")


def kill(demo: Demo) -> None:
    """Kills what serves, as an operator's slip would: the process group, or the container."""
    resources = [r.get("outputs", {}) for r in demo.status()["resources"]]
    if demo.engine == "docker":
        container = next(outputs["container"] for outputs in resources if "container" in outputs)
        print(f"$ docker kill {container}", flush=True)
        subprocess.run(["docker", "kill", container], check=True, stdout=subprocess.DEVNULL)
        return
    pid = next(outputs["pid"] for outputs in resources if "pid" in outputs)
    print(f"$ kill -9 {pid}", flush=True)
    os.kill(pid, signal.SIGKILL)


def clean_up(demo: Demo) -> None:
    """Takes away whatever still runs, if an act failed."""
    if demo.repo.exists():
        subprocess.run(
            [str(RECONCILER), "destroy", "--all", "--yes"],
            cwd=demo.repo, env=demo.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()
