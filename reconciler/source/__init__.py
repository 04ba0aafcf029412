"""Git: fetching, verifying and watching a manifest repo, and its files as immutable trees."""

from reconciler.source.limits import Limits
from reconciler.source.local import LocalSource
from reconciler.source.settings import Credentials, SourceSettings, Verify
from reconciler.source.source import Source, open_source
from reconciler.source.tree import GitContents, GitTree

__all__ = [
    "Credentials",
    "GitContents",
    "GitTree",
    "Limits",
    "LocalSource",
    "Source",
    "SourceSettings",
    "Verify",
    "open_source",
]
