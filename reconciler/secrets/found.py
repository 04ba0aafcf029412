"""What reading a reference gives."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's text.

    Args:
        warning: What the operator should know about it, such as that it expired; empty if there is nothing.
    """

    text: str = field(repr=False)
    warning: str = ""
