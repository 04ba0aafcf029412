"""An entry script as its syntax tree shows it; `scripts` looks at it."""

from __future__ import annotations

from reconciler.core.dataclass import dataclass

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Script:
    """A script as its syntax tree shows it.

    Args:
        error: What is wrong with its syntax, without its text; empty if nothing is.
        names: Names the module has after import, as far as can be seen.
        open_ended: Other names may come from elsewhere (`from x import *`).
        raw: It handles raw HTTP requests.
    """

    error: str = ""
    line: int = 0
    column: int = 0
    names: tuple[str, ...] = ()
    open_ended: bool = False
    raw: bool = False
