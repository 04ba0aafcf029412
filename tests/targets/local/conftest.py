"""Benches that leave nothing behind."""

from pathlib import Path

import pytest

from .harness import Bench, runtime_of


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """A folder with the stand-in for the scoring runtime."""
    return runtime_of(Path(__file__).with_name("standin.py"), tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def bench(tmp_path, standin):
    """A state directory and a driver; every process it started is ended, and that is checked."""
    made = Bench(tmp_path, standin)
    try:
        yield made
    finally:
        made.clean_up()
