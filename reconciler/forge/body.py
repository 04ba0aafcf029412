"""The text of a comment: the hidden marker it is found by, and the length a forge takes."""

from __future__ import annotations

import re
from urllib.parse import quote

_MARKER = re.compile(r"\A\s*<!-- reconciler-[a-z]+(?: [^\n]*)? -->[ \t]*\r?\n?")
# CommonMark 0.31, 4.5: what opens a block of code, and what may stand behind it.
_FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_DETAILS = re.compile(r"<(/?)details\b", re.IGNORECASE)
_RESERVE = 400


def marker(environment: str, path: str = "") -> str:
    """The line a comment about one environment, and one folder of manifests, begins with; no page shows it."""
    keys = {"env": environment, "path": path.strip("/")}
    words = [f"{name}={_word(value)}" for name, value in keys.items() if value]
    return f"<!-- {' '.join(['reconciler-plan', *words])} -->"


def _word(value: str) -> str:
    # Two hyphens would end the HTML comment early.
    return quote(value, safe="/").replace("--", "-%2D")


def marked(markdown: str, mark: str) -> str:
    """The text under our marker, in place of the one it may begin with."""
    return f"{mark}\n{_MARKER.sub('', markdown, count=1).lstrip()}"


def carries(body: str, mark: str) -> bool:
    """Whether a comment begins with the marker; one that quotes it further down does not."""
    return body.lstrip().partition("\n")[0].rstrip() == mark


def same(one: str, other: str) -> bool:
    """Whether two texts are the same once a forge has stored them: line ends and blanks at the ends do not count."""
    return one.replace("\r\n", "\n").strip() == other.replace("\r\n", "\n").strip()


def length(text: str) -> int:
    """UTF-16 units: nobody counts more for a character, so what fits here fits everywhere."""
    return len(text.encode("utf-16-le")) // 2


def fitted(markdown: str, longest: int) -> str:
    """The text in at most so many UTF-16 units: cut after a line, what is open closed, and said to be cut."""
    if length(markdown) <= longest:
        return markdown
    kept: list[str] = []
    room = longest - _RESERVE
    fence, folded = "", 0
    for line in markdown.splitlines():
        room -= length(line) + 1
        if room < 0:
            break
        kept.append(line)
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence:
            folded += sum(-1 if closing else 1 for closing in _DETAILS.findall(line))
    closing = [fence] if fence else []
    closing += ["", *["</details>"] * max(0, folded)] if folded > 0 else []
    left_out = markdown.count("\n") + 1 - len(kept)
    note = f"> Too long for a comment here: the last {left_out:,} lines are left out. `reconciler plan` shows them all."
    return "\n".join([*kept, *closing, "", note]) + "\n"
