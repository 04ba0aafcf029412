"""Stand-in for `azureml.core`: finds model files; what needs a workspace says that there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

MODELS_FOLDER = "azureml-models"


class ModelNotFoundException(Exception):
    """No model of that name and version is among the service's models."""

    def __init__(self, message: str = "", **_: Any) -> None:
        super().__init__(message)
        self.message = message


class Model:
    """What entry scripts use of `azureml.core.model.Model`: where a model's file is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_workspace("Model(workspace, ...)")

    @staticmethod
    def get_model_path(model_name: str, version: int | str | None = None, _workspace: Any = None) -> str:
        """Path of a model's file, or of its folder where it has several files.

        Looked for as Azure ML does: `<models>/<name>/<version>/`, the highest version where none is given, then a
        file or folder of that name itself.

        Raises:
            ModelNotFoundException: there is none, with the names that there are.
        """
        roots = list(dict.fromkeys(_roots()))
        for root in roots:
            versions = root / model_name
            found = _version(versions, version)
            if found is not None:
                entries = sorted(found.iterdir())
                return str(entries[0] if len(entries) == 1 else found)
        own = Path(os.environ.get("AML_APP_ROOT") or ".") / model_name
        for path in (own, Path(model_name)):
            if version is None and path.exists():
                return str(path)
        have = sorted({child.name for root in roots if root.is_dir() for child in root.iterdir()})
        wanted = model_name if version is None else f"{model_name} version {version}"
        raise ModelNotFoundException(
            f"Model {wanted} is not among this service's models ({', '.join(have) or 'there are none'}); "
            "list it under the service's models."
        )

    @classmethod
    def list(cls, *args: Any, **kwargs: Any) -> Never:
        """Needs a workspace."""
        _no_workspace("Model.list")

    @classmethod
    def register(cls, *args: Any, **kwargs: Any) -> Never:
        """Needs a workspace."""
        _no_workspace("Model.register")


class Workspace:
    """There is no workspace here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_workspace("Workspace")

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> Never:
        """Needs a workspace."""
        _no_workspace("Workspace.from_config")

    @classmethod
    def get(cls, *args: Any, **kwargs: Any) -> Never:
        """Needs a workspace."""
        _no_workspace("Workspace.get")


class Run:
    """There are no runs here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_workspace("Run")

    @classmethod
    def get_context(cls, *args: Any, **kwargs: Any) -> Never:
        """Needs a workspace."""
        _no_workspace("Run.get_context")


class Environment:
    """Environments are declared in the manifest repo, not made by scripts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_workspace("Environment")


class Experiment(Environment):
    """There are no experiments here."""


class Dataset(Workspace):
    """There are no datasets here."""


class Datastore(Workspace):
    """There are no datastores here."""


def _no_workspace(what: str) -> Never:
    raise RuntimeError(
        f"azureml.core's {what} needs an Azure ML workspace, which a served entry script does not have. "
        "Read models from AZUREML_MODEL_DIR or with Model.get_model_path(name), "
        "and other settings from environment variables."
    )


def _roots() -> Iterator[Path]:
    given = os.environ.get("AZUREML_MODEL_DIR")
    if given:
        folder = Path(given)
        # One model: <root>/<name>/<version>. Several: the root itself.
        if folder.name.isdigit():
            yield folder.parent.parent
        yield folder
    yield Path(os.environ.get("AML_APP_ROOT") or ".") / MODELS_FOLDER
    yield Path(MODELS_FOLDER)


def _version(versions: Path, wanted: int | str | None) -> Path | None:
    if wanted is not None:
        folder = versions / str(wanted)
        return folder if folder.is_dir() else None
    if not versions.is_dir():
        return None
    numbers = [int(child.name) for child in versions.iterdir() if child.name.isdigit() and child.is_dir()]
    return versions / str(max(numbers)) if numbers else None
