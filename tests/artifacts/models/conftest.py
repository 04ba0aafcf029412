"""A registry on a real disk, fed from a real Git repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reconciler.artifacts.models.content import Part, digest_of
from reconciler.artifacts.models.driver import ModelsDriver
from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.core.change import Action, Change
from reconciler.core.contents import Contents
from reconciler.core.deployment import ModelVersion
from reconciler.core.driver import Done, InProgress
from reconciler.core.resources import Desired, Mark, Observed, ResourceId
from reconciler.source import LocalSource, SourceSettings

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def sha256(data: bytes) -> str:
    """A digest as manifests write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def change_for(
    desired: Desired,
    action: Action = Action.CREATE,
    *,
    observed: Observed | None = None,
    installation: str = "home",
) -> Change:
    """The change that makes a desired resource so."""
    mark = Mark(installation, "", "main@sha1:1", desired.spec_digest, str(desired.id))
    return Change(desired.id, action, desired=desired, mark=mark, observed=observed)


@dataclass
class Bench:
    """A driver with what it works on."""

    folder: Path
    driver: ModelsDriver
    source: LocalSource
    used: set[ResourceId] = field(default_factory=set)

    @property
    def registry(self) -> ModelRegistry:
        """The store below the driver."""
        return self.driver.registry

    def commit(self, files: Mapping[str, bytes]) -> None:
        """Commits files to the repo."""
        for path, data in files.items():
            (self.folder / "repo" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "repo" / path).write_bytes(data)
        for arguments in (["add", "-A"], ["commit", "-q", "-m", "x"]):
            subprocess.run(["git", *arguments], cwd=self.folder / "repo", env=ENVIRONMENT, check=True)

    def in_repo(self, path: str, version: str = "1", name: str = "ridge", **more: object) -> ModelVersion:
        """A model version of what is committed at a path."""
        tree = self.source.tree()
        oid = tree.object_id(path) or ""
        parts = []
        for entry in tree.contents.files(oid):
            with tree.contents.open(entry.object_id) as stream:
                parts.append(Part(entry.path, hashlib.sha256(stream.read()).hexdigest(), entry.size))
        model = ModelVersion(
            name,
            version,
            digest_of(parts, folder=tree.is_folder(path)),
            sum(part.size for part in parts),
            path,
            oid,
            tree.is_folder(path),
        )
        return replace(model, **more)  # type: ignore[arg-type]

    def apply(self, model: ModelVersion, action: Action = Action.CREATE, **more: object) -> Observed:
        """Registers a version to its end; what the registry answered."""
        (desired,) = self.driver.render_models([model])
        answer = self.driver.apply(change_for(desired, action, **more))  # type: ignore[arg-type]
        assert isinstance(answer, Done)
        assert answer.answered is not None
        return answer.answered

    def delete(self, model: ModelVersion) -> Done | InProgress:
        """Deletes a version."""
        (desired,) = self.driver.render_models([model])
        return self.driver.apply(replace(change_for(desired, Action.DELETE), desired=None))

    def observed(self) -> dict[str, Observed]:
        """What is registered, by name."""
        return {resource.name: seen for resource, seen in self.driver.observe([]).resources.items()}

    def objects(self) -> list[Path]:
        """The stored files."""
        return sorted(path for path in (self.folder / "models/objects").rglob("*") if path.is_file())


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench with given settings."""
    made: list[Bench] = []
    (tmp_path / "repo").mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path / "repo", env=ENVIRONMENT, check=True)
    subprocess.run(
        ["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path / "repo", env=ENVIRONMENT, check=True
    )

    def make(**settings: object) -> Bench:
        source = LocalSource(SourceSettings(str(tmp_path / "repo")), tmp_path / "repo")
        used: set[ResourceId] = set()
        contents: Contents = source.tree().contents
        driver = ModelsDriver(
            ModelRegistry(tmp_path / "models"),
            ModelSettings(**{"patience": 60.0, **settings}),  # type: ignore[arg-type]
            lambda: contents,
            lambda: used,
            sleep=lambda _: None,
        )
        made.append(Bench(tmp_path, driver, source, used))
        return made[-1]

    yield make
    for bench in made:
        bench.driver.close()
        bench.source.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with the default settings."""
    return make_bench()
