"""The tables of the record, for SQLite (WAL) now and PostgreSQL as it is; versioned from the first release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from reconciler.core.errors import InvalidError
from reconciler.engine.store.migrations import STEPS

SCHEMA_VERSION = 2

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String(320), primary_key=True), Column("value", Text, nullable=False))

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("address", String(255), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

baselines = Table(
    "baselines",
    metadata,
    Column("id", String(512), primary_key=True),
    Column("target", String(255), nullable=False, index=True),
    Column("data", Text, nullable=False),
)

targets = Table(
    "targets", metadata, Column("name", String(255), primary_key=True), Column("data", Text, nullable=False)
)

history = Table(
    "history",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("revision", String(128), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("data", Text, nullable=False),
)

holds = Table("holds", metadata, Column("id", String(512), primary_key=True), Column("data", Text, nullable=False))

drift = Table(
    "drift",
    metadata,
    Column("id", String(512), primary_key=True),
    Column("since", Float, nullable=False),
    Column("data", Text, nullable=False),
)

suspensions = Table(
    "suspensions", metadata, Column("service", String(255), primary_key=True), Column("data", Text, nullable=False)
)

rotations = Table(
    "rotations",
    metadata,
    Column("service", String(255), primary_key=True),
    Column("slot", String(32), primary_key=True),
    Column("counter", Integer, nullable=False),
)

approvals = Table(
    "approvals", metadata, Column("digest", String(64), primary_key=True), Column("data", Text, nullable=False)
)

requests = Table(
    "requests",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("data", Text, nullable=False),
    Column("result", Text, nullable=False),
)


def _pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _version(connection: Connection) -> int:
    found = connection.execute(meta.select().where(meta.c.key == "schema_version")).first()
    return int(found.value) if found else 0


def _migrated(connection: Connection) -> int:
    """Brings the schema up to date, unless somebody else did so meanwhile; the version it then has."""
    row = meta.c.key == "schema_version"
    # Written first, so that this transaction begins with the lock and reads what holds now.
    connection.execute(meta.update().where(row).values(value=meta.c.value))
    version = _version(connection)
    while version in STEPS:
        STEPS[version](connection)
        version += 1
    connection.execute(meta.update().where(row).values(value=str(version)))
    return version


def open_database(path: Path) -> Engine:
    """Opens the database file, making it and its tables the first time; an older schema is brought up to date.

    Raises:
        InvalidError: The file is damaged, not writable, or of a newer release.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _pragmas)
    try:
        with engine.begin() as connection:
            if "meta" not in inspect(connection).get_table_names():
                metadata.create_all(connection)
                connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
            version = _version(connection)
        if version in STEPS:
            with engine.begin() as connection:
                version = _migrated(connection)
    except OperationalError as exc:
        engine.dispose()
        raise InvalidError(
            f"the state database {path} cannot be opened: {exc.orig}",
            hint="check that the folder is writable and the disk is not full",
        ) from exc
    except (DatabaseError, ValueError) as exc:
        engine.dispose()
        raise InvalidError(
            f"the state database {path} is damaged",
            hint="move it away and start again: what runs carries our marks and is adopted, nothing is recreated",
        ) from exc
    if version != SCHEMA_VERSION:
        engine.dispose()
        raise InvalidError(
            f"the state database {path} has schema version {version}; this release reads version {SCHEMA_VERSION}",
            hint="use the release that wrote it, or a newer one",
        )
    path.chmod(0o600)
    return engine
