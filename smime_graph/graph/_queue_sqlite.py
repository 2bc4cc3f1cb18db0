"""The file of an outbox, in SQLite: for the processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import lru_cache
from os import PathLike
from typing import Any, TypeVar

from ..database import Database, turn_wal_on
from ..errors import UsageError
from ._queue import APPLICATION, Mode, Queue
from ._queue_rows import Damaged

T = TypeVar("T")

# Step n makes a file of version n one of version n + 1. Files are out there: never change a step.
# Times are Unix seconds; `due` NULL: nothing is to be done unless a person says so. `began` is the
# earliest attempt of which nobody knows what became of it; `mark` what a message is known again by
# whose octets are others each time: it tells nothing of them (see `Outbox.add`).
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, mailbox TEXT NOT NULL,
        message_id TEXT NOT NULL, recipients TEXT NOT NULL, via TEXT NOT NULL,
        size INTEGER NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL,
        due REAL, lease TEXT NOT NULL DEFAULT '', lease_until REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, looks INTEGER NOT NULL DEFAULT 0,
        drafting REAL, draft_id TEXT, began REAL, server_began REAL, error TEXT);
    CREATE INDEX messages_due ON messages (due) WHERE due IS NOT NULL;
    CREATE INDEX messages_leased ON messages (lease_until) WHERE lease_until > 0;
    CREATE INDEX messages_state ON messages (state, changed);
    CREATE TABLE contents (
        id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE, raw BLOB NOT NULL);
    CREATE TABLE attempts (
        message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, number INTEGER NOT NULL,
        began REAL NOT NULL, client_request_id TEXT, request_id TEXT, outcome TEXT,
        PRIMARY KEY (message, number)) WITHOUT ROWID;
    CREATE TABLE mailboxes (
        mailbox TEXT PRIMARY KEY, not_before REAL NOT NULL, failures INTEGER NOT NULL)
    """,
    """
    ALTER TABLE messages ADD COLUMN action TEXT NOT NULL DEFAULT 'send';
    ALTER TABLE messages ADD COLUMN original TEXT
    """,
    "ALTER TABLE contents ADD COLUMN mark BLOB",
)


class SqliteQueue(Queue, Database):
    """The file at `path`, as a `Database`; its time is that of `clock`."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        Queue.__init__(self, clock=clock, ticks=ticks)
        Database.__init__(self, path, what="outbox", application=APPLICATION, steps=_STEPS)

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        Database.close(self)

    def _prepare(self) -> None:
        with self._reading():
            self._version()  # before anything is written to a file that is none of ours
        turn_wal_on(self._db)
        super()._prepare()

    def _transact(self, work: Callable[[float], T], mode: Mode) -> T:
        with self._lock:
            try:
                if mode == "one":
                    with self._naming():
                        return work(self.now())
                if mode == "read":
                    with self._reading():
                        return work(self.now())
                with self._naming():
                    full = mode == "on disk"
                    self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
                with self._changing():
                    return work(self.now())
            except Damaged as error:
                raise UsageError(
                    f"{self._name} is no outbox, or damaged: {error}",
                    hint="name another file; this one was left as it is",
                ) from None

    def _execute(self, query: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(_in_sqlite(query), values)


@lru_cache(maxsize=64)
def _in_sqlite(query: str) -> str:
    return query.replace("least(", "min(").replace("greatest(", "max(")
