"""Stages for examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An empty stage; whatever was played on it is taken away."""
    made = Stage(tmp_path)
    yield made
    made.end()
