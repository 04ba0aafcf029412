"""Stand-ins for modules that scripts of Azure ML's retired SDK, and of old scikit-learn, import.

A finder at the *end* of `sys.meta_path` answers only for names that nothing else could find, so a package that is
really installed always wins, module by module. What is offered is the table below, nothing else:

| a script's import | becomes |
|---|---|
| `azureml.core`, `.model` | `Model.get_model_path`; the rest says why it cannot |
| `azureml.core.workspace`, `.run`, `.environment`, `.experiment`, `.dataset`, `.datastore` | the same |
| `azureml.contrib.services`, `.aml_request`, `.aml_response` | `AMLRequest`, `AMLResponse`, `rawhttp` on werkzeug |
| `azureml_inference_server_http.api.aml_request`, `.aml_response` | the same |
| `azureml.monitoring`, `azureml.ai.monitoring`, `.context` | data collectors that collect nothing |
| `azureml.automl.core.shared.log_server`, `.logging_utilities`, `azureml.telemetry` | telemetry that goes nowhere |
| `azureml.train.automl` | nothing; scripts import it for the sake of their model |
| `sklearn.externals.joblib`, `sklearn.externals.six` | `joblib`, `six` |
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_HERE: Final = __name__

MODULES: Final[dict[str, str | None]] = {
    "azureml": None,
    "azureml.core": "core",
    "azureml.core.model": "core",
    "azureml.core.workspace": "core",
    "azureml.core.run": "core",
    "azureml.core.environment": "core",
    "azureml.core.experiment": "core",
    "azureml.core.dataset": "core",
    "azureml.core.datastore": "core",
    "azureml.contrib": None,
    "azureml.contrib.services": None,
    "azureml.contrib.services.aml_request": "raw",
    "azureml.contrib.services.aml_response": "raw",
    "azureml_inference_server_http": None,
    "azureml_inference_server_http.api": None,
    "azureml_inference_server_http.api.aml_request": "raw",
    "azureml_inference_server_http.api.aml_response": "raw",
    "azureml.monitoring": "monitoring",
    "azureml.automl": None,
    "azureml.automl.core": None,
    "azureml.automl.core.shared": None,
    "azureml.automl.core.shared.log_server": "automl",
    "azureml.automl.core.shared.logging_utilities": "automl",
    "azureml.telemetry": "automl",
    "azureml.train": None,
    "azureml.train.automl": None,
    "azureml.ai": None,
    "azureml.ai.monitoring": "monitoring",
    "azureml.ai.monitoring.context": "monitoring",
}
"""Module name to the module of ours that it shows, None for a mere package."""

ALIASES: Final = {"sklearn.externals.joblib": "joblib", "sklearn.externals.six": "six"}
"""Module name to the package that took its place; modules below it follow."""


def install() -> None:
    """Offer the stand-ins to the script that will be imported. Installing twice has no further effect."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())


class Finder(MetaPathFinder):
    """Finds stand-ins; asked last, so that it finds only what nobody else did."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The stand-in's spec, or None for a name that is not in the tables."""
        if fullname in MODULES:
            return ModuleSpec(fullname, _StandIn(MODULES[fullname]), origin="reconciler.serving", is_package=True)
        for old, new in ALIASES.items():
            if fullname == old or fullname.startswith(old + "."):
                name = new + fullname[len(old) :]
                if not exists(new):
                    raise ModuleNotFoundError(
                        f"No module named {fullname!r}: it became the package {new!r}, "
                        f"which this environment does not have; add {new} to it",
                        name=new,
                    )
                return ModuleSpec(fullname, _Alias(name), origin="reconciler.serving", is_package=True)
        return None


def exists(name: str) -> bool:
    """Whether a top-level module of that name can be imported here."""
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


class _StandIn(Loader):
    def __init__(self, source: str | None) -> None:
        self._source = source

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self._source is None:
            return
        ours = importlib.import_module(f"{_HERE}.{self._source}")
        module.__doc__ = ours.__doc__

        # Looked up at each access: `_rawHttpRequested` changes after the import.
        def get(name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(ours, name)

        module.__dict__["__getattr__"] = get


class _Alias(Loader):
    """Shows a module that exists under another name, as the same object."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._real = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._real
