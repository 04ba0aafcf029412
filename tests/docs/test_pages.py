"""The pages say what is: commands print what they show, links lead somewhere, manifests in them load."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.console import examples, matches, run, trimmed

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture
def environment(tmp_path: Path):
    """A state directory of its own, an identity for git, and the command on PATH; nothing is left running."""
    names = {
        "RECONCILER_STATE_DIR": str(tmp_path / "state"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "NO_COLOR": "1",
    }
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = Reader\nemail = reader@example.com\n[init]\ndefaultBranch = main\n"
    )
    here = {**os.environ, **names}
    yield here
    run(next(examples(ROOT / "README.md")).__class__("reconciler destroy --all --yes", (), 0), tmp_path / "shop", here)


@pytest.mark.long
def test_the_tour_of_the_readme_prints_what_it_shows(tmp_path: Path, environment):
    """Every command of the README's tour, in order, in one folder."""
    folder = tmp_path
    for example in examples(ROOT / "README.md"):
        done = run(example, folder, environment)
        assert done.returncode == 0, f"{example.command}: {done.stderr}"
        if example.command.startswith("cd "):
            folder = folder / example.command[3:]
        assert matches(example.shown, done.stdout.splitlines()), (
            f"line {example.line}: {trimmed(done.stdout.splitlines())}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    """Every relative link of a page names a file."""
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())

    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_of_the_pages_parses(page: Path):
    """Every YAML block of a page is YAML."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        assert list(yaml.safe_load_all(block))


def test_the_pages_name_every_make_target_and_folder_that_exists():
    """The targets that the README names are in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()))

    assert {target for target in named if f"\n{target}:" not in makefile} == set()
