"""The operator's settings: file and variables, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler import wiring
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.cli.commands.run import DEFAULT_LISTEN
from reconciler.cli.settings_page import page
from reconciler.core.errors import InvalidError
from reconciler.core.situation import Rails
from reconciler.engine.daemon.parts import Options
from reconciler.settings import Settings, every_setting, settings_of, stray_variables
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests."""
    import os

    for name in [name for name in os.environ if name.startswith("RECONCILER_")]:
        monkeypatch.delenv(name)


def problems_of(text: str, tmp_path: Path) -> list[str]:
    """What is wrong with a settings file, as printed."""
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InvalidError) as caught:
        wiring.load_settings(str(path))
    return [str(problem).replace(str(tmp_path), "") for problem in caught.value.problems]


def test_nothing_given_loads_nothing() -> None:
    """Without file and variables, there are no settings, and pydantic is not needed."""
    assert wiring.load_settings(None) is None


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file sets values; a variable overrides one of them; the rest are defaults."""
    path = tmp_path / "settings.yaml"
    path.write_text("repo: {url: /srv/ml, pollSeconds: 5}\nsecrets: {envPrefixes: [ML_]}\nrails:\n")
    monkeypatch.setenv("RECONCILER_SETTINGS", str(path))
    monkeypatch.setenv("RECONCILER_REPO__POLL_SECONDS", "7.5")
    monkeypatch.setenv("RECONCILER_TARGETS__ALLOWED", '["local"]')
    settings = wiring.load_settings(None)
    assert settings is not None
    assert (settings.repo.url, settings.repo.poll_seconds) == ("/srv/ml", 7.5)
    assert settings.secrets.env_prefixes == ("ML_",)
    assert settings.targets.allowed == ("local",)
    assert settings.rails.max_delete_percent == 30.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repo: {pollSecond: 5}", "/settings.yaml:1:8: error: unknown setting 'pollSecond' [unknown-key]"),
        ("rails:\n  max_delete_percent: 5", "did you mean 'maxDeletePercent'?"),
        ("rails:\n  maxDeletePercent: 130", "/settings.yaml:2:21: error: rails.maxDeletePercent should be less"),
        ("daemon: 3", "/settings.yaml:1:9: error: daemon must be a mapping"),
        ("models: {fileFolders: [1]}", "/settings.yaml:1:24: error: models.fileFolders.0 must be a path"),
        ("log: {format: xml}", "/settings.yaml:1:15: error: log.format should be 'auto', 'text' or 'json'"),
        ("- a", "the settings must be a mapping"),
        ("a: [", "yaml-syntax"),
        ("a: 1\n---\nb: 2", "the settings are one document"),
    ],
)
def test_wrong_settings_have_a_place(tmp_path: Path, text: str, expected: str) -> None:
    """Every problem says where it stands and what may have been meant."""
    assert any(expected in problem for problem in problems_of(text, tmp_path))


def test_wrong_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem that came from a variable names it, not the file."""
    monkeypatch.setenv("RECONCILER_DAEMON__WORKERS", "none")
    with pytest.raises(InvalidError) as caught:
        settings_of()
    assert "variable RECONCILER_DAEMON__WORKERS" in str(caught.value.problems[0])


def test_a_list_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the group that it stands in; what it must look like is said."""
    monkeypatch.setenv("RECONCILER_SECRETS__ENV_PREFIXES", "ML_")
    monkeypatch.setenv("RECONCILER_SECRETS__FOLDERS", '["/run/secrets"]')
    with pytest.raises(InvalidError) as caught:
        settings_of()
    assert [problem.subject for problem in caught.value.problems] == ["variable RECONCILER_SECRETS__ENV_PREFIXES"]
    assert '["one", "two"]' in caught.value.problems[0].hint


def test_values_are_not_repeated(tmp_path: Path) -> None:
    """A wrong value may be a credential, so no message shows it."""
    assert "canary" not in "".join(problems_of("environments: {extraIndexes: https://me:canary@x}", tmp_path))


def test_stray_variables_are_told_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a setting and is none is for the doctor to say."""
    monkeypatch.setenv("RECONCILER_PORT", "tcp://10.0.0.1:80")
    assert isinstance(settings_of(), Settings)
    assert stray_variables({"RECONCILER_REPO_URL": ""}) == [
        "RECONCILER_REPO_URL is no setting; did you mean RECONCILER_REPO__URL?"
    ]


def test_defaults_agree_with_those_who_use_them() -> None:
    """The defaults without settings are the defaults of the settings."""
    settings = Settings()
    assert EnvironmentSettings(**settings.environments.model_dump()) == EnvironmentSettings()
    assert ModelSettings(**settings.models.model_dump()) == ModelSettings()
    assert Rails(settings.rails.max_delete_percent, settings.rails.min_resources) == Rails()
    options = Options(full_look_seconds=settings.daemon.full_look_seconds, workers=settings.daemon.workers)
    assert options == Options()
    assert settings.daemon.listen == DEFAULT_LISTEN


def test_every_setting_is_documented() -> None:
    """docs/settings.md is what the settings say of themselves."""
    assert all(setting.about for setting in every_setting())
    assert (ROOT / "docs/settings.md").read_text() == page()


def test_settings_file_of_a_command(reconciler: Run, repo: Path, tmp_path: Path) -> None:
    """`--settings` with a wrong file ends with 11 and the place."""
    path = tmp_path / "s.yaml"
    path.write_text("rails: {maxDeletePercnt: 3}\n")
    done: subprocess.CompletedProcess[str] = reconciler("plan", "--offline", "--settings", str(path), cwd=repo)
    assert done.returncode == 11
    assert f"{path}:1:9: error: unknown setting 'maxDeletePercnt'" in done.stderr


def test_targets_can_be_restricted(reconciler: Run, repo: Path) -> None:
    """A service on a target that the operator does not allow is not planned."""
    done = reconciler("plan", "--offline", cwd=repo, RECONCILER_TARGETS__ALLOWED="[]")
    assert done.returncode == 11
    assert "target-not-allowed" in done.stdout
