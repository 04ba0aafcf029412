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
    """The present mark and spec of one container."""

    container: str
    mark: Mark
    spec: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        return {"container": self.container, "mark": self.mark.to_json(), "spec": dict(self.spec)}


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
        try:
            data = json.loads((self._folder / f"{service}.json").read_bytes())
            record = Record(str(data["container"]), Mark.from_json(data["mark"]), data["spec"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if record.container == container else None

    def write(self, service: str, record: Record) -> None:
        """Writes a record as a whole."""
        self.make()
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        with os.fdopen(handle, "w") as stream:
            json.dump(record.to_json(), stream)
        Path(name).replace(self._folder / f"{service}.json")

    def drop(self, service: str) -> None:
        """Removes a record."""
        (self._folder / f"{service}.json").unlink(missing_ok=True)
