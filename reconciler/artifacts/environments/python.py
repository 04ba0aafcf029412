"""Which Python an environment gets: what was asked for, what there is, and what takes its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from reconciler.artifacts.environments.interpreters import OLDEST, Interpreter
from reconciler.core.dataclass import dataclass
from reconciler.core.problems import Position, Problem, Severity

_PLAIN = re.compile(r"\d+(\.\d+)*")
_MINORS = [(2, 6), (2, 7), *((3, minor) for minor in range(40))]
_PATCHES = range(40)


@dataclass(frozen=True, slots=True)
class Choice:
    """The Pythons to try, best first, all of one minor version; a problem if it is not what was asked for."""

    interpreters: tuple[Interpreter, ...] = ()
    problem: Problem | None = None

    @property
    def version(self) -> str:
        """`3.11`, or "" if there is none."""
        return self.interpreters[0].short if self.interpreters else ""


def specifiers_of(text: str) -> str:
    """A declared version (`3.11`, `3.11.4`, `>=3.10,<3.13`) as specifiers, sorted; "" for any.

    Raises:
        ValueError: It is neither a version nor specifiers.
    """
    text = text.strip()
    if _PLAIN.fullmatch(text):
        text = f"=={text}.*" if text.count(".") < 2 else f"=={text}"
    try:
        return ",".join(sorted(str(item) for item in SpecifierSet(text)))
    except InvalidSpecifier as exc:
        raise ValueError(f"'{text}' is not a Python version") from exc


def choose(
    declared: str,
    interpreters: Sequence[Interpreter],
    *,
    allow_override: bool,
    position: Position | None = None,
    recorded: tuple[int, int] | None = None,
) -> Choice:
    """The Python for an environment.

    Args:
        declared: Specifiers, "" for any.
        interpreters: What the machine has, most preferred first.
        allow_override: Take another version where the declared one cannot be had, with a warning.
        position: Where it was declared.
        recorded: The minor version of a lock made earlier, used again if it still serves.
    """
    usable = [item for item in interpreters if item.minor >= OLDEST]
    if not usable:
        needed = ".".join(map(str, OLDEST))
        return Choice(
            problem=Problem(
                "python-unavailable",
                f"this machine has no Python {needed} or later that could be found",
                position,
                "install one, or name it in the operator's settings",
            )
        )
    specifiers = SpecifierSet(declared)
    serving = [item for item in usable if admits(specifiers, item.minor)]
    if serving:
        minor = recorded if recorded in [item.minor for item in serving] else serving[0].minor
        same = [item for item in serving if item.minor == minor]
        exact = [item for item in same if len(item.version) > 2 and _contains(specifiers, item.version)]
        return Choice(tuple(dict.fromkeys((*exact, *same))))
    minors = sorted({item.minor for item in usable})
    minor = recorded if recorded in minors else _nearest(specifiers, minors)
    used = f"{minor[0]}.{minor[1]}"
    wanted = ", ".join(str(item) for item in specifiers)
    wanted = wanted.removeprefix("==").removesuffix(".*") if wanted.count(",") == 0 else wanted
    too_old = not any(admits(specifiers, item) for item in _MINORS if item >= OLDEST)
    why = (
        f"the scoring runtime needs {OLDEST[0]}.{OLDEST[1]} or later" if too_old else "this machine has no such Python"
    )
    if not allow_override:
        return Choice(
            problem=Problem(
                "python-unavailable",
                f"Python {wanted} cannot be had: {why}",
                position,
                f"ask for python={used}, or let the operator allow other versions",
            )
        )
    return Choice(
        tuple(item for item in usable if item.minor == minor),
        Problem(
            "python-overridden",
            f"Python {wanted} cannot be had: {why}; {used} is used",
            position,
            f"say python={used} once the script is known to work with it; old pins may have no wheels for it",
            severity=Severity.WARNING,
        ),
    )


@lru_cache(maxsize=4096)
def admits(specifiers: SpecifierSet, minor: tuple[int, int]) -> bool:
    """Whether some patch release of a minor version is allowed."""
    return any(_contains(specifiers, (*minor, patch)) for patch in _PATCHES)


def _contains(specifiers: SpecifierSet, version: tuple[int, ...]) -> bool:
    return specifiers.contains(".".join(map(str, version)), prereleases=True)


def _nearest(specifiers: SpecifierSet, available: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The lowest version not older than what was asked for, since old pins have wheels for old Pythons."""
    wanted = next((minor for minor in _MINORS if admits(specifiers, minor)), OLDEST)
    return next((minor for minor in available if minor >= wanted), available[-1])
