"""The file of a watch: how far it is in a folder, and what became of each message. SQLite.

Each change is one transaction, so whoever is killed leaves the state before it or behind it. What
is new in a folder and the link that asks for what comes later are put in together: no message is
passed over. A message is

    waiting ──> opening ──> handing ──> handed, rejected
       ^           │           │
       └─ failed <─┴───────────┘         gone: deleted before anybody saw it

and `handing` is on the disk (fsync) before anything is handed over: where it is found later, its
process ended in the middle, and nobody knows whether the message was taken. The other changes may
be lost with the power: what they tell is found again in the mailbox. One whose process ended
again and again while it was opened comes last, and after `MOST_OPENINGS` is not opened any more.

One process has the file at a time: two would hand each message over twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal, TypeAlias

from ..database import Database
from ..errors import UsageError
from ..graph.models import DeltaPage, StoredMessage

WatchState: TypeAlias = Literal[
    "waiting", "opening", "handing", "failed", "handed", "rejected", "gone"
]
HandedBefore: TypeAlias = Literal["no", "failed", "unknown"]

MOST_OPENINGS = 3
_APPLICATION = 0x534D4757  # "SMGW": marks the file as one of ours
_PATIENCE = 2000  # milliseconds; who has the file has it for long
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 3600.0  # seconds, until something is tried again
_KEPT = 30 * 86_400.0  # so long it is known of a message that left the folder what became of it
_TEXT = 1000  # characters
_LAST_TIME = 253_402_300_799.0  # the last second of the year 9999: a float behind it is rounded up

# Step n makes a file of version n one of version n + 1. Files are out there: never change a step.
# Times are Unix seconds; `due` NULL: nothing is to be done any more.
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE folders (
        number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, url TEXT NOT NULL,
        user TEXT NOT NULL, folder TEXT NOT NULL, link TEXT);
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY AUTOINCREMENT, folder INTEGER NOT NULL REFERENCES folders,
        id TEXT NOT NULL, message_id TEXT, sender TEXT, received REAL, state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, openings INTEGER NOT NULL DEFAULT 0,
        before TEXT NOT NULL DEFAULT 'no', due REAL, changed REAL NOT NULL, removed REAL,
        error TEXT, UNIQUE (folder, id));
    CREATE INDEX messages_due ON messages (folder, due) WHERE due IS NOT NULL;
    CREATE INDEX messages_removed ON messages (folder, removed) WHERE removed IS NOT NULL
    """,
)
_ROW = "number, id, message_id, sender, received, state, attempts, openings, before"


@dataclass(frozen=True, slots=True)
class Row:
    """A message of the folder, begun. `state` is what it was before, `attempts` counts how often it
    was begun, `openings` how often in a row without coming to an end of opening it, and `before`
    says whether an earlier attempt handed it over.
    """

    number: int
    id: str
    message_id: str | None
    sender: str | None
    received: float | None
    state: WatchState
    attempts: int
    openings: int
    before: HandedBefore


class Watched(Database):
    """The file at `path`, as a `Database`, for one folder of one mailbox. `clock`: Unix seconds.

    UsageError where another watch has it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        url: str,
        user: str,
        folder: str,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        if str(path) in ("", ":memory:"):
            raise UsageError("a watch needs a file for its state", hint="name one")
        super().__init__(path, what="watch state", application=_APPLICATION, steps=_STEPS)
        # ids differ in case alone; the well-known names are words, in any case
        name = (url, user.lower(), folder.lower() if folder.isalpha() else folder)
        key = hashlib.sha256("\0".join(name).encode("utf-8", "replace")).digest()
        try:
            with self._changing():
                self._db.execute(
                    "INSERT OR IGNORE INTO folders (key, url, user, folder) VALUES (?, ?, ?, ?)",
                    (key, *(one.encode("utf-8", "replace").decode() for one in name)),
                )
                (self._folder,) = self._one("SELECT number FROM folders WHERE key = ?", key)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # at once, or two that hold it to read would both wait for the other
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute("COMMIT")
        with self._reading():
            self._version()  # before anything is written to a file that is none of ours
        self._db.execute("PRAGMA journal_mode = WAL")
        super()._prepare()

    @contextmanager
    def _changing(self, *, on_disk: bool = False) -> Iterator[None]:
        with self._lock, self._naming():
            self._db.execute(f"PRAGMA synchronous = {'FULL' if on_disk else 'NORMAL'}")
            with super()._changing():
                yield

    def _one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    # --- what is in the folder --------------------------------------------------------------------

    def link(self) -> str | None:
        """What asks for what is not known yet; None: for all."""
        with self._reading():
            (found,) = self._one("SELECT link FROM folders WHERE number = ?", self._folder)
        return found if isinstance(found, str | None) else None

    def begin_anew(self) -> None:
        """Ask for all there is; what was handed over is known, and is not again."""
        with self._changing():
            self._db.execute("UPDATE folders SET link = NULL WHERE number = ?", (self._folder,))

    def enter(self, page: DeltaPage) -> int:
        """Note what a page tells, and its link with it; how many of its messages are new.

        A draft has not come in: it is new when it is one no more.
        """
        now, new = self._clock(), 0
        with self._changing():
            for one in page.messages:
                if one.status != "draft":
                    new += self._enter(one, now)
            self._db.executemany(
                "UPDATE messages SET removed = ? WHERE folder = ? AND id = ?",
                [(now, self._folder, one) for one in page.removed],
            )
            self._db.execute(
                "DELETE FROM messages WHERE folder = ? AND due IS NULL AND removed < ?",
                (self._folder, now - _KEPT),
            )
            self._db.execute(
                "UPDATE folders SET link = ? WHERE number = ?", (page.link, self._folder)
            )
        return new

    def _enter(self, one: StoredMessage, now: float) -> int:
        when = one.received_at
        received = None if when is None else min(when.timestamp(), _LAST_TIME)
        cursor = self._db.execute(
            "INSERT INTO messages (folder, id, message_id, sender, received, state, due, changed)"
            " VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?)"
            " ON CONFLICT (folder, id) DO NOTHING",
            (self._folder, one.id, _short(one.internet_message_id), _short(one.sender))
            + (received, now, now),
        )
        if cursor.rowcount:
            return 1
        # it was looked for when it was on its way between two folders
        self._db.execute(
            "UPDATE messages SET removed = NULL,"
            " due = CASE state WHEN 'gone' THEN ?1 ELSE due END,"
            " state = CASE state WHEN 'gone' THEN 'waiting' ELSE state END"
            " WHERE folder = ?2 AND id = ?3",
            (now, self._folder, one.id),
        )
        return 0

    # --- one message ------------------------------------------------------------------------------

    def begin(self) -> Row | None:
        """The message that is due first, begun; None where none is."""
        now = self._clock()
        with self._changing():
            found = self._one(
                f"SELECT {_ROW} FROM messages WHERE folder = ?1 AND due IS NOT NULL"  # noqa: S608
                # what is due in hours was written by a clock that was wrong
                " AND (due <= ?2 OR due > ?2 + ?3) ORDER BY due, number LIMIT 1",
                *(self._folder, now, 2 * _LONGEST_DELAY),
            )
            if found is None:
                return None
            row = Row(*found)
            before = "unknown" if row.state == "handing" else row.before
            openings = row.openings + 1 if row.state == "opening" else 1
            row = replace(row, attempts=row.attempts + 1, openings=openings, before=before)
            self._db.execute(
                "UPDATE messages SET state = 'opening', attempts = ?, openings = ?, before = ?,"
                " due = ?, changed = ? WHERE number = ?",
                (row.attempts, openings, before, self._due_again(row), now, row.number),
            )
        return row

    def _due_again(self, row: Row) -> float:
        """When it is begun again if this process ends in the middle: where one did before, others
        come first.
        """
        return self._clock() + (delay(row.attempts - 1) if row.attempts > 1 else 0.0)

    def mark_handing(self, row: Row) -> None:
        """It is about to be handed over."""
        self._set(row, "handing", due=self._due_again(row), on_disk=True)

    def end(self, row: Row, state: Literal["handed", "rejected", "gone"]) -> None:
        self._set(row, state, due=None)

    def fail(self, row: Row, why: str, *, handed: bool) -> float:
        """It is tried again later, in how many seconds; `handed`: a handler had it, and failed."""
        wait = delay(row.attempts)
        self._set(row, "failed", due=self._clock() + wait, error=why[:_TEXT])
        if handed and row.before == "no":
            with self._changing():
                self._db.execute(
                    "UPDATE messages SET before = 'failed' WHERE number = ?", (row.number,)
                )
        return wait

    def leave(self, row: Row) -> None:
        """Nothing was done with it, for a reason that has nothing to do with it."""
        with self._changing():
            self._db.execute(
                "UPDATE messages SET state = ?, attempts = ?, due = ? WHERE number = ?",
                (row.state, row.attempts - 1, self._clock(), row.number),
            )

    def _set(
        self,
        row: Row,
        state: WatchState,
        *,
        due: float | None,
        error: str | None = None,
        on_disk: bool = False,
    ) -> None:
        with self._changing(on_disk=on_disk):
            self._db.execute(
                "UPDATE messages SET state = ?, due = ?, changed = ?, error = ? WHERE number = ?",
                (state, due, self._clock(), error, row.number),
            )

    def next_due(self) -> float | None:
        """When something is to be done next; None: never, unless something comes in."""
        with self._reading():
            (found,) = self._one(
                "SELECT min(due) FROM messages WHERE folder = ? AND due IS NOT NULL", self._folder
            )
        return found if isinstance(found, float | int | None) else None

    def last_error(self) -> str | None:
        """What was in the way of what is due next; None: nothing yet."""
        with self._reading():
            found = self._one(
                "SELECT error FROM messages WHERE folder = ? AND due IS NOT NULL"
                " ORDER BY due, number LIMIT 1",
                self._folder,
            )
        return None if found is None else found[0]

    def waiting(self) -> int:
        """How many messages are not done with."""
        with self._reading():
            (found,) = self._one(
                "SELECT count(*) FROM messages WHERE folder = ? AND due IS NOT NULL", self._folder
            )
        return int(found)


def _short(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT]


def delay(attempts: int) -> float:
    """How long something is left alone that failed so often, in seconds."""
    return float(min(_FIRST_DELAY * 2 ** min(max(attempts - 1, 0), 20), _LONGEST_DELAY))
