"""The model registry: immutable, content-addressed model versions on disk, and their driver."""

from reconciler.artifacts.models.driver import ModelsDriver
from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.artifacts.models.settings import ModelSettings

__all__ = ["ModelRegistry", "ModelSettings", "ModelsDriver"]
