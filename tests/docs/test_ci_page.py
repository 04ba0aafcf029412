"""docs/ci.md: what it tells people to copy is of the form that each service takes, and what it shows happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reconciler import wiring
from tests.docs.console import examples, matches, run, trimmed
from tests.docs.test_pages import ROOT, environment
from tests.forge.pipelines import DEPLOY

__all__ = ["environment"]
PAGE = ROOT / "docs/ci.md"
SCHEMAS = {
    ".github/workflows/reconciler.yml": "github-workflows",
    ".gitlab-ci.yml": "gitlab-ci",
    "azure-pipelines.yml": "azure-pipelines",
}


def blocks() -> dict[str, str]:
    """The YAML blocks of the page, by the file that each names."""
    found = re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(found)


def test_every_block_names_its_file() -> None:
    """And all of them are looked at here."""
    assert PAGE.read_text().count("```yaml") == len(blocks())
    assert set(blocks()) == {*SCHEMAS, "settings.yaml", ".pre-commit-config.yaml"}


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_what_is_to_be_copied_is_of_the_service_s_form(name: str, schema: str, tmp_path: Path) -> None:
    """By the schemas that the services publish."""
    (tmp_path / "file.yml").write_text(blocks()[name])
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        str(tmp_path / "file.yml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_jobs_inputs_and_parameters_are_those_of_the_templates() -> None:
    """What the page gives to a template is known there, and its tables name everything there is."""
    text = PAGE.read_text()
    action = yaml.safe_load((DEPLOY / "github/action.yml").read_text())
    (workflow,) = yaml.safe_load(blocks()[".github/workflows/reconciler.yml"])["jobs"].values()
    assert set(workflow["steps"][1]["with"]) <= set(action["inputs"])
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in text] == []
    gitlab = yaml.safe_load((DEPLOY / "gitlab-ci.yml").read_text())
    jobs = yaml.safe_load(blocks()[".gitlab-ci.yml"])
    assert {job["extends"] for name, job in jobs.items() if name != "include"} <= set(gitlab)
    named = {name for job in gitlab.values() for name in job.get("variables", {}) if name.startswith("RC_")}
    assert [name for name in named if f"`{name}`" not in text] == []
    azure = yaml.safe_load((DEPLOY / "azure-pipelines.yml").read_text())
    parameters = {parameter["name"] for parameter in azure["parameters"]}
    given = yaml.safe_load(blocks()["azure-pipelines.yml"])["steps"][0]["parameters"]
    assert set(given) <= parameters
    assert [name for name in parameters if f"`{name}`" not in text] == []


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """They load."""
    (tmp_path / "settings.yaml").write_text(blocks()["settings.yaml"])
    settings = wiring.load_settings(str(tmp_path / "settings.yaml"))
    assert settings is not None
    assert (settings.forge.provider, settings.forge.commit_status) == ("gitlab", True)


def test_the_hooks_are_hooks(tmp_path: Path) -> None:
    """As pre-commit reads them, and the id is one of ours."""
    (tmp_path / "config.yaml").write_text(blocks()[".pre-commit-config.yaml"])
    tool = str(Path(sys.executable).parent / "pre-commit")
    assert subprocess.run([tool, "validate-config", str(tmp_path / "config.yaml")], check=False).returncode == 0
    ours = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (repo,) = yaml.safe_load(blocks()[".pre-commit-config.yaml"])["repos"]
    assert {hook["id"] for hook in repo["hooks"]} <= ours


def test_what_the_page_shows_happens(tmp_path: Path, environment: dict[str, str]) -> None:
    """Each command, in order."""
    folder = tmp_path
    for example in examples(PAGE):
        done = run(example, folder, environment)
        assert done.returncode == 0, f"{example.command}: {done.stderr}"
        if example.command.startswith("cd "):
            folder = folder / example.command[3:]
        shown = trimmed(done.stdout.splitlines())
        assert matches(example.shown, done.stdout.splitlines()), f"line {example.line}: {shown}"
