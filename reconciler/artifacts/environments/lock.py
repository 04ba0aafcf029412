"""The lock: resolved once for one Python and platform, with hashes, wheels only; recorded and kept.

A second build of the same environment uses the recorded lock, however many newer packages there are by then.
"""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from reconciler.artifacts.environments.declared import RAW_REQUIREMENTS, RUNTIME_REQUIREMENTS, SPEED_REQUIREMENTS
from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.places import read_json, remove_tree, write_atomic, write_json
from reconciler.artifacts.environments.uv import Limits, Uv
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import TerminalError
from reconciler.core.values import digest

# pyspark's project publishes no wheels, and spark-py is nothing without it: the one exception to "wheels only".
BUILT_FROM_SOURCE = ("pyspark",)

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)", re.M)
_HASH = re.compile(r"--hash=(\S+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a lock is made from, all of it declared."""

    identity: str
    requirements: tuple[str, ...]
    raw_requests: bool = False

    def lines(self, *, speed: bool) -> list[str]:
        """The resolver's input: the user's requirements and the runtime's."""
        raw = RAW_REQUIREMENTS if self.raw_requests else ()
        return [*self.requirements, *RUNTIME_REQUIREMENTS, *raw, *(SPEED_REQUIREMENTS if speed else ())]


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolved, hashed lock.

    Args:
        digest: `sha256:<64 hex>` of its text.
        packages: How many packages it pins.
    """

    digest: str
    text: str
    python: str
    packages: int

    @classmethod
    def of(cls, text: str, python: str) -> Lock:
        """A lock from its text."""
        return cls(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", text, python, len(_PIN.findall(text)))


class LockStore:
    """Locks by content, and which one each environment got, below `<state>/locks`."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir.absolute() / "locks"

    def file(self, lock: str) -> Path:
        """The file of a lock's digest."""
        return self._root / "sha256" / f"{lock.removeprefix('sha256:')}.txt"

    def recorded_python(self, wanted: Wanted) -> tuple[int, int] | None:
        """The minor version that the latest recorded lock of an environment was made for."""
        data = read_json(self._root / "recorded" / f"{_key(wanted, '')}.json")
        match = re.fullmatch(r"(\d+)\.(\d+)", str(data.get("python"))) if data else None
        return (int(match[1]), int(match[2])) if match else None

    def recorded(self, wanted: Wanted, python: str) -> Lock | None:
        """The lock recorded for an environment and a Python minor version on this platform, if it is whole."""
        data = read_json(self._root / "recorded" / f"{_key(wanted, python)}.json")
        if data is None:
            return None
        try:
            lock = Lock.of(self.file(str(data.get("lock"))).read_text(encoding="utf-8"), python)
        except (OSError, ValueError):
            return None
        return lock if lock.digest == data.get("lock") else None

    def record(self, wanted: Wanted, lock: Lock) -> None:
        """Keeps a lock as the environment's own."""
        write_atomic(self.file(lock.digest), lock.text.encode())
        entry = {"identity": wanted.identity, "lock": lock.digest, "python": lock.python, "platform": _platform()}
        write_json(self._root / "recorded" / f"{_key(wanted, lock.python)}.json", entry)
        write_json(self._root / "recorded" / f"{_key(wanted, '')}.json", entry)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a lock is resolved for.

    Args:
        python: Minor version (`3.11`), with the platform behind it where that is not this machine's.
        arguments: uv's options that say so.
    """

    python: str
    arguments: tuple[str, ...]

    @classmethod
    def here(cls, interpreter: Interpreter) -> Platform:
        """A Python of this machine."""
        return cls(interpreter.short, ("--python", str(interpreter.path)))


def resolve(
    uv: Uv, wanted: Wanted, platform: Platform, folder: Path, limits: Limits, log: Callable[[str], None]
) -> Lock:
    """Resolves requirements for one Python; the runtime's faster event loop and parser are left out if they do not fit.

    Args:
        folder: For the resolver's files; emptied afterwards.

    Raises:
        TargetError: It cannot be resolved; the reason has uv's last lines.
        Stopped: `limits.stop` was set.
    """
    try:
        return _compile(uv, wanted, platform, folder, limits, log, speed=True)
    except TerminalError:
        log("resolving again without the faster event loop and parser")
        return _compile(uv, wanted, platform, folder, limits, log, speed=False)


def _compile(
    uv: Uv,
    wanted: Wanted,
    platform: Platform,
    folder: Path,
    limits: Limits,
    log: Callable[[str], None],
    *,
    speed: bool,
) -> Lock:
    source, result = folder / "requirements.in", folder / "requirements.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        source.write_text("".join(f"{line}\n" for line in wanted.lines(speed=speed)), encoding="utf-8")
        result.unlink(missing_ok=True)
        arguments = ["pip", "compile", str(source), "--output-file", str(result), *platform.arguments]
        arguments += ["--generate-hashes", "--no-header", "--no-annotate"]
        uv.run([*arguments, *wheels_only(), *uv.index_arguments], limits, log)
        text = only_pinned_hashes(result.read_text(encoding="utf-8"), wanted.requirements)
        return Lock.of(text, platform.python)
    finally:
        remove_tree(folder)


def wheels_only() -> list[str]:
    """uv's options that forbid building anything from source but the listed exception."""
    return ["--only-binary", ":all:", *(item for name in BUILT_FROM_SOURCE for item in ("--no-binary", name))]


def only_pinned_hashes(text: str, requirements: Sequence[str]) -> str:
    """A lock in which packages whose hashes the user pinned keep only those.

    Raises:
        TerminalError: The index has no file with a pinned hash.
    """
    pinned: dict[str, set[str]] = {}
    for line in requirements:
        if hashes := _HASH.findall(line):
            name = canonicalize_name(Pep508(line.split(" --hash=")[0]).name)
            pinned.setdefault(name, set()).update(hashes)
    if not pinned:
        return text
    blocks: list[str] = []
    for block in re.split(r"\n(?=\S)", text.rstrip("\n")):
        match = _PIN.match(block)
        allowed = pinned.get(canonicalize_name(match[1])) if match else None
        if match is None or allowed is None:
            blocks.append(block)
            continue
        kept = [value for value in _HASH.findall(block) if value in allowed]
        if not kept:
            raise TerminalError(
                f"no file of {match[1]}=={match[2]} has a hash that the requirements pin",
                hint="update the hashes in the requirements, or leave them out: the lock records its own",
            )
        blocks.append(" \\\n".join([block.split(" \\\n")[0], *(f"    --hash={value}" for value in kept)]))
    return "\n".join(blocks) + "\n"


def _key(wanted: Wanted, python: str) -> str:
    key = {"identity": wanted.identity, "requirements": list(wanted.requirements), "raw": wanted.raw_requests}
    return digest({**key, "python": python, "platform": _platform()})


def _platform() -> str:
    return f"{sys.platform}-{sysconfig.get_platform()}"
