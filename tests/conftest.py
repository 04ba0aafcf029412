"""What holds for every test: property tests are judged by their findings, never by how fast the machine is.

Those that need more examples than the profile says so themselves, or stand in the long suites.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("reconciler", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reconciler")
