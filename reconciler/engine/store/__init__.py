"""The record: baselines, intents, history, holds, requests, and the lease that makes one writer of many."""

from reconciler.engine.store.lease import DAEMON, Lease, LeaseInfo
from reconciler.engine.store.store import Attempt, Request, Store

__all__ = ["DAEMON", "Attempt", "Lease", "LeaseInfo", "Request", "Store"]
