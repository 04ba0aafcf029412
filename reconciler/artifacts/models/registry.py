"""The model registry on disk: versions, their content, and v1's folder of models for those who serve them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import RLock

from reconciler.artifacts.models.content import ContentStore, Part, disk_error
from reconciler.artifacts.models.materialise import FOLDER, lay_out
from reconciler.artifacts.models.record import Damaged, Record, RecordStore
from reconciler.core.deployment import ModelVersion
from reconciler.core.errors import BusyError, UnavailableError
from reconciler.core.resources import ResourceId


class ModelRegistry:
    """Everything below `<state>/models`; one per process, safe to use from many threads.

    Args:
        root: The folder; made at the first registration.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content = ContentStore(root)
        self.lock = RLock()
        self._records = RecordStore(root)

    def get(self, resource: ResourceId) -> Record | Damaged | None:
        """One version."""
        with self.lock:
            return self._records.get(resource)

    def all(self) -> tuple[list[Record | Damaged], list[str]]:
        """Every version, sorted, and the paths of files that are none.

        Raises:
            UnavailableError: The store cannot be read.
        """
        with self.lock:
            try:
                return self._records.all()
            except OSError as error:
                raise disk_error(error, self.root) from error

    def put(self, record: Record) -> Record:
        """Registers a version whose content is stored, or changes what is written about it."""
        with self.lock:
            return self._records.put(record)

    def remove(self, resource: ResourceId) -> None:
        """Removes a version; its content stays until `collect`."""
        with self.lock:
            self._records.remove(resource)

    def collect(self) -> int:
        """Removes content that no version holds; how many files. Not while something is being registered."""
        with self.lock:
            records, _ = self._records.all()
            # What a damaged index file held is not known, so nothing is removed while there is one.
            if any(isinstance(record, Damaged) for record in records):
                return 0
            return self.content.collect(
                {(part.sha256, part.executable) for each in records if isinstance(each, Record) for part in each.parts}
            )

    def faults(self, parts: Iterable[Part]) -> str:
        """What is wrong with a version's content, in words; "" if nothing is."""
        for part in parts:
            if fault := self.content.fault(part):
                return f"{fault}: {part.path or part.sha256[:12]}"
        return ""

    def with_digest(self, digest: str) -> Record | None:
        """A version that holds these bytes unharmed, whatever its name."""
        for record in self.all()[0]:
            if isinstance(record, Record) and record.digest == digest and not self.faults(record.parts):
                return record
        return None

    def catalogue(self) -> Mapping[str, Mapping[str, str]]:
        """Registered versions: name -> version -> digest."""
        found: dict[str, dict[str, str]] = {}
        for record in self.all()[0]:
            if isinstance(record, Record):
                name, _, version = record.id.name.rpartition(":")
                found.setdefault(name, {})[version] = record.digest
        return found

    def materialise(self, models: Sequence[ModelVersion], root: Path) -> Path:
        """Makes v1's folder of models below `root`, of hard links to the store.

        Args:
            models: Registered versions, of which name and version count; each stands in
                `azureml-models/<name>/<version>/<file name>`, the file name being that of its source.
            root: A folder of the caller's own; `azureml-models` in it is replaced as a whole.

        Returns:
            The value of AZUREML_MODEL_DIR: the version's folder for one model, `azureml-models` for several.

        Raises:
            BusyError: A version is not registered yet.
            UnavailableError: Its content is damaged, or the folder cannot be written.
        """
        files: dict[str, Part] = {}
        for model in models:
            record = self.get(model.id)
            if record is None:
                raise BusyError(f"{model.id} is not registered yet")
            if isinstance(record, Damaged):
                raise UnavailableError(f"{model.id} cannot be used: {record.reason}")
            if fault := self.faults(record.parts):
                raise UnavailableError(
                    f"{model.id} cannot be used: {fault}", hint="the next reconcile fetches it again"
                )
            lead = f"{model.name}/{model.version}/{record.file_name}"
            for part in record.parts:
                files[f"{lead}/{part.path}" if part.path else lead] = part
        try:
            place = lay_out(self.content, files, root)
        except OSError as error:
            raise disk_error(error, root) from error
        if len(models) == 1:
            return root / FOLDER / models[0].name / models[0].version
        return place
