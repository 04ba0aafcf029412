"""What the API would say to changes, asked by a dry run: admission, quota, validation and conflicts show in the plan.

What it would take is remembered by what is wanted and what is there, so that an unchanged plan asks for nothing again;
what it would refuse is asked for anew each time, since whoever mends it may do so elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from reconciler.core.change import Action, Change
from reconciler.core.errors import ReconcilerError, TargetError, ThrottledError, UnavailableError
from reconciler.core.resources import ResourceId
from reconciler.core.values import digest, unknowns

_AT_ONCE = 8
_ASKED = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT})


class Rehearsal:
    """Asks one cluster. Writes nothing to it.

    Args:
        ask: Dry-runs one change; raises what making it would raise.
        place: Tells which cluster it is; raises TargetError where that is not known.
        remembered: File for what it would take; None to remember nothing.
    """

    def __init__(self, ask: Callable[[Change], None], place: Callable[[], str], remembered: Path | None) -> None:
        self._ask = ask
        self._place = place
        self._file = remembered

    def of(self, changes: Sequence[Change]) -> dict[ResourceId, TargetError]:
        """The changes that would not be made, with the error; those of which it cannot be known are left out."""
        try:
            place = self._place()
        except ReconcilerError:
            # Asking says what is wrong.
            place = ""
        before = self._read() if place else {}
        good: dict[str, str] = {}
        asked: list[Change] = []
        for change in changes:
            if change.action not in _ASKED or change.desired is None or unknowns(change.desired.spec):
                continue
            key = self._key(place, change)
            if before.get(str(change.id)) == key:
                good[str(change.id)] = key
            else:
                asked.append(change)
        found: dict[ResourceId, TargetError] = {}
        if asked:
            found, taken = self._all(asked)
            good |= {str(change.id): self._key(place, change) for change in taken}
        if place and good != before:
            self._write(good)
        return found

    def _all(self, changes: Sequence[Change]) -> tuple[dict[ResourceId, TargetError], list[Change]]:
        silent = threading.Event()
        stopped: list[TargetError] = []

        def one(change: Change) -> TargetError | bool:
            if silent.is_set():
                return stopped[0]
            try:
                self._ask(change)
            except TargetError as error:
                # Who is down or has enough of us is not asked for the rest.
                if isinstance(error, (UnavailableError, ThrottledError)):
                    stopped.append(error)
                    silent.set()
                return error
            except ReconcilerError:
                # A secret that cannot be read here is another's to tell of.
                return False
            return True

        with ThreadPoolExecutor(min(_AT_ONCE, len(changes)), "rehearse") as pool:
            answers = list(zip(changes, pool.map(one, changes), strict=True))
        errors = {change.id: answer for change, answer in answers if isinstance(answer, TargetError)}
        return errors, [change for change, answer in answers if answer is True]

    def _key(self, place: str, change: Change) -> str:
        assert change.desired is not None
        seen: list[Any] = []
        if change.observed is not None:
            # Who has a field decides whether it is given, also where its value has not changed.
            owners = sorted([pointer, owner.manager] for pointer, owner in change.observed.owners.items())
            seen = [change.observed.version, owners]
        return digest([place, change.action.value, change.desired.spec_digest, seen])[:32]

    def _read(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            data: Any = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in cast("dict[Any, Any]", data).items()} if isinstance(data, dict) else {}

    def _write(self, good: dict[str, str]) -> None:
        if self._file is None:
            return
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        # What cannot be remembered is asked for again.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(json.dumps(good, sort_keys=True))
            temporary.replace(self._file)
