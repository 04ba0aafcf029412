"""The store: one place for what must survive a restart. Reads are free; every write goes through the lease's fence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.exc import DatabaseError, OperationalError

from reconciler.core.approval import Approval
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Target
from reconciler.core.drifting import Memory
from reconciler.core.errors import InvalidError, ReconcilerError, StateError
from reconciler.core.resources import Baseline, ResourceId
from reconciler.core.situation import Hold
from reconciler.engine.clock import Clock
from reconciler.engine.keynames import FACT as KEY_NAMES
from reconciler.engine.keynames import KeyNames
from reconciler.engine.store import codec, tables
from reconciler.engine.store.lease import Lease, LeaseInfo, last_lease, read_lease, take_away

HISTORY_LIMIT = 1000
REQUEST_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reconcile that did something, as history keeps it.

    Args:
        at: Unix time in seconds. outcome: `applied`, `failed`, `partly`, `refused`, `interrupted`, `drift`, `released`.
        data: `digest`, `seconds`, `changes` (id, action, steps, state, reason) and what else it is worth keeping.
    """

    at: float
    revision: str
    outcome: str
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """Something a command asked the daemon to do; `state` is queued, running, done or failed."""

    seq: int
    at: float
    state: str
    kind: str
    data: Mapping[str, Any]
    result: Mapping[str, Any]


# Written before and after each call to a target, and given to SQLite as they are: making a statement takes longer than
# carrying it out.
_PUT_BASELINE = (
    "INSERT INTO baselines (id, target, data) VALUES (:id, :target, :data)"
    " ON CONFLICT (id) DO UPDATE SET target = excluded.target, data = excluded.data"
)
_DROP_HOLD = "DELETE FROM holds WHERE id = :id"


@dataclass
class _Batch:
    """Baselines that are written together."""

    rows: dict[ResourceId, tuple[Baseline, str]] = field(default_factory=dict[ResourceId, tuple[Baseline, str]])
    settled: list[ResourceId] = field(default_factory=list[ResourceId])
    written: bool = False
    error: Exception | None = None


class Store:
    """The record of one installation.

    Args:
        path: Of the database file.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._engine = tables.open_database(path)
        self._clock = clock
        self._lock = threading.RLock()
        self._lease: Lease | None = None
        self._cache: dict[ResourceId, Baseline] | None = None
        self._handed_out = False
        self._gathering = threading.Lock()
        self._batch = _Batch()

    # --- the lease

    @contextmanager
    def writing(self, purpose: str, address: str = "", allowed: Callable[[], None] = lambda: None) -> Generator[Lease]:
        """Holds the lease for as long as the block runs.

        Args:
            allowed: Fails with StaleError when nothing may be written any more, whoever holds the lease.

        Raises:
            StaleError: Somebody else is at work.
        """
        lease = Lease(self._engine, self._clock, purpose, address, allowed)
        with self._guarded():
            lease.take()
        lease.keep()
        self._lease, self._cache = lease, None
        try:
            yield lease
        finally:
            self._lease, self._cache = None, None
            lease.release()

    def holder(self) -> LeaseInfo | None:
        """Who is at work now, if anybody."""
        with self._guarded():
            return read_lease(self._engine, self._clock.now())

    def last_lease(self) -> LeaseInfo | None:
        """The lease as it was last taken, held or not; None if nobody ever wrote here."""
        with self._guarded():
            return last_lease(self._engine)

    def end_lease(self, fence: int, by: str) -> None:
        """Takes the lease from its holder, whose later writes fail, and notes that in the history. Needs no lease.

        Raises:
            StaleError: It is not the present one any more.
        """
        with self._guarded():
            info = last_lease(self._engine)
            take_away(self._engine, fence)
        whose = info.describe() if info else "nobody"
        data = {"target": f"lease {fence}", "text": f"taken from {whose}", "by": by}
        self.record(Attempt(self._clock.now(), "", "released", data))

    def check(self) -> None:
        """Before a call to a target that nothing is recorded of beforehand.

        Raises:
            StaleError: Nothing may be written any more, here or there.
        """
        with self._write():
            pass

    @contextmanager
    def _guarded(self) -> Generator[None]:
        try:
            yield
        except OperationalError as exc:
            raise StateError(
                f"the state database cannot be written: {exc.orig}",
                hint="check the disk and the folder's permissions; nothing that was recorded before is lost",
            ) from exc
        except DatabaseError as exc:
            raise InvalidError(
                "the state database is damaged",
                hint="move it away and start again: what runs carries our marks and is adopted, nothing is recreated",
            ) from exc

    @contextmanager
    def _write(self) -> Generator[Connection]:
        with self._lock, self._guarded(), self._engine.begin() as connection:
            if self._lease is not None:
                self._lease.check(connection)
            yield connection

    @contextmanager
    def _read(self) -> Generator[Connection]:
        with self._guarded(), self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    # --- baselines

    def baselines(self) -> Mapping[ResourceId, Baseline]:
        """Every baseline; the same objects each time while we hold the lease and they do not change."""
        with self._lock:
            self._handed_out = True
            if self._cache is not None and self._lease is not None:
                return self._cache
            with self._read() as connection:
                rows = connection.execute(select(tables.baselines.c.id, tables.baselines.c.data)).all()
            self._cache = {b.id: b for b in (codec.baseline_from_text(row.id, row.data) for row in rows)}
            return self._cache

    def put(self, *baselines: Baseline, settled: bool = False) -> None:
        """Records baselines, all or none; what several threads ask for at once is one transaction.

        Args:
            settled: What was to be done is done: earlier failures of these resources are forgotten with it.
        """
        if not baselines:
            return
        rows = {baseline.id: (baseline, codec.baseline_to_text(baseline)) for baseline in baselines}
        with self._gathering:
            batch = self._batch
            batch.rows |= rows
            batch.settled += [baseline.id for baseline in baselines] if settled else []
        with self._lock:
            # Whoever comes first writes for all who came meanwhile.
            if not batch.written:
                with self._gathering:
                    if self._batch is batch:
                        self._batch = _Batch()
                try:
                    self._put(batch)
                except ReconcilerError as exc:
                    batch.error = exc
                batch.written = True
        if batch.error is not None:
            raise batch.error

    def _put(self, batch: _Batch) -> None:
        rows = [{"id": str(id_), "target": id_.target, "data": text} for id_, (_, text) in batch.rows.items()]
        with self._write() as connection:
            connection.exec_driver_sql(_PUT_BASELINE, rows)
            if batch.settled:
                connection.exec_driver_sql(_DROP_HOLD, [{"id": str(id_)} for id_ in batch.settled])
        if self._cache is not None:
            # What was handed out stays as it was for those who have it.
            if self._handed_out:
                self._cache, self._handed_out = dict(self._cache), False
            self._cache.update((id_, baseline) for id_, (baseline, _) in batch.rows.items())

    def forget(self, *ids: ResourceId) -> None:
        """Drops baselines, holds and drift records of resources that are no longer ours or no longer there."""
        if not ids:
            return
        with self._lock:
            with self._write() as connection:
                for id_ in ids:
                    for table in (tables.baselines, tables.holds, tables.drift):
                        connection.execute(delete(table).where(table.c.id == str(id_)))
            if self._cache is not None:
                self._cache = {i: b for i, b in self._cache.items() if i not in ids}

    def unrecord(self, id_: ResourceId) -> None:
        """Drops a baseline of something that was never made; what is known of its failures stays."""
        with self._lock:
            with self._write() as connection:
                connection.execute(delete(tables.baselines).where(tables.baselines.c.id == str(id_)))
            if self._cache is not None:
                self._cache = {i: b for i, b in self._cache.items() if i != id_}

    # --- targets, and small facts

    def targets(self) -> dict[str, Target]:
        """How to reach each target that something was applied to."""
        with self._read() as connection:
            rows = connection.execute(select(tables.targets)).all()
        return {row.name: codec.target_from_text(row.name, row.data) for row in rows}

    def put_target(self, target: Target) -> None:
        """Records how to reach a target; writes only if that changed."""
        text = codec.target_to_text(target)
        with self._read() as connection:
            row = connection.execute(select(tables.targets).where(tables.targets.c.name == target.name)).first()
        if row is None or row.data != text:
            with self._write() as connection:
                _upsert(connection, tables.targets, {"name": target.name}, {"data": text})

    def fact(self, key: str) -> Any:
        """A small recorded fact (`services` of the last whole revision), or None."""
        with self._read() as connection:
            row = connection.execute(select(tables.meta).where(tables.meta.c.key == key)).first()
        return json.loads(row.value) if row else None

    def put_fact(self, key: str, value: Any) -> None:
        """Records a fact; writes only if it changed."""
        if self.fact(key) != value:
            with self._write() as connection:
                _upsert(connection, tables.meta, {"key": key}, {"value": json.dumps(value)})

    def key_names(self) -> KeyNames:
        """Whose names generated keys are made of."""
        return KeyNames.of_fact(self.fact(KEY_NAMES))

    def move_keys(self, service: str, before: str) -> None:
        """Records that a service goes on under another name with the keys it had; writes only the first time."""
        with self._lock:
            self.put_fact(KEY_NAMES, self.key_names().moved(service, before).to_fact())

    # --- history, holds, drift

    def record(self, attempt: Attempt) -> None:
        """Adds to the history, and drops what is older than its limit."""
        with self._write() as connection:
            connection.execute(
                tables.history.insert().values(
                    at=attempt.at, revision=attempt.revision, outcome=attempt.outcome, data=json.dumps(attempt.data)
                )
            )
            newest = connection.execute(select(func.max(tables.history.c.seq))).scalar_one()
            connection.execute(delete(tables.history).where(tables.history.c.seq <= newest - HISTORY_LIMIT))

    def history(self, limit: int = 20) -> list[Attempt]:
        """The latest attempts, newest first."""
        query = select(tables.history).order_by(tables.history.c.seq.desc()).limit(limit)
        with self._read() as connection:
            rows = connection.execute(query).all()
        return [Attempt(row.at, row.revision, row.outcome, json.loads(row.data), row.seq) for row in rows]

    def holds(self) -> dict[ResourceId, tuple[Hold, int]]:
        """Changes that failed, with the number of attempts at that version."""
        with self._read() as connection:
            rows = connection.execute(select(tables.holds)).all()
        return {ResourceId.parse(row.id): codec.hold_from_text(row.data) for row in rows}

    def put_hold(self, id_: ResourceId, hold: Hold, attempts: int) -> None:
        """Records a failure and when to try again."""
        with self._write() as connection:
            _upsert(connection, tables.holds, {"id": str(id_)}, {"data": codec.hold_to_text(hold, attempts)})

    def drift(self) -> dict[ResourceId, Memory]:
        """What is remembered of drift, also of drift that has ended."""
        with self._read() as connection:
            rows = connection.execute(select(tables.drift)).all()
        return {memory.id: memory for memory in (codec.drift_from_text(row.id, row.data) for row in rows)}

    def put_drift(self, *memories: Memory) -> None:
        """Records what there is to remember of some resources' drift, all or none."""
        if memories:
            with self._write() as connection:
                for memory in memories:
                    values = {"since": memory.since or 0.0, "data": codec.drift_to_text(memory)}
                    _upsert(connection, tables.drift, {"id": str(memory.id)}, values)

    def drop_drift(self, ids: Sequence[ResourceId]) -> None:
        """Forgets the drift of resources."""
        if ids:
            with self._write() as connection:
                connection.execute(delete(tables.drift).where(tables.drift.c.id.in_([str(i) for i in ids])))

    # --- what people decide

    def suspensions(self) -> dict[str, Mapping[str, Any]]:
        """Suspended services with `by`, `at`, `reason`."""
        with self._read() as connection:
            return {row.service: json.loads(row.data) for row in connection.execute(select(tables.suspensions)).all()}

    def suspend(self, service: str, by: str, reason: str) -> None:
        """Suspends a service."""
        data = json.dumps({"by": by, "at": self._clock.now(), "reason": reason})
        with self._write() as connection:
            _upsert(connection, tables.suspensions, {"service": service}, {"data": data})

    def resume(self, service: str) -> bool:
        """Resumes a service; False if it was not suspended."""
        with self._write() as connection:
            gone = connection.execute(delete(tables.suspensions).where(tables.suspensions.c.service == service))
            return bool(gone.rowcount)

    def rotations(self) -> dict[tuple[str, str], int]:
        """Rotation counters of generated keys by (name that the keys are made of, slot)."""
        with self._read() as connection:
            rows = connection.execute(select(tables.rotations)).all()
        return {(row.service, row.slot): row.counter for row in rows}

    def rotate(self, service: str, slot: str) -> int:
        """Makes the next key of a slot the valid one; returns the new counter."""
        name = self.key_names().of(service)
        counter = self.rotations().get((name, slot), 0) + 1
        with self._write() as connection:
            _upsert(connection, tables.rotations, {"service": name, "slot": slot}, {"counter": counter})
        return counter

    def approvals(self) -> dict[str, Approval]:
        """Approvals by digest, lapsed ones among them."""
        with self._read() as connection:
            rows = connection.execute(select(tables.approvals)).all()
        return {row.digest: codec.approval_from_text(row.digest, row.data) for row in rows}

    def put_approval(self, approval: Approval) -> None:
        """Records an approval, or how far it has been carried out."""
        with self._write() as connection:
            values = {"data": codec.approval_to_text(approval)}
            _upsert(connection, tables.approvals, {"digest": approval.digest}, values)

    def drop_approval(self, digest: str) -> None:
        """Forgets an approval that is used up."""
        with self._write() as connection:
            connection.execute(delete(tables.approvals).where(tables.approvals.c.digest == digest))

    # --- requests to a live daemon

    def enqueue(self, kind: str, data: Mapping[str, Any]) -> int:
        """Asks the daemon for something; returns the request's number. Needs no lease."""
        with self._guarded(), self._engine.begin() as connection:
            result = connection.execute(
                tables.requests.insert().values(
                    at=self._clock.now(), state="queued", kind=kind, data=json.dumps(data), result="{}"
                )
            )
            key = result.inserted_primary_key
            seq = int(key[0]) if key else 0
            answered = tables.requests.c.state.in_(("done", "failed"))
            connection.execute(delete(tables.requests).where(answered, tables.requests.c.seq <= seq - REQUEST_LIMIT))
            return seq

    def requests(self, state: str = "queued") -> list[Request]:
        """Requests in a state, oldest first."""
        query = select(tables.requests).where(tables.requests.c.state == state).order_by(tables.requests.c.seq)
        with self._read() as connection:
            return [_request(row) for row in connection.execute(query).all()]

    def request(self, seq: int) -> Request | None:
        """One request by number."""
        with self._read() as connection:
            row = connection.execute(select(tables.requests).where(tables.requests.c.seq == seq)).first()
        return _request(row) if row else None

    def answer(self, seq: int, state: str, result: Mapping[str, Any]) -> None:
        """Moves a request on."""
        with self._write() as connection:
            connection.execute(
                tables.requests.update()
                .where(tables.requests.c.seq == seq)
                .values(state=state, result=json.dumps(result))
            )

    def withdraw(self, seq: int) -> bool:
        """Takes a request back that nobody has begun; False if it is too late. Needs no lease."""
        with self._guarded(), self._engine.begin() as connection:
            gone = connection.execute(
                delete(tables.requests).where(tables.requests.c.seq == seq, tables.requests.c.state == "queued")
            )
            return bool(gone.rowcount)

    def begin(self, seq: int) -> bool:
        """Marks a queued request as running; False if it was withdrawn meanwhile."""
        with self._write() as connection:
            begun = connection.execute(
                tables.requests.update()
                .where(tables.requests.c.seq == seq, tables.requests.c.state == "queued")
                .values(state="running")
            )
            return bool(begun.rowcount)


def _request(row: Any) -> Request:
    return Request(row.seq, row.at, row.state, row.kind, json.loads(row.data), json.loads(row.result))


def _upsert(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    where = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(table.update().where(*where).values(**values)).rowcount:
        connection.execute(table.insert().values(**key, **values))
