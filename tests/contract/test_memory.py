"""The contract over the memory driver, for a kind that is written in place and for one that is staged."""

from __future__ import annotations

from .memory import MemoryFixture, MemoryStagedFixture
from .rules import Contract


class TestMemory(Contract):
    """Written in place."""

    fixture = MemoryFixture


class TestMemoryStaged(Contract):
    """Staged, then promoted."""

    fixture = MemoryStagedFixture
