"""A certificate for this machine, and Azure on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import certificate_in

from .azure import Azure, azure_server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of this machine's names, and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def azure(certificate: tuple[Path, Path]) -> Iterator[Azure]:
    """A vault and its sign-in."""
    with azure_server(*certificate) as world:
        yield world
