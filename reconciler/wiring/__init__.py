"""The only place that turns settings into objects; it names every driver, and loads each where it is needed.

Two ways lead out of here: `offline` renders without store, identity or access; `installation` opens everything.
"""

from reconciler.wiring.drivers import TargetDrivers
from reconciler.wiring.opening import Installation, daemon_parts, importing, installation, origin_of, publisher
from reconciler.wiring.operator import load_settings, rails, source_settings
from reconciler.wiring.places import Places, document_cache, make_private, open_repo, open_store
from reconciler.wiring.rendering import Offline, offline, offline_with, registered_models

__all__ = [
    "Installation",
    "Offline",
    "Places",
    "TargetDrivers",
    "daemon_parts",
    "document_cache",
    "importing",
    "installation",
    "load_settings",
    "make_private",
    "offline",
    "offline_with",
    "open_repo",
    "open_store",
    "origin_of",
    "publisher",
    "rails",
    "registered_models",
    "source_settings",
]
