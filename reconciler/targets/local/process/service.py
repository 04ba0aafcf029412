"""What a supervisor does when told: stage, promote, discard, amend, stop. One version serves; one may be staged.

The record (mark, spec, version) is written only when all workers of a version accept, in one step. Before that the
version before serves on; after that it drains. So whatever ends this process leaves a record that was true.
"""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import json
import os

from reconciler.targets.local.process.group import Group
from reconciler.targets.local.process.journal import Journal
from reconciler.targets.local.process.layout import STATE, VERSIONS, remove_tree, stamp, take_away, write_json
from reconciler.targets.local.process.listener import Listener, PortError
from reconciler.targets.local.process.loop import Loop
from reconciler.targets.local.process.wire import borrow
from reconciler.targets.local.process.worker import ACCEPTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LEND_SECONDS = 2.0


class Refused(Exception):
    """A command that is not carried out; `code` tells the driver which error it is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Service:
    """The state of one service.

    Args:
        state: What an earlier supervisor of this folder left in the state file.
        announce: Called with a few words whenever something happened.
    """

    def __init__(
        self,
        loop: Loop,
        folder: str,
        identity: dict[str, Any],
        state: dict[str, Any],
        announce: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.record: dict[str, Any] = state.get("record") or {}
        self.generation = int(state.get("generation", 0))
        self.port: int | None = state.get("port")
        self._loop = loop
        self._announce = announce
        self._serial = 0
        self._serving: Group | None = None
        self._staged: Group | None = None
        self._promoting: dict[str, Any] | None = None
        self._ending: list[Group] = []
        self._listener: Listener | None = None
        self._stopping = ""
        self._removing = False
        self._ended = ""
        self._written = ""
        self.journal = Journal(folder, list(state.get("events", [])), announce)

    # -- commands ---------------------------------------------------------------------------------------------------

    def stage(self, launch: dict[str, Any], promote: dict[str, Any] | None) -> None:
        """Starts a version beside the serving one; with `promote` (a mark) it is promoted as soon as it is ready."""
        self._check_not_stopping()
        staged = self._staged
        if staged and staged.launch["specDigest"] == launch["specDigest"] and not staged.failure:
            staged.launch["promote"] = promote
            remove_tree(str(launch["folder"]))
            self._staged_changed()
            return
        if self._promoting:
            raise Refused("busy", "another version is being promoted")
        self._drop_staged()
        listener = self._listener_for(str(launch["host"]), launch["port"], launch.get("takesOver"))
        self._serial += 1
        launch["promote"] = promote
        group = Group(
            self._loop,
            self.journal,
            str(self.identity["sockets"]),
            launch,
            listener,
            self._serial,
            self._changed,
        )
        self._write_keys(group, launch["keys"])
        self._staged = group
        self.port = listener.port
        self.journal.limit(int(launch["log"]["maxBytes"]), int(launch["log"]["backups"]))
        self.clear()
        group.start()
        self.save()

    def promote(self, spec_digest: str, mark: dict[str, Any]) -> None:
        """Hands the listening socket to the staged version and drains the one before."""
        self._check_not_stopping()
        staged = self._staged
        if self._promoting and staged and staged.launch["specDigest"] == spec_digest:
            return
        if staged is None or staged.launch["specDigest"] != spec_digest:
            if self._serving and self.record.get("specDigest") == spec_digest:
                self.amend(mark, self.record["spec"], None, spec_digest, self._serving.id)
                return
            raise Refused("conflict", "the version to promote is not staged (any more)")
        health, reason = staged.health()
        if health == "Progressing":
            raise Refused("busy", "the version to promote is not ready yet")
        if health != "Healthy":
            raise Refused("conflict", f"the version to promote is not healthy: {reason}")
        self._begin(staged, mark)

    def _begin(self, staged: Group, mark: dict[str, Any]) -> None:
        try:
            staged.listener.open()
        except PortError as error:
            staged.failure = str(error)
            self.save()
            raise Refused("port", str(error)) from None
        self._promoting = mark
        staged.serve()
        self.save()

    def discard(self) -> None:
        """Ends what is staged; the serving version is not touched. Without one, the service ends and is removed."""
        self._check_not_stopping()
        if self._promoting:
            raise Refused("busy", "the staged version is being promoted")
        if self._staged:
            self.journal.event(f"version {self._staged.id[:8]} discarded")
        self._drop_staged()
        if self._serving is None and not self.record:
            self.stop(0.0, remove=True, why="discarded before it was promoted")
        self.save()

    def amend(
        self,
        mark: dict[str, Any],
        spec: dict[str, Any],
        keys: list[dict[str, str]] | None,
        spec_digest: str,
        version: str,
    ) -> None:
        """Rewrites what changes without a restart: the mark, and the keys if given."""
        self._check_not_stopping()
        if self._serving is None or self._serving.id != version:
            raise Refused("conflict", "another version serves")
        if keys is not None:
            self._write_keys(self._serving, keys)
            self._serving.launch["keys"] = keys
            self._serving.reload_keys()
            self.journal.event("keys changed")
        changed = {"mark": mark, "spec": spec, "specDigest": spec_digest}
        if keys is not None or any(self.record.get(name) != value for name, value in changed.items()):
            self._serving.launch["specDigest"] = spec_digest
            self.record = {**self.record, **changed}
            self.generation += 1
        self.save(durable=True)

    def stop(self, drain_seconds: float, *, remove: bool, why: str) -> None:
        """Ends the service: no new connections, those that are open finish, then the processes end."""
        self._removing = self._removing or remove
        if not self._stopping:
            self._stopping = why
            self.journal.event(why)
            self._promoting = None
            for group in (self._staged, self._serving):
                if group:
                    group.end(drain_seconds if group.serving else 0.0)
                    self._ending.append(group)
                    group.listener.close()
            self._staged = self._serving = None
            if self._listener:
                self._listener.close()
            self.save()
        self._finish()

    # -- what follows -----------------------------------------------------------------------------------------------

    def _check_not_stopping(self) -> None:
        if self._stopping:
            raise Refused("busy", f"the service is ending: {self._stopping}")

    def lend(self, host: str, port: int | None) -> Listener | None:
        """The socket for a service that takes this one's place under another name; None if it asks for another."""
        listener = self._serving.listener if self._serving else None
        fits = listener is not None and listener.opened and listener.host == host and port in (None, listener.port)
        return listener if fits and not self._stopping else None

    def _listener_for(self, host: str, port: int | None, former: dict[str, Any] | None) -> Listener:
        current = self._serving.listener if self._serving else self._listener
        if current and current.host == host and port in (None, current.port):
            return current
        lent = self._borrowed(host, port, former) if former and self._serving is None else None
        if lent is not None:
            if self._listener:
                self._listener.close()
            self._listener = lent
            return lent
        try:
            listener = Listener(host, port if port is not None else self.port or 0)
        except PortError as error:
            if port is not None or not self.port:
                raise Refused("port", str(error)) from None
            # The port was our choice; a service that answers elsewhere is better than none.
            listener = Listener(host, 0)
            self.journal.event(f"{error}; port {listener.port} was taken instead")
        if self._serving is None:
            if self._listener:
                self._listener.close()
            self._listener = listener
        return listener

    def _borrowed(self, host: str, port: int | None, former: dict[str, Any]) -> Listener | None:
        """The socket of the service that this one was before, so that no connection is lost; None if it has none."""
        message = {"do": "lend", "uid": former["uid"], "host": host, "port": port}
        try:
            _, lent = borrow(str(former["control"]), message, _LEND_SECONDS)
        except OSError:
            return None
        if lent is None:
            return None
        listener = Listener.taken_over(host, lent)
        self.journal.event(f"takes port {listener.port} over from {former['service']}")
        return listener

    def _write_keys(self, group: Group, keys: list[dict[str, str]] | None) -> None:
        if keys is not None:
            write_json(group.keys_file, {"keys": keys})
            group.keys_stamp = stamp(group.keys_file)

    def _drop_staged(self) -> None:
        staged, self._staged = self._staged, None
        if staged is None:
            return
        staged.end(0.0)
        if self._serving and staged.listener is not self._serving.listener:
            staged.listener.close()
            self.port = self._serving.listener.port
        self._ending.append(staged)
        self._collect()

    def _changed(self, group: Group) -> None:
        if group is self._staged:
            self._staged_changed()
        self._collect()
        self.save()
        self._finish()

    def _staged_changed(self) -> None:
        staged = self._staged
        if staged is None:
            return
        mark = staged.launch.get("promote")
        if self._promoting is None:
            if mark and staged.health()[0] == "Healthy":
                with contextlib.suppress(Refused):
                    self._begin(staged, mark)
        elif staged.strikes:
            # It was healthy a moment ago and fell over its first connections.
            self._give_up(staged, f"ended while it was promoted: {staged.trouble}")
        elif staged.all_in(ACCEPTING):
            self._promoted(staged, self._promoting)

    def _promoted(self, group: Group, mark: dict[str, Any]) -> None:
        before = self._serving, self.record, self.generation, self.port
        self._serving, self._staged, self._promoting = group, None, None
        self.record = {
            "mark": mark,
            "spec": group.launch["spec"],
            "specDigest": group.launch["specDigest"],
            "version": group.id,
            "host": group.listener.host,
        }
        self.generation += 1
        self.port = group.listener.port
        self.journal.event(f"version {group.id[:8]} promoted")
        old = before[0]
        if old:
            # Before the record is written, so that with it stands that the service is busy handing over.
            self._ending.append(old)
        try:
            self.save(durable=True)
        except Refused as error:
            # What cannot be recorded did not happen: the version before, which still accepts, stays.
            self._serving, self.record, self.generation, self.port = before
            self._staged = group
            if old:
                self._ending.remove(old)
            self._give_up(group, str(error))
            return
        self._listener = None
        if old:
            old.end(float(old.launch["drainSeconds"]))
            if old.listener is not group.listener:
                old.listener.close()

    def _give_up(self, staged: Group, why: str) -> None:
        """Ends a promotion that failed; the version before serves on."""
        self._promoting = None
        staged.failure = why
        staged.end(float(staged.launch["drainSeconds"]))
        self.journal.event(f"version {staged.id[:8]} not promoted: {why.splitlines()[0][:200]}")
        if self._serving is None:
            staged.listener.close()
            self._listener = None

    def _collect(self) -> None:
        """Forgets groups that have ended, with their files."""
        for group in [group for group in self._ending if not group.running]:
            self._ending.remove(group)
            remove_tree(group.folder)

    def clear(self) -> None:
        """Removes the files of versions that nothing uses: what a killed supervisor or driver left behind."""
        used = {group.folder for group in (self._serving, self._staged, *self._ending) if group}
        versions = f"{self.folder}/{VERSIONS}"
        try:
            names = os.listdir(versions)
        except OSError:
            return
        for name in names:
            if f"{versions}/{name}" not in used:
                remove_tree(f"{versions}/{name}")

    def _finish(self) -> None:
        """Ends this process once it was told to and nothing runs any more."""
        self._collect()
        if not self._stopping or self._ending:
            return
        self._ended = self._stopping
        self.save()
        if self._removing:
            take_away(self.folder)
            sockets = str(self.identity["sockets"])
            if sockets != self.folder:
                remove_tree(sockets)
        self._loop.stop()

    @property
    def _goes_on(self) -> bool:
        """Whether the staged version is promoted without another command."""
        return bool(self._staged and self._staged.launch["promote"] and not self._staged.failure)

    @property
    def _hands_over(self) -> bool:
        """Whether a version that was replaced may still take new connections."""
        return any(worker.state == ACCEPTING for group in self._ending for worker in group.workers())

    # -- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything the driver wants to know; no secrets."""
        if self._serving:
            health, reason = self._serving.health()
        else:
            health, reason = "Missing", "no version serves" if self.record else "no version was promoted yet"
        if self._stopping:
            health, reason = "Progressing", self._stopping
        return {
            "format": 1,
            "pid": os.getpid(),
            "generation": self.generation,
            "record": self.record,
            "port": self.port,
            "health": health,
            "reason": reason,
            "ended": self._ended,
            "busy": bool(self._stopping or self._promoting or self._hands_over or self._goes_on),
            "serving": self._serving.report() if self._serving else None,
            "keysFile": self._serving.keys_file if self._serving else "",
            "keysStamp": self._serving.keys_stamp if self._serving else None,
            "keys": {key["slot"]: key["sha256"] for key in self._serving.launch["keys"] or ()} if self._serving else {},
            "staged": self._staged.report() if self._staged else None,
            "draining": [worker.pid for group in self._ending for worker in group.workers()],
            "events": self.journal.events,
        }

    def save(self, *, durable: bool = False) -> None:
        """Writes the state file if anything in it changed."""
        state = self.state()
        text = json.dumps(state, sort_keys=True)
        if text == self._written and not durable:
            return
        try:
            write_json(f"{self.folder}/{STATE}", state, durable=durable)
            self._written = text
        except OSError as error:
            if durable:
                raise Refused("disk", f"the state file cannot be written: {error.strerror}") from None
