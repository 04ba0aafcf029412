"""The only place that turns settings into objects; it names every driver, and loads each where it is needed.

Two ways lead out of here: `offline` renders without store, identity or access; `installation` opens everything.
"""

from reconciler.wiring.clusters import leader_election
from reconciler.wiring.drivers import TargetDrivers
from reconciler.wiring.models import asked, looked_at, model_settings
from reconciler.wiring.opening import Installation, daemon_parts, importing, installation, origin_of, publisher
from reconciler.wiring.operator import load_settings, rails, source_settings
from reconciler.wiring.places import Places, document_cache, make_private, open_repo, open_store
from reconciler.wiring.rendering import Offline, offline, offline_with, registered_models

__all__ = [
    "Installation",
    "Offline",
    "Places",
    "TargetDrivers",
    "asked",
    "daemon_parts",
    "document_cache",
    "importing",
    "installation",
    "leader_election",
    "load_settings",
    "looked_at",
    "make_private",
    "model_settings",
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
