"""What holds for every test: property tests are judged by their findings, never by how fast the machine is.

Those that need more examples than the profile says so themselves, or stand in the long suites.
"""

from __future__ import annotations

import os
from pathlib import Path

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


def pytest_configure(config: pytest.Config) -> None:
    """Each worker begins to read at another folder: in a new clone, none compiles what another one has compiled."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    if int(worker) and [Path(each) for each in config.args] == [Path("tests")]:
        parts = sorted(
            str(path)
            for path in Path("tests").iterdir()
            if path.match("[a-z]*") and (path.is_dir() or path.match("test_*.py"))
        )
        first = int(worker) * len(parts) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        config.args[:] = parts[first:] + parts[:first]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One order, wherever a worker began; a real cluster is touched only when its mark asks for it, and it is named."""
    items.sort(key=lambda item: str(item.path))
    if "live" in config.option.markexpr.replace("not live", "") and os.environ.get("KUBECONFIG"):
        return
    for item in items:
        if "live" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="pytest -m live with KUBECONFIG runs it on that cluster"))
