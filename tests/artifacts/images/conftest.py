"""A certificate for this machine."""

from tests.vaults.conftest import certificate

__all__ = ["certificate"]
