"""Running the console blocks of a Markdown page: each command in order, its output compared with what the page shows.

`…` on a line of its own stands for any number of lines. What differs from run to run (digests, ports, times, ages) is
compared by shape. Only standard output counts; progress goes to standard error.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ANY = "…"


@dataclass(frozen=True)
class Example:
    """A command and what the page says it prints."""

    command: str
    shown: tuple[str, ...]
    line: int


def examples(page: Path) -> Iterator[Example]:
    """The commands of every `console` block of a page."""
    inside, command, shown, at = False, "", [], 0
    for number, line in enumerate([*page.read_text().splitlines(), "```"], 1):
        if line.startswith("```") or (inside and line.startswith("$ ")):
            if command:
                yield Example(command, tuple(shown), at)
            command, shown = "", []
            inside = line.startswith("$ ") or (line == "```console")
        if inside and line.startswith("$ "):
            command, at = line[2:], number
        elif inside and command:
            shown.append(line)


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r"\b[0-9a-f]{7,64}\b", "HEX", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    line = re.sub(r"\b\d+(\.\d+)? ?(s|m|h)\b", "TIME", line)
    line = re.sub(r"\d+\.\d{6,}", lambda number: f"{float(number[0]):.6g}", line)
    return re.sub(r"\s+", " ", line).strip()


def matches(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether an output is what the page shows."""
    pattern = "".join("(?:.*\n)*?" if line.strip() == ANY else re.escape(shape(line)) + "\n" for line in trimmed(shown))
    return re.fullmatch(pattern, "".join(shape(line) + "\n" for line in trimmed(printed))) is not None


def trimmed(lines: tuple[str, ...] | list[str]) -> list[str]:
    """Without blank lines at the end."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept


def run(example: Example, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command in a shell."""
    return subprocess.run(
        ["bash", "-c", example.command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
