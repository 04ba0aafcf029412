"""The contract over the model registry: a real folder, models from `file:` URIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from reconciler.artifacts.models.driver import ModelsDriver
from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.core.change import Action, Change
from reconciler.core.deployment import MODELS_TARGET, ModelVersion
from reconciler.core.resources import Desired, Mark, ResourceId

from .fixture import DriverFixture
from .harness import INSTALLATION
from .rules import Contract


def content_of(name: str) -> bytes:
    """The bytes of the model of that name."""
    return f"the model {name}".encode()


class ModelsFixture(DriverFixture):
    """A registry and what models come from, both of their own for each rule."""

    cannot: ClassVar[dict[str, str]] = {
        "edit_foreign": "an index file has no fields of others",
        "condition": "its states follow from files and transfers: tested in tests/artifacts/models",
        "immutable": "bytes never change, and a version with other bytes is refused: tested in tests/artifacts/models",
        "secret": "models hold no secrets",
        "describable": "a version is no service; services name the versions that are registered",
        "move": "a version belongs to no service: its numbers go on under another name (tests/manifests)",
        "staged": "a version is whole or not there; nothing is staged",
        "slow": "bringing bytes takes time, writing about them does not: transfers are in tests/artifacts/models",
        "slow_delete": "an index file goes at once",
        "fail": "what servers answer is in tests/artifacts/models/test_transfer.py; writing is to the disk",
        "crash": "an index file is written whole or not at all, and a transfer begins again",
        "fail_second_page": "a folder is listed at once",
    }

    def __init__(self, folder: Path) -> None:
        self.root = folder / "registry"
        self.files = folder / "files"
        self.files.mkdir()
        self.drivers: list[ModelsDriver] = []
        self.seen: set[tuple[str, int, int]] = set()

    def make_driver(self, installation: str = INSTALLATION) -> ModelsDriver:
        settings = ModelSettings((self.files,), patience=30.0, retain_seconds=0)
        driver = ModelsDriver(ModelRegistry(self.root), settings, lambda: None, set, installation=installation)
        self.drivers.append(driver)
        return driver

    def _uri(self, name: str) -> str:
        (self.files / name).write_bytes(content_of(name))
        return (self.files / name).as_uri()

    def _make(self, name: str, **more: Any) -> Desired:
        digest = f"sha256:{hashlib.sha256(content_of(name)).hexdigest()}"
        made = {"tags": {"team": "health"}, "description": "first", **more}
        (desired,) = self.make_driver().render_models([ModelVersion(name, "1", digest, uri=self._uri(name), **made)])
        return desired

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "changed": {"description": "second"},
            "more": {"tags": {"team": "health", "stage": "trial"}},
        }
        return self._make(name, **variants[variant])

    def awkward(self, name: str) -> Desired:
        return self._make(name, tags={"z": "1", "a": "2"}, properties={"rmse": "1.50", "alpha": "0.1"})

    def invalid(self, name: str) -> Desired:
        (desired,) = self.make_driver().render_models(
            [ModelVersion(name, "1", "sha256:" + "0" * 64, uri=self._uri(name))]
        )
        return desired

    def _index(self) -> Iterator[Path]:
        return self.root.glob("versions/*/*.json")

    def _file(self, id_: ResourceId) -> Path:
        name, _, version = id_.name.rpartition(":")
        return self.root / "versions" / name / f"{version}.json"

    def writes(self) -> int:
        # Every write makes a new file that takes the place of the one before.
        for file in self._index():
            status = file.stat()
            self.seen.add((str(file), status.st_ino, status.st_mtime_ns))
        return len(self.seen)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()

    def _rewrite(self, file: Path, change: Callable[[dict[str, Any]], None]) -> None:
        data = json.loads(file.read_text())
        change(data)
        file.unlink()
        file.write_text(json.dumps(data, indent=1))

    def edit(self, id_: ResourceId) -> str:
        self._rewrite(self._file(id_), lambda data: data["spec"].update(description="by hand"))
        return "/description"

    def touch(self, id_: ResourceId) -> None:
        self._rewrite(self._file(id_), lambda data: None)

    def remove(self, id_: ResourceId) -> None:
        self._file(id_).unlink()

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        other = self.make_driver("somebody-else")
        name, _, _ = id_.name.rpartition(":")
        desired = self._make(name)
        mark = Mark("somebody-else", "", "main", desired.spec_digest, str(id_))
        other.apply(Change(id_, Action.CREATE, desired=desired, mark=mark))
        before = self._file(id_).read_bytes()
        return lambda: self._file(id_).read_bytes() == before

    def copy(self, id_: ResourceId) -> ResourceId:
        name, _, version = id_.name.rpartition(":")
        twin = ResourceId(MODELS_TARGET, "model", f"{name}-copy:{version}")
        self._file(twin).parent.mkdir()
        self._file(twin).write_bytes(self._file(id_).read_bytes())
        return twin

    def down(self) -> None:
        self.root.joinpath("versions").rename(self.root / "elsewhere")
        self.root.joinpath("versions").write_text("no folder")


class TestModels(Contract):
    """Index files and content by digest; bytes are brought by threads."""

    fixture = ModelsFixture

    def make(self, tmp_path: Path) -> ModelsFixture:
        return ModelsFixture(tmp_path)
