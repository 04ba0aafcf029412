"""Why a service is not what Git wants, where the last attempt failed and nothing waits for its next one any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.core.dataclass import replace
from reconciler.core.report import Report, ServiceReport
from reconciler.core.resources import Desired, Health, ResourceId
from reconciler.core.situation import Hold
from reconciler.core.sync import Sync


def with_failures(report: Report, desired: Iterable[Desired], holds: Mapping[ResourceId, Hold]) -> Report:
    """The report with the reason of the last failure for each service that is not what Git wants.

    Args:
        desired: What Git wants now; a failure counts only for the version that it wants.
        holds: Changes that failed and have not succeeded since, whether or not it is time to try again.
    """
    wanted = {each.id: each for each in desired}
    failed = {i: h.reason for i, h in holds.items() if i in wanted and wanted[i].spec_digest == h.spec_digest}
    if not failed:
        return report
    return replace(report, services=tuple(_service(each, wanted, failed) for each in report.services))


def _service(
    service: ServiceReport, wanted: Mapping[ResourceId, Desired], failed: Mapping[ResourceId, str]
) -> ServiceReport:
    own = [resource.id for resource in service.resources]
    below = [id_ for each in own if each in wanted for id_ in wanted[each].depends_on]
    reason = next((failed[id_] for id_ in (*own, *below) if id_ in failed), "")
    silent = not service.reason or service.health is Health.MISSING
    if service.sync is Sync.IN_SYNC or not reason or not silent or reason in service.reason:
        return service
    return replace(service, reason=f"the last attempt failed: {reason}")
