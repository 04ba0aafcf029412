"""The reason of a failure stays with a service until it is what Git wants."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.failures import with_failures
from reconciler.core.report import Report, ResourceReport, ServiceReport
from reconciler.core.resources import Desired, Health, ResourceId
from reconciler.core.situation import Hold
from reconciler.core.sync import Sync

PROCESS = ResourceId("local", "process", "a")
ENVIRONMENT = ResourceId("registry/environments", "environment", "py-1")
WANTED = (Desired(ENVIRONMENT, {"lock": 1}), Desired(PROCESS, {"x": 1}, service="a", depends_on=(ENVIRONMENT,)))
MISSING = ServiceReport(
    "a", "local", Health.MISSING, Sync.PENDING, reason="not there",
    resources=(ResourceReport(PROCESS, Health.MISSING, "not there"),),
)  # fmt: skip


def told(service: ServiceReport, failed: ResourceId, digest: str = "") -> str:
    """The service's reason after a failure of a resource."""
    own = next(each.spec_digest for each in WANTED if each.id == failed)
    holds = {failed: Hold(digest or own, "init() failed", until=0.0)}
    return with_failures(Report("i", "r", (service,), {}), WANTED, holds).services[0].reason


def test_a_service_that_was_never_made_says_why():
    """In place of "not there": its own failure, or that of what it needs."""
    assert told(MISSING, PROCESS) == "the last attempt failed: init() failed"
    assert told(MISSING, ENVIRONMENT) == "the last attempt failed: init() failed"


def test_a_service_that_serves_an_older_version_says_why():
    """Also when it is time to try again and nothing holds the change."""
    assert told(replace(MISSING, health=Health.HEALTHY, reason=""), PROCESS).endswith("init() failed")


def test_what_does_not_explain_the_present_is_left_out():
    """A failure of another version, of a service in sync, or one that the reason tells already."""
    assert told(MISSING, PROCESS, digest="another") == "not there"
    assert told(replace(MISSING, sync=Sync.IN_SYNC, reason=""), PROCESS) == ""
    held = replace(MISSING, reason="init() failed; tried again in 9 s")
    assert told(held, PROCESS) == held.reason
    worse = replace(MISSING, health=Health.DEGRADED, reason="exit code 3")
    assert told(worse, PROCESS) == "exit code 3"
