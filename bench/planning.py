"""Planning: whole `reconciler plan --offline` processes beside `terraform plan` of as many resources, and growth."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.row import Row, not_run

RECONCILER = Path(sys.executable).with_name("reconciler")
ROUNDS = 5

SERVICE = """apiVersion: reconciler/v1
kind: Service
metadata:
  name: service-{n:05d}
  description: One of many
  tags: {{team: team-{team}}}
spec:
  target: local
  models:
    - {{name: model-{model}, version: 1}}
  inference: shared
  auth: {{enabled: true}}
  deployment:
    cpuCores: 0.5
    memoryGb: 1
    environmentVariables: {{MODE: fast, SHARD: "{n}"}}
  tests:
    - request: {{data: [[1, 2, 3]]}}
      expect: {{shape: [1]}}
  policy: {{prune: true}}
"""


def make_repo(folder: Path, services: int) -> None:
    """A manifest repo with so many services that share ten models and one inference config."""
    for name in ("models", "inference", "services"):
        (folder / name).mkdir(parents=True)
    for model in range(10):
        (folder / "models" / f"model-{model}.bin").write_bytes(os.urandom(2000))
        (folder / "models" / f"model-{model}.yaml").write_text(
            "apiVersion: reconciler/v1\nkind: Model\n"
            f"metadata: {{name: model-{model}}}\nspec: {{path: models/model-{model}.bin, version: 1}}\n"
        )
    (folder / "inference" / "requirements.txt").write_text("numpy\n")
    (folder / "inference" / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    (folder / "inference" / "shared.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: shared}\nspec:\n"
        "  entryScript: score.py\n  sourceDirectory: inference\n  condaFile: conda.yml\n"
    )
    (folder / "inference" / "conda.yml").write_text(
        "name: shared\ndependencies:\n  - python=3.11\n  - pip:\n      - numpy\n"
    )
    for n in range(services):
        text = SERVICE.format(n=n, team=n % 7, model=n % 10)
        (folder / "services" / f"service-{n:05d}.yaml").write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Everything")


def git(folder: Path, *words: str) -> None:
    """A git command with an identity of its own."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "gc.auto=0"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def plan_seconds(repo: Path, state: Path, *, cold: bool) -> float:
    """The wall time of a whole offline plan in which nothing changed."""
    if cold:
        shutil.rmtree(state, ignore_errors=True)
    environment = {**os.environ, "RECONCILER_STATE_DIR": str(state)}
    started = time.perf_counter()
    done = subprocess.run(
        [str(RECONCILER), "plan", "--offline", "--base", "HEAD", "--detailed-exitcode"],
        cwd=repo, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"plan ended with {done.returncode}: {done.stdout[-800:]}")
    return seconds


def make_terraform(folder: Path, resources: int) -> None:
    """As many `terraform_data` resources, applied, so that a plan finds nothing to do."""
    folder.mkdir()
    blocks = [
        f'resource "terraform_data" "service_{n:05d}" {{\n  input = {{ team = "team-{n % 7}", '
        f'model = "model-{n % 10}", '
        f'shard = "{n}" }}\n}}\n'
        for n in range(resources)
    ]
    (folder / "main.tf").write_text("\n".join(blocks))
    for words in (["init"], ["apply", "-auto-approve"]):
        subprocess.run(["terraform", *words, "-no-color"], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip


def terraform_seconds(folder: Path) -> float:
    """The wall time of `terraform plan`."""
    started = time.perf_counter()
    subprocess.run(["terraform", "plan", "-no-color"], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - started


def spread(values: list[float]) -> str:
    """Median with the extremes."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def rows() -> list[Row]:
    """The planning rows of the table."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-"))
    try:
        return [*_beside_terraform(folder), *_growth(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _beside_terraform(folder: Path) -> list[Row]:
    names = ("offline plan, 1,000 services, nothing changed, cold", "the same with parsed documents remembered")
    against, goals = "terraform plan of 1,000 terraform_data", (0.5, 0.2)
    repo, state = folder / "thousand", folder / "thousand-state"
    make_repo(repo, 1000)
    if shutil.which("terraform") is None:
        return [not_run(n, against, f"<= {g}", "no terraform on PATH") for n, g in zip(names, goals, strict=True)]
    make_terraform(folder / "terraform", 1000)
    ratios: tuple[list[float], list[float]] = ([], [])
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        peer = terraform_seconds(folder / "terraform")
        for which, cold in enumerate((True, False)):
            seconds = plan_seconds(repo, state, cold=cold)
            ratios[which].append(seconds / peer)
            took[which].append(seconds)
    return [
        Row(
            name,
            against,
            f"<= {goal}",
            f"{spread(values)} ({statistics.median(seconds):.2f} s)",
            statistics.median(values) <= goal,
        )
        for name, goal, values, seconds in zip(names, goals, ratios, took, strict=True)
    ]


def _growth(folder: Path) -> list[Row]:
    big, state = folder / "ten-thousand", folder / "ten-thousand-state"
    make_repo(big, 10_000)
    small = folder / "thousand"
    ratios = []
    for _ in range(3):
        one = plan_seconds(small, folder / "thousand-state", cold=True)
        ratios.append(plan_seconds(big, state, cold=True) / one)
    met = statistics.median(ratios) <= 11
    return [
        Row("offline plan, 10,000 services, cold", "itself with 1,000", "<= 11", spread(ratios), met),
        _views(big, state),
    ]


VIEWS = """
import sys, time
from argparse import Namespace
from reconciler.cli.commands.plan import offline_plan
from reconciler.cli.session import Session
from reconciler.views import plan_json, plan_markdown, plan_text
arguments = Namespace(repo=None, ref=None, path=None, settings=None, state_dir=None)
plan = offline_plan(Session(arguments), "HEAD~1")
changed = sum(1 for _ in plan.effective())
started = time.perf_counter()
for view in (plan_text, plan_json, plan_markdown):
    view.render(plan)
print(changed, time.perf_counter() - started)
"""


def _views(repo: Path, state: Path) -> Row:
    """How long it takes to show a plan of 10,000 services in all three forms, once it is made."""
    for n in range(50):
        path = repo / "services" / f"service-{n * 200:05d}.yaml"
        path.write_text(path.read_text().replace("cpuCores: 0.5", "cpuCores: 1"))
    git(repo, "commit", "--quiet", "--all", "-m", "Fifty services get more")
    environment = {**os.environ, "RECONCILER_STATE_DIR": str(state)}
    took: list[float] = []
    for _ in range(3):
        command = [sys.executable, "-c", VIEWS]
        told = subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True, check=True).stdout
        changed, seconds = told.split()
        if changed != "50":
            raise RuntimeError(f"{changed} changes in place of 50")
        took.append(float(seconds))
    what = "text, JSON and Markdown of a plan of 10,000 services with 50 changed, once it is made"
    return Row(what, "-", "<= 1 s", f"{spread(took)} s", statistics.median(took) <= 1.0)


if __name__ == "__main__":
    print(json.dumps([row.__dict__ for row in rows()], indent=2))
