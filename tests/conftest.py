"""What holds for every test: property tests are judged by their findings, never by how fast the machine is.

Those that need more examples than the profile says so themselves, or stand in the long suites.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.searching import SAME_EACH_TIME

settings.register_profile(
    "reconciler",
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=SAME_EACH_TIME,
)
settings.load_profile("reconciler")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A real cluster is touched only when it is asked for by its mark, and named."""
    if "live" in config.option.markexpr.replace("not live", "") and os.environ.get("KUBECONFIG"):
        return
    for item in items:
        if "live" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="pytest -m live with KUBECONFIG runs it on that cluster"))
