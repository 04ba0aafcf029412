"""Planning a fork's pull request: nothing of it is run, no network is needed, and no credentials.

Everything that a repository or a clone of it could make a tool run is planted, each leaving a proof; the programs that
are on the PATH leave one, too. Where strace is, nothing but git may be started at all.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import prefork
from tests.cli.conftest import commit, environment, git

TOOL = str(Path(sys.executable).parent / "reconciler")
HOOKS = (
    "post-checkout", "post-index-change", "post-merge", "pre-commit", "reference-transaction", "fsmonitor-watchman",
    "proc-receive", "pre-auto-gc",
)  # fmt: skip
# Modules that are imported from the current folder wherever it is searched first.
MODULES = (
    "json", "yaml", "httpx", "argparse", "cryptography", "reconciler", "sitecustomize", "usercustomize", "conftest",
    "setup", "pydantic", "packaging", "git",
)  # fmt: skip
PROGRAMS = (
    "uv", "pip", "pip3", "python", "python3", "conda", "mamba", "docker", "podman", "sops", "age", "ssh", "gpg",
    "gpgsm", "ssh-keygen", "curl", "wget", "sh", "bash", "node", "kubectl", "az", "git-lfs", "less", "vi", "java",
)  # fmt: skip
GIT_CONFIG = """
[core]
  fsmonitor = EVIL
  hooksPath = .githooks
  sshCommand = EVIL
  pager = EVIL
  editor = EVIL
  gitProxy = EVIL
  askPass = EVIL
  alternateRefsCommand = EVIL
  attributesFile = .gitattributes
[filter "evil"]
  clean = EVIL
  smudge = EVIL
  process = EVIL
  required = true
[filter "lfs"]
  clean = EVIL
  smudge = EVIL
  process = EVIL
[diff "evil"]
  textconv = EVIL
  command = EVIL
[diff]
  external = EVIL
[merge "evil"]
  driver = EVIL
[credential]
  helper = !EVIL
[gpg]
  program = EVIL
[uploadpack]
  packObjectsHook = EVIL
[protocol "ext"]
  allow = always
[remote "origin"]
  url = ext::EVIL
  uploadpack = EVIL
  promisor = true
[extensions]
  partialClone = origin
[alias]
  rev-parse = !EVIL
  cat-file = !EVIL
[submodule]
  recurse = true
"""
CONDA = """
name: evil
channels: [file:///evil, defaults]
dependencies:
  - python=3.11
  - pip
  - pip:
      - --extra-index-url http://127.0.0.1:9/simple
      - -e .
      - ./evil
      - evil @ git+file:///evil
"""


SEALED = """
token: ENC[AES256_GCM,data:eHg=,iv:eHg=,tag:eHg=,type:str]
sops:
  age: [{recipient: age1evil, enc: evil}]
  kms: [{arn: "arn:aws:kms:evil", enc: evil}]
  lastmodified: "2026-01-01T00:00:00Z"
  mac: ENC[AES256_GCM,data:eHg=,iv:eHg=,tag:eHg=,type:str]
  version: 3.9.0
"""


@dataclass(frozen=True)
class Fork:
    """A checkout of a pull request whose author wants something to be run.

    Args:
        proofs: Where each thing that runs leaves its name.
    """

    repo: Path
    proofs: Path
    programs: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The installed command in the checkout, without a network where that can be had, with nothing in its hands."""
        log = self.proofs.parent / "strace.log"
        alone = usable("unshare", "--user", "--map-root-user", "--net")
        traced = usable("strace", "-f", "-qq", "-e", "trace=execve", "-o", str(log))
        done = subprocess.run(
            [*alone, *traced, TOOL, *words],
            cwd=self.repo,
            # Even a home in the repository, as some services have it, and one that Python would search.
            env={"PATH": f"{self.programs}", "HOME": str(self.repo), "XDG_CONFIG_HOME": str(self.repo)},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=100,
        )
        if traced:
            started = re.findall(r'execve\("([^"]*)".*\) = 0', log.read_text())
            assert {Path(path).name for path in started} <= {"reconciler", "git"}, started
        return done


def usable(*words: str) -> list[str]:
    """The beginning of a command, if it works on this machine; else nothing."""
    found = shutil.which(words[0])
    good = found and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return list(words) if good else []


@pytest.fixture
def fork(repo: Path, tmp_path: Path) -> Fork:
    """The quickstart, cloned, with a commit that changes a service and plants everything else."""
    proofs, programs = tmp_path / "proofs", tmp_path / "programs"
    proofs.mkdir()
    programs.mkdir()
    for name in PROGRAMS:
        write(programs / name, f"#!/bin/sh\n: > '{proofs}/{name}'\n")
    for name in ("git", "unshare", "strace"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    git(tmp_path, "clone", "-q", str(repo), "fork")
    made = tmp_path / "fork"
    plant(made, proofs)
    return Fork(made, proofs, programs)


def write(path: Path, text: str) -> None:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def plant(repo: Path, proofs: Path) -> None:
    """Everything that could be run, in a branch of a clone and in the clone itself."""
    git(repo, "checkout", "-q", "-b", "pull-request")
    script = "def init(): pass\ndef run(data): return data\n"
    for name in (*MODULES, "inference/score"):
        proof = f"open({str(proofs / name.replace('/', '-'))!r}, 'w').close()\n"
        write(repo / f"{name}.py", proof + script)
    for name in ("pip.conf", "uv.toml", ".pydistutils.cfg", ".env", ".sops.yaml"):
        write(repo / name, "evil = true\n")
    write(repo / "pyproject.toml", '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n')
    write(repo / ".gitattributes", "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n")
    write(repo / ".gitmodules", '[submodule "evil"]\n  path = evil\n  url = ext::sh -c evil\n  update = !sh evil\n')
    write(repo / "evil.sh", f"#!/bin/sh\n: > '{proofs}/configured'\ncat\n")
    evil = str(repo / "evil.sh")
    for hook in HOOKS:
        write(repo / ".githooks" / hook, f"#!/bin/sh\n: > '{proofs}/{hook}'\n")
    write(repo / "inference/conda.yml", CONDA)
    service = (repo / "services/diabetes.yaml").read_text()
    write(repo / "services/diabetes.yaml", service.replace("  tests:", "  deployment: {replicas: 2}\n  tests:"))
    for kind, name, spec in (
        ("InferenceConfig", "evil", {"entryScript": "inference/score.py", "condaFile": "inference/conda.yml"}),
        ("Service", "evil", {"inference": "evil"}),
        ("Service", "sealed", {"inference": "sklearn", "deployment": sealed()}),
    ):
        document = {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        write(repo / f"services/{kind}-{name}.yaml", json.dumps(document))
    write(repo / "secrets.yaml", SEALED)
    commit(repo, "Harmless")
    # The clone's own hooks and settings come last: they would be at work in the commands above.
    shutil.copytree(repo / ".githooks", repo / ".git/hooks", dirs_exist_ok=True)
    write(repo / ".gitconfig", GIT_CONFIG.replace("EVIL", evil))
    with (repo / ".git/config").open("a") as config:
        config.write("[include]\n  path = ../.gitconfig\n" + GIT_CONFIG.replace("EVIL", evil))
    (repo / "services/diabetes.yaml").touch()


def sealed() -> dict[str, object]:
    """A setting whose value is in an encrypted file of the repository."""
    reference = {"valueFrom": {"sops": {"file": "secrets.yaml", "key": "/token"}}}
    return {"environmentVariables": {"TOKEN": reference}}


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--base", "main", "--offline", "--ref", "pull-request"),
        pytest.param(("plan", "--base", "main", "--offline"), marks=pytest.mark.long),
        pytest.param(("validate",), marks=pytest.mark.long),
    ],
    ids=["commits", "working copy", "validate"],
)
def test_nothing_of_a_pull_request_is_run(fork: Fork, words: tuple[str, ...]) -> None:
    """It is read and planned; its errors are told."""
    done = fork.run(*words)
    check(fork, done)
    assert done.returncode == 11, done.stderr
    assert "inference/conda.yml" in done.stdout


def test_nothing_is_run_with_a_snapshot_either(fork: Fork, repo: Path, tmp_path: Path) -> None:
    """Neither for commits nor for a working copy."""
    production = environment(tmp_path / "production")
    prefork.run("reconciler", ("snapshot", "--out", str(tmp_path / "snapshot.json")), repo, production)
    key = prefork.run("reconciler", ("snapshot", "--public-key"), repo, production).stdout.strip()
    against = ("--snapshot", str(tmp_path / "snapshot.json"), "--snapshot-key", key, "--snapshot-repo", str(repo))
    for words in (("--ref", "pull-request"), ()):
        done = fork.run("plan", *against, *words)
        check(fork, done)
        assert done.returncode == 11, done.stderr
        assert "Compared with what rc-" in done.stdout
        assert "inference/conda.yml" in done.stdout


def check(fork: Fork, done: subprocess.CompletedProcess[str]) -> None:
    """Nothing has left a proof, and there is no fault of ours."""
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in fork.proofs.iterdir()) == []


def test_what_is_planted_would_run(fork: Fork) -> None:
    """The proofs prove something: plain git and plain Python in that checkout run what was planted."""
    subprocess.run(["git", "status"], cwd=fork.repo, capture_output=True, check=False, timeout=60)
    subprocess.run([sys.executable, "-c", "import yaml"], cwd=fork.repo, capture_output=True, check=False, timeout=60)
    assert {"configured", "yaml"} <= {path.name for path in fork.proofs.iterdir()}
