"""What changed on a container after it was made: its labels are fixed, so the present mark and spec stand here.

Losing this file loses little: the labels then count, and what they say differently is written once more.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.core.resources import Mark


@dataclass(frozen=True, slots=True)
class Record:
    """The present mark and spec of one container.

    Args:
        port: The one it has, also where the spec leaves the choice: the container made after it gets it again.
    """

    container: str
    mark: Mark
    spec: Mapping[str, Any]
    port: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        data = {"container": self.container, "mark": self.mark.to_json(), "spec": dict(self.spec)}
        return {**data, "port": self.port} if self.port else data


class Records:
    """One file a service, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def there(self) -> bool:
        """Whether anything was ever made here."""
        return self._folder.is_dir()

    def make(self) -> None:
        """Makes the folder, by which it is known later that there may be containers."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self, service: str, container: str) -> Record | None:
        """What is recorded of a container; nothing if the record is of another one."""
        record = self.last(service)
        return record if record is not None and record.container == container else None

    def last(self, service: str) -> Record | None:
        """What is recorded of the container that serves, or served last."""
        try:
            data = json.loads((self._folder / f"{service}.json").read_bytes())
            port = int(data.get("port") or 0)
            return Record(str(data["container"]), Mark.from_json(data["mark"]), data["spec"], port)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def container(self, service: str) -> str:
        """Id of the container that serves, or is to be taken over; "" if none is recorded."""
        try:
            return str(json.loads((self._folder / f"{service}.json").read_bytes())["container"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def services(self) -> set[str]:
        """Those of which anything is recorded."""
        return {path.stem for path in self._folder.glob("*.json")}

    def write(self, service: str, record: Record) -> None:
        """Writes a record as a whole."""
        self._put(service, record.to_json())

    def bind(self, service: str, container: str) -> None:
        """Has a container that is not ours, and is named as it likes, stand where one service's own would."""
        for other in self.services():
            if self.container(other) == container and self.last(other) is None:
                self.drop(other)
        self._put(service, {"container": container})

    def _put(self, service: str, data: Mapping[str, Any]) -> None:
        self.make()
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        with os.fdopen(handle, "w") as stream:
            json.dump(data, stream)
        Path(name).replace(self._folder / f"{service}.json")

    def drop(self, service: str) -> None:
        """Removes a record."""
        (self._folder / f"{service}.json").unlink(missing_ok=True)
