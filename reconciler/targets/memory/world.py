"""The target itself: resources, their etags, slow work, pages and faults, all in one JSON-like state.

What a test scripts and what a driver calls are methods of one object; `calls` tells them apart afterwards. With a path
the state lives in that file, so that a world outlives the processes that use it.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.core.diff import assign, equal
from reconciler.core.values import lookup
from reconciler.targets.memory.faults import Fault, WireError

Record = dict[str, Any]
State = dict[str, Any]

# What the server adds to a resource that does not say it itself.
DEFAULTS: Mapping[str, Any] = {"restartPolicy": "Always", "timeoutSeconds": 30, "limits": {"pids": 100}}
WRITES = frozenset({"write", "rename", "delete", "stage", "promote", "discard"})


def _empty() -> State:
    return {"records": {}, "faults": [], "calls": [], "slow": {}, "etag": 0, "page": 100, "down": "", "addresses": {}}


class World:
    """One target in memory.

    Args:
        path: A file to keep the state in; None keeps it in this object.
        clock: Seconds; with it slow work ends by time, without it by how often the target was listed.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] | None = None) -> None:
        self._path = path
        self._clock = clock
        self._state = _empty()
        self._lock = threading.RLock()
        self.changed = threading.Condition()
        self.happenings: list[str] = []

    @contextmanager
    def _open(self) -> Generator[State]:
        """The state, saved afterwards also where the block raises: a fault after a write leaves the write."""
        with self._lock:
            if self._path is None:
                yield self._state
                return
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                state = json.loads(self._path.read_text()) if self._path.exists() else _empty()
                try:
                    yield state
                finally:
                    self._save(state)

    def _save(self, state: State) -> None:
        if self._path is None:
            return
        temporary = self._path.with_suffix(f".{os.getpid()}.new")
        temporary.write_text(json.dumps(state))
        temporary.replace(self._path)

    # What tests do to it

    def fault(self, *faults: Fault) -> None:
        """Schedules faults; several that speak of one moment strike one after the other."""
        with self._open() as state:
            state["faults"] += [fault.to_json() for fault in faults]

    def clear_faults(self) -> None:
        """Everything works again."""
        with self._open() as state:
            state["faults"], state["down"] = [], ""

    def slow(self, op: str, amount: float, *, fails: str = "") -> None:
        """Makes `write`, `stage` or `delete` take `amount` listings (or seconds); `fails` is how it then ends."""
        with self._open() as state:
            state["slow"][op] = {"amount": amount, "fails": fails}

    def page_size(self, size: int) -> None:
        """How many resources one page of a listing holds."""
        with self._open() as state:
            state["page"] = size

    def put_foreign(self, key: str, native: Mapping[str, Any], mark: Mapping[str, Any] | None = None) -> None:
        """A resource that somebody else made, with whatever mark they left on it."""
        with self._open() as state:
            state["records"][key] = self._record(state, native, mark)

    def edit(self, key: str, pointer: str, value: Any, by: str = "", at: float | None = None) -> None:
        """Changes one place of a resource's native form by hand (`MISSING` takes it out).

        Args:
            by: Who does so; remembered until we write the place.
        """
        with self._open() as state:
            record = state["records"][key]
            record["native"] = assign(record["native"], pointer, value)
            if by:
                record["owners"][pointer] = [by, at]
            record["etag"] = self._etag(state)
        self.happen(f"{key}: changed by hand")

    def set_mark(self, key: str, mark: Mapping[str, Any] | None) -> None:
        """Changes a resource's mark by hand."""
        with self._open() as state:
            state["records"][key]["mark"] = dict(mark) if mark is not None else None

    def copy(self, key: str, new_key: str) -> None:
        """Copies a resource with all that it carries, its mark too."""
        with self._open() as state:
            twin = copy.deepcopy(state["records"][key])
            twin["etag"] = self._etag(state)
            state["records"][new_key] = twin

    def remove(self, key: str) -> None:
        """Deletes by hand."""
        with self._open() as state:
            del state["records"][key]
        self.happen(f"{key}: deleted by hand")

    def condition(self, key: str, status: str, reason: str = "", happening: str = "") -> None:
        """Sets a resource's native status (`running`, `starting`, `failed`, `stopped` or any word)."""
        with self._open() as state:
            record = state["records"][key]
            record["status"], record["reason"] = status, reason
            record["events"] += [happening] if happening else []
        self.happen(f"{key}: {status}")

    def condition_staged(self, key: str, status: str, reason: str = "") -> None:
        """Sets the status of a staged version."""
        with self._open() as state:
            state["records"][key]["staged"].update({"status": status, "reason": reason})

    def serve(self, key: str, url: str, *, staged: bool = False) -> None:
        """Says where a resource answers."""
        with self._open() as state:
            state["addresses"][f"{key}#staged" if staged else key] = url

    def happen(self, text: str) -> None:
        """Tells those who watch."""
        with self.changed:
            self.happenings.append(text)
            self.changed.notify_all()

    # What tests ask it

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Every call of a driver so far: what, and on which key."""
        with self._open() as state:
            return [(op, key) for op, key in state["calls"]]

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The calls that were to change something."""
        return [(op, key) for op, key in self.calls if op in WRITES]

    def native(self, key: str) -> Mapping[str, Any] | None:
        """A resource in the target's own form."""
        with self._open() as state:
            record = state["records"].get(key)
            return copy.deepcopy(record["native"]) if record else None

    def hidden(self, key: str) -> Mapping[str, str]:
        """The secrets a resource was given, which no listing shows."""
        with self._open() as state:
            return dict(state["records"][key]["hidden"])

    def mark(self, key: str) -> Mapping[str, Any] | None:
        """What a resource is marked with."""
        with self._open() as state:
            return copy.deepcopy(state["records"][key]["mark"])

    def names(self) -> list[str]:
        """The key of every resource there, whoever made it."""
        with self._open() as state:
            return sorted(state["records"])

    # What a driver calls

    def list(self, page: int = 1) -> tuple[dict[str, Record], bool]:
        """One page of all resources, and whether there are more. Listing the first page lets slow work go on."""
        with self._call("list", "", page) as state:
            if page == 1:
                self._tick(state)
            keys = sorted(state["records"])
            size = int(state["page"])
            chosen = keys[(page - 1) * size : page * size]
            return {k: copy.deepcopy(state["records"][k]) for k in chosen}, page * size < len(keys)

    def get(self, key: str) -> Record:
        """One resource.

        Raises:
            WireError: 404.
        """
        with self._call("get", key) as state:
            self._tick(state)
            return copy.deepcopy(self._found(state, key))

    def write(
        self,
        key: str,
        native: Mapping[str, Any],
        mark: Mapping[str, Any] | None,
        hidden: Mapping[str, str] | None = None,
        *,
        if_match: str = "",
        create: bool = False,
    ) -> Record:
        """Creates or overwrites a resource; server-side defaults fill what the native form leaves out.

        Raises:
            WireError: 400 for what the target cannot have, 404, 409 if it exists, 412 if `if_match` is stale.
        """
        if native.get("invalid"):
            raise WireError(400, f"{key}: the field 'invalid' is invalid")
        with self._call("write", key) as state:
            existing = state["records"].get(key)
            if create and existing is not None:
                raise WireError(409, f"{key} exists", code="exists")
            if not create:
                self._match(state, key, if_match)
            record = self._record(state, native, mark)
            if existing is not None and existing["native"].get("zone") != record["native"].get("zone"):
                raise WireError(400, f"{key}: the zone cannot be changed")
            if existing is not None:
                kept = {name: existing[name] for name in ("hidden", "staged", "events", "log")}
                record.update({**kept, "owners": _still_theirs(existing, record["native"])})
            if hidden is not None:
                record["hidden"] = dict(hidden)
            record["log"] = [*record["log"], f"{key}: started"]
            self._start(state, "write", record)
            state["records"][key] = record
            return copy.deepcopy(record)

    def rename(self, key: str, new_key: str, mark: Mapping[str, Any], *, if_match: str = "") -> None:
        """Gives a resource another name and the mark that goes with it, in one step; all else stays.

        Raises:
            WireError: 404, 409 if the new name is taken, 412 if `if_match` is stale.
        """
        with self._call("rename", key) as state:
            self._match(state, key, if_match)
            if new_key in state["records"]:
                raise WireError(409, f"{new_key} exists", code="exists")
            record = state["records"].pop(key)
            record.update({"mark": dict(mark), "etag": self._etag(state)})
            state["records"][new_key] = record

    def delete(self, key: str, *, if_match: str = "") -> bool:
        """Deletes; False if it is going on.

        Raises:
            WireError: 404, 412.
        """
        with self._call("delete", key) as state:
            self._match(state, key, if_match)
            if "delete" in state["slow"]:
                state["records"][key]["deleting"] = True
                self._start(state, "delete", state["records"][key])
                return False
            del state["records"][key]
            return True

    def stage(
        self,
        key: str,
        native: Mapping[str, Any],
        mark: Mapping[str, Any],
        hidden: Mapping[str, str] | None,
        *,
        if_match: str = "",
    ) -> Record:
        """Puts a version beside the serving one (or where none serves yet), which nobody is sent to.

        Raises:
            WireError: 400, 412.
        """
        if native.get("invalid"):
            raise WireError(400, f"{key}: the field 'invalid' is invalid")
        with self._call("stage", key) as state:
            record = state["records"].get(key)
            if record is None:
                record = self._record(state, {}, {**mark, "specDigest": ""})
                record["native"], record["status"] = {}, "none"
                state["records"][key] = record
            else:
                self._match(state, key, if_match)
            current = record["staged"]
            if current is None or current["mark"]["specDigest"] != mark["specDigest"] or current["status"] == "failed":
                staged = {"native": {**DEFAULTS, **native}, "mark": dict(mark), "hidden": hidden}
                record["staged"] = {**staged, "status": "running", "reason": "", "busy": None}
                self._start(state, "stage", record["staged"])
            return copy.deepcopy(record)

    def promote(self, key: str, spec_digest: str, *, if_match: str = "") -> Record:
        """Makes the staged version the serving one.

        Raises:
            WireError: 404 if that version is not staged (nor serving already), 409 while it is not ready, 412.
        """
        with self._call("promote", key) as state:
            record = self._found(state, key)
            staged = record["staged"]
            if staged is None or staged["mark"]["specDigest"] != spec_digest:
                if record["mark"]["specDigest"] == spec_digest:
                    return copy.deepcopy(record)
                raise WireError(404, f"{key}: that version is not staged")
            if staged["status"] != "running":
                raise WireError(409, f"{key}: the staged version is {staged['status']}", code="busy")
            self._match(state, key, if_match)
            record["owners"] = _still_theirs(record, staged["native"])
            record.update({"native": staged["native"], "mark": staged["mark"], "staged": None, "status": "running"})
            record.update({"reason": "", "busy": None, "etag": self._etag(state)})
            if staged["hidden"] is not None:
                record["hidden"] = staged["hidden"]
            record["log"] = [*record["log"], f"{key}: promoted"]
            return copy.deepcopy(record)

    def discard(self, key: str) -> Record | None:
        """Takes the staged version away; the record too if nothing serves."""
        with self._call("discard", key) as state:
            record = state["records"].get(key)
            if record is None:
                return None
            record["staged"] = None
            if record["status"] == "none":
                del state["records"][key]
                return None
            return copy.deepcopy(record)

    def address(self, key: str, *, staged: bool = False) -> str | None:
        """Where a resource answers, if a test said so."""
        with self._open() as state:
            return state["addresses"].get(f"{key}#staged" if staged else key)

    def way(self, key: str, *, staged: bool = False) -> str | None:
        """The same, asked of the target by whoever is to send requests there."""
        with self._open() as state:
            self._strike(state, "way", "before", key, 0)
        return self.address(key, staged=staged)

    # Inside

    @contextmanager
    def _call(self, op: str, key: str, page: int = 0) -> Generator[State]:
        with self._open() as state:
            state["calls"].append([op, key])
            self._strike(state, op, "before", key, page)
            yield state
            self._strike(state, op, "after", key, page)

    def _strike(self, state: State, op: str, when: str, key: str, page: int) -> None:
        wire = "write" if op in ("stage", "promote", "discard") else op
        for index, data in enumerate(state["faults"]):
            fault = Fault.from_json(data)
            if fault.concerns(op, when, key, page) or fault.concerns(wire, when, key, page):
                state["faults"][index] = fault.passed().to_json()
                if not fault.skip:
                    self._save(state)
                    fault.strike()

    def _found(self, state: State, key: str) -> Record:
        record = state["records"].get(key)
        if record is None:
            raise WireError(404, f"{key} was not found")
        return record

    def _match(self, state: State, key: str, if_match: str) -> None:
        if self._found(state, key)["etag"] != if_match and if_match:
            raise WireError(412, f"{key} changed in the meantime", code="stale")

    def _etag(self, state: State) -> str:
        state["etag"] += 1
        return str(state["etag"])

    def _record(self, state: State, native: Mapping[str, Any], mark: Mapping[str, Any] | None) -> Record:
        return {
            "native": {**copy.deepcopy(dict(DEFAULTS)), **copy.deepcopy(dict(native))},
            "mark": dict(mark) if mark is not None else None,
            "etag": self._etag(state),
            "status": "failed" if native.get("crashes") else "running",
            "reason": str(native.get("crashes") or ""),
            "hidden": {},
            "staged": None,
            "busy": None,
            "deleting": False,
            "events": [],
            "log": [],
            "owners": {},
        }

    def _start(self, state: State, op: str, thing: Record) -> None:
        slow = state["slow"].get(op)
        if slow is not None:
            end = slow["amount"] if self._clock is None else self._clock() + slow["amount"]
            thing["busy"], thing["status"] = {"end": end, "fails": slow["fails"]}, "starting"

    def _tick(self, state: State) -> None:
        """Lets time pass for all that is slow."""
        for key in list(state["records"]):
            record = state["records"][key]
            things: Sequence[Record | None] = (record, record["staged"])
            for thing in things:
                if thing is None or thing["busy"] is None:
                    continue
                if self._clock is None:
                    thing["busy"]["end"] -= 1
                if (thing["busy"]["end"] if self._clock is None else thing["busy"]["end"] - self._clock()) <= 0:
                    fails = thing["busy"]["fails"]
                    thing["busy"] = None
                    thing["status"], thing["reason"] = ("failed", fails) if fails else ("running", "")
            if record["deleting"] and record["busy"] is None:
                del state["records"][key]


def _still_theirs(before: Record, native: Mapping[str, Any]) -> dict[str, Any]:
    """The places that somebody else wrote and that read so after our write, too."""
    owners: dict[str, Any] = before["owners"]
    return {
        place: who for place, who in owners.items() if equal(lookup(before["native"], place), lookup(native, place))
    }
