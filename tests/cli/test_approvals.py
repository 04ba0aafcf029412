"""Approvals from the outside: what waits, the command that approves it, and who did, wherever it is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import Run, commit

# The registries too, so that nothing is built.
ALL = {"RECONCILER_RAILS__APPROVAL_TARGETS": '["local", "registry/*"]'}


def test_what_waits_is_told_everywhere_and_approved_by_the_command_it_names(reconciler: Run, repo: Path) -> None:
    """`plan` in each format, `apply` and `status` name the very command; it is run as it stands there."""
    told = reconciler("plan", cwd=repo, **ALL).stdout
    assert "3 targets waiting for approval." in told
    assert "target local: a change waits for somebody's approval: the operator's settings ask for it" in told
    commands = re.findall(r"^ +(reconciler approve [0-9a-f]{64})$", told, re.MULTILINE)
    assert len(set(commands)) == 3
    document = json.loads(reconciler("plan", "-o", "json", cwd=repo, **ALL).stdout)
    assert [refusal["approve"] for refusal in document["refusals"]] == commands
    assert [refusal["approvedBy"] for refusal in document["refusals"]] == [None] * 3
    markdown = reconciler("plan", "-o", "markdown", cwd=repo, **ALL).stdout
    assert "#### Waiting for approval" in markdown
    assert all(f"`{command}`" in markdown for command in commands)

    refused = reconciler("apply", cwd=repo, **ALL)
    assert refused.returncode == 13
    assert all(command in refused.stdout for command in commands)
    status = reconciler("status", cwd=repo, **ALL)
    assert all(command in status.stdout for command in commands)
    assert json.loads(reconciler("status", "-o", "json", cwd=repo, **ALL).stdout)["refusals"] == document["refusals"]

    assert reconciler("approvals").stdout == "Nothing is approved that is not done.\n"
    for command in commands:
        done = reconciler(*command.split()[1:])
        assert done.returncode == 0
        assert "lapses in 7 days" in done.stderr
    told = reconciler("plan", cwd=repo, **ALL).stdout
    assert "Approved: done with the next apply" in told
    assert "waiting for approval" not in told
    digest = commands[0].split()[-1]
    (given,) = [
        a for a in json.loads(reconciler("approvals", "-o", "json").stdout)["approvals"] if a["digest"] == digest
    ]
    assert given["by"]
    assert given["left"] is None
    assert round(given["lapsesAt"] - given["at"]) == 7 * 86_400
    assert digest in reconciler("approvals").stdout
    history = json.loads(reconciler("history", "-o", "json").stdout)["attempts"]
    assert [(a["outcome"], a["by"]) for a in history] == [("approved", given["by"])] * 3
    assert f"plan {digest[:12]}" in reconciler("history").stdout

    taken = reconciler("approve", digest, "--revoke")
    assert (taken.returncode, taken.stdout) == (0, f"revoked {digest}\n")
    again = reconciler("approve", digest, "--revoke")
    assert again.returncode == 10
    assert "nothing is approved under" in again.stderr


def test_a_target_asks_for_approvals_in_git(reconciler: Run, repo: Path) -> None:
    """`policy: {approval: required}`, in an offline plan as well; a word that does not exist is told with its place."""
    target = repo / "targets" / "local.yaml"
    target.parent.mkdir(exist_ok=True)
    text = (
        "apiVersion: reconciler/v1\nkind: Target\nmetadata: {name: local}\n"
        "spec: {type: local, local: {engine: process}, policy: {approval: required}}\n"
    )
    target.write_text(text)
    commit(repo)
    (repo / "services/diabetes.yaml").write_text(
        (repo / "services/diabetes.yaml").read_text().replace("  tests:", "  deployment: {replicas: 2}\n  tests:")
    )
    told = reconciler("plan", "--offline", cwd=repo).stdout
    assert "target local: a change waits for somebody's approval: its policy asks for it" in told
    target.write_text(text.replace("required", "requird"))
    done = reconciler("validate", cwd=repo)
    assert done.returncode == 11
    assert "targets/local.yaml:4:" in done.stdout + done.stderr
