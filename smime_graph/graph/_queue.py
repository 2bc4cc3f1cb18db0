"""The file of an outbox: what is to be sent, how far each message is, and who is at it. SQLite.

Each change is one transaction, so whoever is killed leaves the state before it or behind it. Two of
them are on the disk before they return (`synchronous=FULL`): a new message, because its writer
forgets it then, and the beginning of an attempt, because its first byte leaves then. The others may
be lost with the power: each of them is found again by looking into the mailbox.

A message is carried by whoever has its lease. Leases, the waiting that Graph asks for and the
number of messages carried at once are in the file, so that threads and processes share them. A
lease has a name that is used once: who has lost it can change nothing any more, except that what
was sent stays sent. It ends with its time, or with the process that has it, where the system tells.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..database import BUSY_SECONDS, Database
from ..errors import UsageError
from ._outgoing import Via
from ._sending import Sending

OutboxState: TypeAlias = Literal["queued", "trying", "sent", "unknown", "failed"]

# Exchange carries out 4 requests of an app at once, and throttles more ("Throttling limits").
AT_ONCE = 4

_APPLICATION = 0x534D474F  # "SMGO": marks the file as one of ours
_MOST_ATTEMPTS = 20  # of a message that are remembered, the latest
_ERROR = 1000  # characters
_FAR = 172_800.0  # seconds; what is due later was written by a clock that was wrong

# Step n makes a file of version n one of version n + 1. Files are out there: never change a step.
# Times are Unix seconds; `due` NULL: nothing is to be done unless a person says so. `began` is the
# earliest attempt of which nobody knows what became of it.
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
)

_ROWS = (
    "id, mailbox, message_id, recipients, via, size, state, created, changed, due, lease,"
    " lease_until, attempts, looks, drafting, draft_id, began, server_began, error FROM messages"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A message of the outbox, without its bytes."""

    id: int
    mailbox: str
    message_id: str
    recipients: frozenset[str]
    via: Via
    size: int
    state: OutboxState
    created: float
    changed: float
    due: float | None
    lease: str = field(repr=False)
    lease_until: float
    attempts: int
    looks: int
    drafting: float | None
    draft_id: str | None
    began: float | None
    server_began: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send: when it began, the ids of its request, and what came of it."""

    number: int
    began: float
    client_request_id: str | None
    request_id: str | None
    outcome: str | None


class LeaseLost(Exception):
    """Somebody else carries the message now, or a person has taken it away."""


class Queue(Database):
    """The file at `path`, as a `Database`. `clock` gives Unix seconds, `ticks` seconds of a clock
    that nobody sets.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now, self._ticks = clock, ticks
        self._server: tuple[float, float] | None = None
        self._process = _name_of_process()
        super().__init__(path, what="outbox", application=_APPLICATION, steps=_STEPS)

    @property
    def name(self) -> str:
        return self._name

    def _prepare(self) -> None:
        with self._reading():
            self._version()  # before anything is written to a file that is none of ours
        self._turn_wal_on()
        super()._prepare()

    def _turn_wal_on(self) -> None:
        # the one step for which SQLite does not wait when two processes make a file at once
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    @contextmanager
    def _changing(self, *, on_disk: bool = False) -> Iterator[None]:
        with self._lock, self._naming():
            self._db.execute(f"PRAGMA synchronous = {'FULL' if on_disk else 'NORMAL'}")
            with super()._changing():
                yield

    def _one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    # --- what people do ---------------------------------------------------------------------------

    def add(
        self, raw: bytes, *, mailbox: str, message_id: str, recipients: frozenset[str], via: Via
    ) -> tuple[Row, bool]:
        """Put a message in, and have it on disk; what is there already stays, and is given."""
        people = json.dumps(sorted(recipients))
        key = hashlib.sha256(json.dumps([mailbox.lower(), message_id, people]).encode()).digest()
        now = self.now()
        with self._changing(on_disk=True):
            known = self._one(f"SELECT {_ROWS} WHERE key = ?", key)
            if known is not None:
                return _row(known), False
            cursor = self._db.execute(
                "INSERT INTO messages (key, mailbox, message_id, recipients, via, size, state,"
                " created, changed, due) VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (key, mailbox, message_id, people, via, len(raw), now, now, now),
            )
            self._db.execute("INSERT INTO contents VALUES (?, ?)", (cursor.lastrowid, raw))
            return self._get(cursor.lastrowid), True

    def _get(self, number: object) -> Row:
        return _row(self._one(f"SELECT {_ROWS} WHERE id = ?", number))

    def get(self, number: int) -> Row | None:
        with self._lock, self._naming():
            found = self._one(f"SELECT {_ROWS} WHERE id = ?", number)
            return None if found is None else _row(found)

    def rows(self) -> list[tuple[Row, tuple[Attempt, ...]]]:
        """All messages, the oldest first, each with its attempts."""
        with self._reading():
            found = self._db.execute(f"SELECT {_ROWS} ORDER BY id").fetchall()
            attempts: dict[int, list[Attempt]] = {}
            for message, *rest in self._db.execute(
                "SELECT message, number, began, client_request_id, request_id, outcome"
                " FROM attempts ORDER BY message, number"
            ):
                attempts.setdefault(message, []).append(_attempt(*rest))
            return [(_row(one), tuple(attempts.get(one[0], ()))) for one in found]

    def retry(self, numbers: Sequence[int]) -> None:
        """Queue messages again that are unknown or failed, or wait, and leave their mailboxes alone
        no longer; UsageError changes nothing.
        """
        now = self.now()
        with self._changing(on_disk=True):
            for row in self._named(numbers, now, what="sent again"):
                if row.state == "sent":
                    raise UsageError(
                        f"message {row.id} of the outbox was sent, so it is not sent again",
                        hint="drop it and put it in again if it is to go out a second time",
                    )
                self._db.execute(
                    "UPDATE messages SET state = 'queued', due = ?, changed = ?, looks = 0,"
                    " lease = '', lease_until = 0 WHERE id = ?",
                    (now, now, row.id),
                )
                self._db.execute("DELETE FROM mailboxes WHERE mailbox = ?", (row.mailbox,))

    def drop(self, numbers: Sequence[int]) -> list[Row]:
        """Take messages out; UsageError changes nothing."""
        now = self.now()
        with self._changing(on_disk=True):
            rows = self._named(numbers, now, what="dropped")
            for row in rows:
                self._db.execute("DELETE FROM messages WHERE id = ?", (row.id,))
        return rows

    def _named(self, numbers: Sequence[int], now: float, *, what: str) -> list[Row]:
        rows = []
        for number in numbers:
            found = self._one(f"SELECT {_ROWS} WHERE id = ?", number)
            if found is None:
                raise UsageError(
                    f"the outbox has no message {number}", hint="outbox list shows what it has"
                )
            row = _row(found)
            if self.is_leased(row):
                raise UsageError(
                    f"message {number} of the outbox is being sent, so it cannot be {what} now",
                    hint=f"try again when that is over, in {row.lease_until - now:.0f} s at most",
                )
            rows.append(row)
        return rows

    def is_leased(self, row: Row) -> bool:
        """Does somebody carry it?"""
        return 0 < row.lease_until - self.now() < _FAR and not self._is_gone(row.lease)

    def purge(self, *, before: float) -> None:
        """Forget what was sent before that time."""
        with self._changing():
            self._db.execute("DELETE FROM messages WHERE state = 'sent' AND changed < ?", (before,))

    # --- what carries -----------------------------------------------------------------------------

    def claim(self, *, seconds: float, only: int | None = None) -> Row | None:
        """Take the lease of a message that is due, None where none is (that may be carried now).

        One that was being tried, and whose lease ran out, belonged to somebody who is gone: whether
        it was sent is `unknown` now.
        """
        now = self.now()
        with self._changing():
            self._end_leases_of_the_dead(now)
            busy = self._db.execute(
                "SELECT mailbox FROM messages"
                " WHERE lease_until > 0 AND lease_until > ?1 AND lease_until < ?2"
                " GROUP BY mailbox HAVING count(*) >= ?3 UNION"
                " SELECT mailbox FROM mailboxes WHERE not_before > ?1 AND not_before < ?2",
                (now, now + _FAR, AT_ONCE),
            ).fetchall()
            found = self._one(
                # with the plus signs the index gives the first, and not all of them to be sorted
                f"SELECT {_ROWS} WHERE due IS NOT NULL AND (+due <= ?1 OR +due > ?2)"  # noqa: S608
                " AND (lease_until <= ?1 OR lease_until > ?2) AND coalesce(id = ?3, 1)"
                " AND mailbox NOT IN (SELECT value FROM json_each(?4)) ORDER BY due, id LIMIT 1",
                *(now, now + _FAR, only, json.dumps([one for (one,) in busy])),
            )
            if found is None:
                return None
            row = _row(found)
            crashed = row.state == "trying"
            self._db.execute(
                "UPDATE messages SET state = ?, lease = ?, lease_until = ?, error = ? WHERE id = ?",
                (
                    "unknown" if crashed else row.state,
                    f"{self._process} {secrets.token_hex(8)}",
                    now + seconds,
                )
                + ("whoever sent it was ended in the middle" if crashed else row.error, row.id),
            )
            return self._get(row.id)

    def _end_leases_of_the_dead(self, now: float) -> None:
        held = self._db.execute(
            "SELECT DISTINCT lease FROM messages WHERE lease_until > 0 AND lease_until > ?",
            (now,),
        ).fetchall()
        for (lease,) in held:
            if self._is_gone(lease):
                self._db.execute(
                    "UPDATE messages SET lease_until = 0, due = min(due, ?)"
                    " WHERE lease_until > 0 AND lease = ?",
                    (now, lease),
                )

    def _is_gone(self, lease: str) -> bool:
        """Has the process ended that has it? False where nobody can tell."""
        if not self._process or lease.count(" ") != 3:
            return False
        machine, number, began, _ = lease.split(" ")
        return machine == self._process.split(" ")[0] and _started(number) != began

    def content(self, row: Row) -> bytes:
        with self._lock, self._naming():
            found = self._one("SELECT raw FROM contents WHERE id = ?", row.id)
        if found is None:
            raise LeaseLost
        return bytes(found[0])

    def mark_draft(self, row: Row, *, draft_id: str | None) -> None:
        """A draft is about to be made, or was (`draft_id`); LeaseLost where it must not be."""
        now = self.now()
        with self._changing():
            self._keep_lease(row, now)
            self._db.execute(
                "UPDATE messages SET drafting = coalesce(drafting, ?), draft_id = ? WHERE id = ?",
                (now, draft_id, row.id),
            )

    def begin(self, row: Row, sending: Sending, *, seconds: float) -> None:
        """An attempt is about to begin: on disk when this returns. LeaseLost: it must not."""
        now = self.now()
        with self._changing(on_disk=True):
            self._keep_lease(row, now)
            self._db.execute(
                "UPDATE messages SET state = 'trying', changed = ?, attempts = ?, draft_id = ?,"
                " lease_until = ?, due = ?, began = ?, server_began = ? WHERE id = ?",
                (now, row.attempts + 1, sending.draft_id, now + seconds, now + seconds)
                + ((row.began, row.server_began) if row.began is not None else self._times(now))
                + (row.id,),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, NULL, NULL)",
                (row.id, row.attempts + 1, now, sending.client_request_id),
            )
            self._db.execute(
                "DELETE FROM attempts WHERE message = ? AND number <= ?",
                (row.id, row.attempts + 1 - _MOST_ATTEMPTS),
            )

    def _keep_lease(self, row: Row, now: float) -> None:
        found = self._one("SELECT lease, lease_until FROM messages WHERE id = ?", row.id)
        if found is None or found[0] != row.lease or found[1] <= now:
            raise LeaseLost

    def _times(self, now: float) -> tuple[float, float | None]:
        """When it is by our clock, and by the server's where that is known."""
        if self._server is None:
            return now, None
        date, ticks = self._server
        return now, date + (self._ticks() - ticks)

    def saw_server_time(self, date: float | None) -> None:
        """An answer was just made by the server at this time of its own."""
        if date is not None:
            self._server = date, self._ticks()

    def finish(
        self,
        row: Row,
        state: OutboxState,
        *,
        due: float | None = None,
        error: str | None = None,
        request_id: str | None = None,
        attempted: bool = False,
        settled: bool = False,
        undrafted: bool = False,
        draft_id: str | None = None,
        hold: float | None = None,
    ) -> None:
        """What came of carrying a message, and the end of its lease.

        `attempted`: it was tried just now. `settled`: nobody needs to find out any more what became
        of that attempt. `undrafted`: the draft that was to be made is certainly not there. `hold`:
        nothing of this mailbox is to be carried for so many seconds; None: it answers as it should.
        """
        now = self.now()
        error = None if error is None else error[:_ERROR]
        with self._changing():
            if attempted:
                self._db.execute(
                    "UPDATE attempts SET request_id = ?, outcome = ?"
                    " WHERE message = ? AND number = ?",
                    (request_id, error or state, row.id, row.attempts + 1),
                )
            changed = self._db.execute(
                "UPDATE messages SET state = :state, due = :due, error = :error,"
                " changed = iif(state = :state AND changed <= :now, changed, :now),"
                " draft_id = :draft_id, lease = '', lease_until = 0,"
                " looks = iif(:state = 'unknown', looks + 1, 0),"
                " drafting = iif(:undrafted, :drafting, drafting),"
                " began = iif(:settled, :began, began),"
                " server_began = iif(:settled, :server_began, server_began)"
                " WHERE id = :id AND lease = :lease",
                {
                    "state": state,
                    "now": now,
                    "due": due,
                    "error": error,
                    "draft_id": draft_id,
                    "undrafted": undrafted,
                    "drafting": row.drafting,
                    "settled": settled,
                    "began": row.began,
                    "server_began": row.server_began,
                    "id": row.id,
                    "lease": row.lease,
                },
            )
            if not changed.rowcount and state == "sent":
                # somebody else has it by now; that it was sent is true all the same
                self._db.execute(
                    "UPDATE messages SET state = 'sent', changed = ?, due = NULL, error = NULL,"
                    " lease = '', lease_until = 0 WHERE id = ? AND state != 'trying'",
                    (now, row.id),
                )
            if hold is None:
                self._db.execute(
                    "UPDATE mailboxes SET failures = 0 WHERE mailbox = ? AND failures > 0",
                    (row.mailbox,),
                )
            else:
                # those that fail together have failed once
                self._db.execute(
                    "INSERT INTO mailboxes VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET"
                    " failures = failures + (not_before <= ?3),"
                    " not_before = max(not_before, excluded.not_before)",
                    (row.mailbox, now + hold, now),
                )

    def release(self, row: Row) -> None:
        """Give the lease back of a message that was let go in the middle."""
        now = self.now()
        with self._changing():
            self._db.execute(
                "UPDATE messages SET due = ?1, lease = '', lease_until = 0,"
                " changed = iif(state = 'trying', ?1, changed),"
                " error = iif(state = 'trying', 'interrupted', error),"
                " state = iif(state = 'trying', 'unknown', state) WHERE id = ?2 AND lease = ?3",
                (now, row.id, row.lease),
            )

    def failures(self, mailbox: str) -> int:
        """How often in a row nothing of the mailbox could be carried."""
        with self._lock, self._naming():
            found = self._one("SELECT failures FROM mailboxes WHERE mailbox = ?", mailbox)
        return 0 if found is None else int(found[0])

    def next_due(self) -> float | None:
        """When something can be carried that nobody carries now; None: nothing is to be done."""
        far = self.now() + _FAR
        with self._lock, self._naming():
            (when,) = self._one(
                "SELECT min(max(iif(due > ?1, 0, due), iif(lease_until > ?1, 0, lease_until),"
                " iif(coalesce(not_before, 0) > ?1, 0, coalesce(not_before, 0))))"
                " FROM messages LEFT JOIN mailboxes USING (mailbox) WHERE due IS NOT NULL",
                far,
            )
        return None if when is None else float(when)

    def counts(self) -> dict[str, int]:
        with self._lock, self._naming():
            return dict(self._db.execute("SELECT state, count(*) FROM messages GROUP BY state"))


def _name_of_process() -> str:
    """The machine since it was started, its process and when that began; empty where nobody tells.

    Numbers of processes are used again, and mean something else in another container.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    number = str(os.getpid())
    began = _started(number)
    return "" if began is None else f"{boot}/{space} {number} {began}"


def _started(number: str) -> str | None:
    """When a process began, in ticks since the machine did (proc(5)); None: there is none."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return None


# what each column of _ROWS holds; SQLite itself keeps anything in any
_TEXT, _TIME, _MAYBE_TEXT = (str,), (int, float), (str, type(None))
_MAYBE_TIME = (int, float, type(None))
_HELD: tuple[tuple[type, ...], ...] = (
    *((int,), _TEXT, _TEXT, _TEXT, _TEXT, (int,), _TEXT, _TIME, _TIME, _MAYBE_TIME, _TEXT, _TIME),
    *((int,), (int,), _MAYBE_TIME, _MAYBE_TEXT, _MAYBE_TIME, _MAYBE_TIME, _MAYBE_TEXT),
)
_FIRST_TIME, _LAST_TIME = 0.0, 253_402_300_799.0  # the end of the year 9999


def _row(values: Sequence[Any]) -> Row:
    """Raises sqlite3.DatabaseError for what no outbox has written."""
    number, mailbox, message_id, recipients, *rest = values
    for value, held in zip(values, _HELD, strict=True):
        if not isinstance(value, held) or (isinstance(value, float) and not _is_time(value)):
            raise sqlite3.DatabaseError(f"message {number} holds {value!r:.40}")
    try:
        people = frozenset(json.loads(recipients))
    except (ValueError, TypeError, RecursionError):
        people = frozenset((None,))
    row = Row(number, mailbox, message_id, people, *rest)
    if (
        not all(isinstance(one, str) for one in people)
        or row.state not in get_args(OutboxState)
        or row.via not in get_args(Via)
    ):
        raise sqlite3.DatabaseError(f"message {number} is like none that was put in")
    return row


def _attempt(number: int, began: Any, *rest: Any) -> Attempt:
    if not isinstance(began, float) or not _is_time(began):
        raise sqlite3.DatabaseError(f"an attempt began at {began!r:.40}")
    return Attempt(number, began, *rest)


def _is_time(seconds: float) -> bool:
    return _FIRST_TIME <= seconds <= _LAST_TIME
