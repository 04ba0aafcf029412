"""From YAML in Git to deployments: load the documents with every problem they have, resolve what refers to what."""

from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.load import load
from reconciler.manifests.models import Registered
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.resolve import Resolution, resolve

__all__ = ["DocumentCache", "Manifest", "Registered", "Repo", "Resolution", "load", "resolve"]
