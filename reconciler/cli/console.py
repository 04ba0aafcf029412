"""Where a command writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import Any, TextIO

from reconciler.cli.streams import unwritten
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
        """The result, as it is, but for what a CI service would take for a command.

        Raises:
            UnwrittenError: It could not be written.
            BrokenPipeError: Whoever read it went away.
        """
        try:
            self.out.write(_inert(text, self.output))
            self.out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritten(error) from error

    def data(self, content: bytes) -> None:
        """The result, as the very bytes.

        Raises:
            UnwrittenError: It could not be written.
            BrokenPipeError: Whoever read it went away.
        """
        try:
            self.out.buffer.write(content)
            self.out.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritten(error) from error

    def line(self, text: str = "") -> None:
        """One line of the result."""
        self.write(f"{text}\n")

    def json(self, value: Any) -> None:
        """The result as one JSON document."""
        import json

        self.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """A word beside the result."""
        self.command(_inert(text))

    def command(self, text: str) -> None:
        """A line that a CI service may take for a command, as annotations are meant to be."""
        self.beside(f"{text}\n")

    def beside(self, text: str) -> None:
        """Text on standard error as it is. Nobody there to read it is no reason to stop in the middle of work."""
        with suppress(OSError):
            self.err.write(text)
            self.err.flush()

    def detail(self, text: str) -> None:
        """A word for those who asked with `-v`."""
        if self.verbose:
            self.note(self.error_style.paint(text, "dim"))


def _inert(text: str, output: str = "text") -> str:
    """Text that the log of a run in CI shows and does not obey: names in a pull request are its author's to choose.

    GitHub's runner looks for `::name …::` at the beginning of a line and for `##[name]` anywhere, Azure's agent for
    `##vso[…]` anywhere. JSON stays the same to those who parse it.
    """
    if not ("::" in text or "##" in text) or not (os.environ.get("GITHUB_ACTIONS") or os.environ.get("TF_BUILD")):
        return text
    if output == "json":
        return re.sub(r"#(?=#(?:vso)?\[)", r"\\u0023", text)
    text = re.sub(r"#(?=#(?:vso)?\[)", "# ", text)
    return re.sub(r"^([^\S\n]*):(?=:)", r"\1: ", text, flags=re.MULTILINE)
