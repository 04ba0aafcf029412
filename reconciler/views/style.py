"""Colour for terminals: named styles, or nothing at all."""

from __future__ import annotations

from reconciler.core.change import Action
from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Health

# Select Graphic Rendition codes (ECMA-48 §8.3.117).
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

OF_ACTION = {
    Action.NOOP: "dim",
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REPLACE: "magenta",
    Action.DELETE: "red",
    Action.ADOPT: "cyan",
    Action.FORGET: "dim",
}

OF_HEALTH = {
    Health.HEALTHY: "green",
    Health.PROGRESSING: "blue",
    Health.SUSPENDED: "dim",
    Health.MISSING: "yellow",
    Health.DEGRADED: "red",
    Health.UNKNOWN: "magenta",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How text is painted; without colour every text stays as it is."""

    color: bool = False

    def paint(self, text: str, *names: str) -> str:
        """The text in the named styles (`bold`, `dim`, or a colour)."""
        if not self.color or not text:
            return text
        codes = ";".join(_CODES[name] for name in names)
        return f"\x1b[{codes}m{text}\x1b[0m"


PLAIN = Style()
