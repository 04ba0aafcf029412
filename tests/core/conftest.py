"""Profiles: few examples for every run, many for the long suites."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.searching import deeply

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DEEP = settings(max_examples=deeply(2000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
