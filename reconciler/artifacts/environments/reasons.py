"""What uv's last words mean: how to go on, the reason in a few lines, the lines of the user's files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reconciler.artifacts.environments.declared import RAW_REQUIREMENTS, RUNTIME_REQUIREMENTS
from reconciler.artifacts.environments.requirements import Requirement
from reconciler.core.errors import AccessError, TargetError, TerminalError, ThrottledError, UnavailableError

_LINES = 12
_DISK = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded|os error 122\b")
_ACCESS = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b", re.I)
_OFFLINE = "the network was disabled"
_NETWORK = re.compile(
    r"error sending request|failed to fetch|request failed|connection (refused|reset|closed)|dns error|timed out"
    r"|network is unreachable|server error \(5|broken pipe|unexpected eof|error decoding response",
    re.I,
)
_RUNTIME = frozenset(re.split(r"[><=]", line)[0] for line in (*RUNTIME_REQUIREMENTS, *RAW_REQUIREMENTS))


def failure(code: int, lines: Sequence[str]) -> TargetError:
    """The error for a failed run of uv.

    Args:
        code: Exit code, negative for a signal.
        lines: What it wrote to standard error, masked.
    """
    text = "\n".join(lines)
    reason = "\n".join(_reason(lines)) or f"uv ended with code {code}"
    if _DISK.search(text):
        return UnavailableError("the disk is full, the environment cannot be written", hint="free some space")
    if code < 0:
        return UnavailableError(f"uv was ended by signal {-code}", hint="signal 9 mostly means a lack of memory")
    if _ACCESS.search(text):
        return AccessError(
            f"the package index refuses us:\n{reason}", hint="check the index's credentials in the operator's settings"
        )
    if re.search(r"\b429\b.*Too Many", text):
        return ThrottledError(f"the package index asks for fewer requests:\n{reason}")
    if "ash mismatch" in text:
        return TerminalError(
            f"a package is not the one that was locked:\n{reason}",
            hint="the index serves other bytes than at the first build: find out why before going on",
        )
    # A package's name in the resolver's reason may look like trouble with the network (async-timeout).
    unsolvable = "No solution found" in text
    if _OFFLINE in text or (not unsolvable and _NETWORK.search(text)):
        return UnavailableError(
            f"the package index cannot be reached:\n{reason}",
            hint="check the network, the index's address and, behind a proxy of your own, SSL_CERT_FILE",
        )
    if unsolvable:
        return TerminalError(f"the requirements cannot be met:\n{reason}", hint=_way_out(reason))
    return TerminalError(f"uv failed:\n{reason}")


def point_out(error: TerminalError, requirements: Iterable[Requirement]) -> TerminalError:
    """The same error with the lines of the user's files that it speaks of."""
    places = [
        f"{item.position}: {item.text}"
        for item in requirements
        if item.position and re.search(rf"(?<![\w.-]){re.escape(item.name)}(?![\w-])", error.message)
    ]
    return TerminalError("\n".join([error.message, *places]), hint=error.hint) if places else error


def _way_out(reason: str) -> str:
    if match := re.search(r"([\w.-]+) was not found in the package registry", reason):
        return f"check the spelling of {match[1]}; a conda package may have another name on PyPI"
    if "no usable wheels" in reason or "no wheels with a matching" in reason:
        return "only wheels are installed, and this version has none for this Python: raise the pin or remove it"
    if clash := sorted(name for name in _RUNTIME if re.search(rf"\b{name}\b", reason)):
        return (
            f"the scoring runtime needs {', '.join(clash)}, too: loosen or remove the pins that rule its versions out"
        )
    return "loosen the pins that exclude each other"


def _reason(lines: Sequence[str]) -> list[str]:
    """From the last "error:" on; uv's own hints speak of options that nobody here can set."""
    starts = [number for number, line in enumerate(lines) if line.startswith("error:")]
    found: list[str] = []
    for line in lines[starts[-1] if starts else 0 :]:
        if line.startswith("hint:"):
            break
        if line.strip():
            found.append(line.strip().removeprefix("error: ").removeprefix("cause: "))
    return found[-_LINES:]
