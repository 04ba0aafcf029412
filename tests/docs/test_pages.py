"""The pages say what is: commands print what they show, links lead somewhere, manifests in them load."""

from __future__ import annotations

import os
import pkgutil
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


PACKAGES = sorted(path.name for path in (ROOT / "reconciler").iterdir() if (path / "__init__.py").exists())
NAMES = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)")


@pytest.mark.parametrize("page", ["architecture.md", "decisions.md", "drivers.md"])
def test_names_of_modules_and_functions_lead_somewhere(page: str):
    """What a page for those who change the code names by its place stands there."""

    def stands(name: str) -> bool:
        try:
            return pkgutil.resolve_name(f"reconciler.{name}") is not None
        except (ImportError, AttributeError):
            return False

    assert [name for name in NAMES.findall((ROOT / "docs" / page).read_text()) if not stands(name)] == []


def test_the_folders_of_the_architecture_exist():
    """Each is there, and none is left out."""
    listed = re.search(r"```\nreconciler/\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert listed is not None
    assert sorted(re.findall(r"^  (\w+)/", listed[1], re.MULTILINE)) == PACKAGES
