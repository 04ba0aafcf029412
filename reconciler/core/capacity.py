"""How many replicas a load needs.

The formula is Azure ML's for AksWebservice ("Autoscaling", how-to-deploy-azure-kubernetes-service):
requests per second x seconds per request / target utilization, over the requests that a replica takes at once.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from reconciler.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a service.

    Args:
        rps: Requests per second.
        seconds: That one request takes.
        utilization: Percent of the replicas that are to be busy, 1 to 100; the rest is there for what comes suddenly.
        at_once: Requests that a replica works on at the same time.
    """

    rps: Fraction
    seconds: Fraction
    utilization: int = 70
    at_once: int = 1

    @property
    def under_way(self) -> Fraction:
        """Requests under way at any time, on average."""
        return self.rps * self.seconds

    @property
    def replicas(self) -> int:
        """Replicas that it takes; exact, where floating point would now and then give one too many."""
        return max(1, ceil(self.under_way * 100 / self.utilization / self.at_once))
