"""Where a command writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from reconciler.core.dataclass import dataclass, field
from reconciler.views.style import Style


def _stdout() -> TextIO:
    return sys.stdout


def _stderr() -> TextIO:
    return sys.stderr


@dataclass(frozen=True, slots=True)
class Console:
    """The two streams, and how to write on them.

    Args:
        output: `text`, `json` or `markdown`.
        plain: No colour whatever the terminal can.
    """

    output: str = "text"
    plain: bool = False
    verbose: bool = False
    out: TextIO = field(default_factory=_stdout)
    err: TextIO = field(default_factory=_stderr)

    @property
    def style(self) -> Style:
        """For standard output."""
        return Style(self._colored(self.out))

    @property
    def error_style(self) -> Style:
        """For standard error."""
        return Style(self._colored(self.err))

    @property
    def live(self) -> bool:
        """Whether progress may overwrite lines: standard error is a terminal that can."""
        return self.err.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def _colored(self, stream: TextIO) -> bool:
        # https://no-color.org: any value that is not empty.
        if self.plain or os.environ.get("NO_COLOR"):
            return False
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def write(self, text: str) -> None:
        """The result, as it is."""
        self.out.write(text)
        self.out.flush()

    def line(self, text: str = "") -> None:
        """One line of the result."""
        self.write(f"{text}\n")

    def json(self, value: Any) -> None:
        """The result as one JSON document."""
        import json

        self.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """A word beside the result."""
        self.err.write(f"{text}\n")
        self.err.flush()

    def detail(self, text: str) -> None:
        """A word for those who asked with `-v`."""
        if self.verbose:
            self.note(self.error_style.paint(text, "dim"))
