"""The cluster at the wire that most of these tests have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.targets.aks.standin import Standin


@pytest.fixture
def standin() -> Iterator[Standin]:
    """An empty cluster with the namespace `ml`."""
    made = Standin("ml")
    yield made
    made.close()
