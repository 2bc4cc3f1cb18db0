"""The messages of an outbox: what is to be sent, how far each one is, and who is at it. SQL.

Each change is one transaction, so whoever is killed leaves the state before it or behind it. Two of
them are on the disk before they return ("on disk"): a new message, because its writer forgets it
then, and the beginning of an attempt, because its first byte leaves then. The others may be lost
with the power: each of them is found again by looking into the mailbox.

A message is carried by whoever has its lease. Leases, the waiting that Graph asks for and the
number of messages carried at once are in the store, so that threads, processes and, where it is a
server's, machines share them. A lease has a name that is used once: who has lost it can change
nothing any more, except that what was sent stays sent. It ends with its time, or with the process
that has it, where the system tells.

There are two stores, `_queue_sqlite` and `_queue_postgres`. What is here holds in both, and so does
its SQL: parameters are `:named`, `least` and `greatest` are PostgreSQL's.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast

from ..errors import MalformedMessage, UsageError
from ._queue_rows import (
    ROWS,
    Attempt,
    Entry,
    OutboxState,
    Row,
    attempt_of,
    name_of_process,
    row_of,
    started,
)
from ._sending import Sending

P = ParamSpec("P")
T = TypeVar("T")

# how a transaction runs: a statement alone, several that see one moment, a change, and a change
# that is on the disk when it is over
Mode: TypeAlias = Literal["one", "read", "change", "on disk"]

# Exchange carries out 4 requests of an app at once, and throttles more ("Throttling limits").
AT_ONCE = 4

APPLICATION = 0x534D474F  # "SMGO": marks the store as one of ours
_MOST_ATTEMPTS = 20  # of a message that are remembered, the latest
_ERROR = 1000  # characters
_FAR = 172_800.0  # seconds; what is due later was written by a clock that was wrong


class LeaseLost(Exception):
    """Somebody else carries the message now, or a person has taken it away."""


class _Busy(Exception):
    """Others have taken what the mailbox may carry at once."""


def _transaction(
    mode: Mode,
) -> Callable[[Callable[Concatenate[Any, float, P], T]], Callable[Concatenate[Any, P], T]]:
    """A method that runs in a transaction, with the time of its store as its first argument.

    It may run several times, where a server was lost in the middle or would not have two at once.
    """

    def decorate(
        method: Callable[Concatenate[Any, float, P], T],
    ) -> Callable[Concatenate[Any, P], T]:
        @functools.wraps(method)
        def run(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
            done: T = self._transact(lambda now: method(self, now, *args, **kwargs), mode)
            return done

        return cast("Callable[Concatenate[Any, P], T]", run)

    return decorate


class Queue(ABC):
    """`clock` gives Unix seconds, `ticks` seconds of a clock that nobody sets."""

    # behind the query for rows that are changed then, and for one that nobody else is changing
    _LOCKED, _NOBODYS = "", ""

    # is this transaction run once more, and may have been carried out?
    _runs_again = False

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._ticks = clock, ticks
        self._server: tuple[float, float] | None = None
        self._process = name_of_process()

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called, without a password."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _transact(self, work: Callable[[float], T], mode: Mode) -> T:
        """What the work gives, which is done whole or not at all; UsageError where it cannot be."""

    @abstractmethod
    def _execute(self, query: str, **values: Any) -> Any:
        """The cursor (PEP 249) of a query; within a transaction."""

    def now(self) -> float:
        """The time of the store, in Unix seconds: what leases are measured by."""
        return self._clock()

    def _one(self, query: str, **values: Any) -> Any:
        return self._execute(query, **values).fetchone()

    def _may_carry(self, mailbox: str, now: float) -> bool:
        """Is there room for one more still? Asked in the transaction that takes it."""
        del mailbox, now
        return True  # where one transaction waits for another

    # --- what people do ---------------------------------------------------------------------------

    @_transaction("on disk")
    def add(self, now: float, entries: Sequence[Entry]) -> list[Row]:
        """Put messages in, and have them on disk; what is there already stays, and is given.

        MalformedMessage, and nothing is put in, where it may be another message of the same key.
        """
        return [self._add(entry, now) for entry in entries]

    @_transaction("read")
    def find(self, now: float, entries: Sequence[Entry]) -> list[Row]:
        """Those that are there already; MalformedMessage as on `add`."""
        del now
        return [row for entry in entries if (row := self._known(entry)) is not None]

    def _known(self, entry: Entry) -> Row | None:
        found = self._one(f"SELECT {ROWS} WHERE key = :key", key=entry.key)
        return None if found is None else self._repeated(row_of(found), entry)

    def _add(self, entry: Entry, now: float) -> Row:
        known = self._known(entry)
        if known is not None:
            return known
        made = self._one(
            "INSERT INTO messages (key, mailbox, message_id, recipients, via, size, state,"
            " created, changed, due, draft_id, action, original) VALUES (:key, :mailbox,"
            " :message_id, :people, :via, :size, 'queued', :now, :now, :now, :draft_id, :action,"
            " :original) ON CONFLICT (key) DO NOTHING RETURNING id",
            key=entry.key,
            mailbox=entry.mailbox,
            message_id=entry.message_id,
            people=json.dumps(sorted(entry.recipients)),
            via=entry.via,
            size=len(entry.raw),
            now=now,
            draft_id=entry.draft_id,
            action=entry.action,
            original=entry.original,
        )
        if made is None:  # somebody else has just put it in
            theirs = self._one(f"SELECT {ROWS} WHERE key = :key", key=entry.key)
            return self._repeated(row_of(theirs), entry)
        self._execute(
            "INSERT INTO contents (id, raw, mark) VALUES (:id, :raw, :mark)",
            id=made[0],
            raw=entry.raw,
            mark=entry.stored_mark,
        )
        return self._get(made[0])

    def _repeated(self, row: Row, entry: Entry) -> Row:
        """What is there, if that is what is put in: of the same octets, or of the same mark."""
        found = self._one("SELECT raw, mark FROM contents WHERE id = :id", id=row.id)
        stored, mark = (None, None) if found is None else found
        if entry.raw == stored or (mark is not None and mark == entry.stored_mark):
            return replace(row, is_repeated=not self._runs_again)
        named = f"with the Message-ID {entry.message_id} is in the outbox, as {row.id}"
        if mark is None or entry.mark is None:
            raise MalformedMessage(
                f"a message {named}, and nobody can tell whether it is this one",
                hint="outbox list shows what became of it; if this is another message, give it a"
                " Message-ID of its own",
            )
        raise MalformedMessage(
            f"another message {named}", hint="give each message a Message-ID of its own"
        )

    def _get(self, number: object) -> Row:
        return row_of(self._one(f"SELECT {ROWS} WHERE id = :id", id=number))

    @_transaction("one")
    def get(self, now: float, number: int) -> Row | None:
        del now
        found = self._one(f"SELECT {ROWS} WHERE id = :id", id=number)
        return None if found is None else row_of(found)

    @_transaction("read")
    def rows(self, now: float) -> list[tuple[Row, tuple[Attempt, ...]]]:
        """All messages, the oldest first, each with its attempts."""
        del now
        found = self._execute(f"SELECT {ROWS} ORDER BY id").fetchall()
        attempts: dict[int, list[Attempt]] = {}
        for message, *rest in self._execute(
            "SELECT message, number, began, client_request_id, request_id, outcome"
            " FROM attempts ORDER BY message, number"
        ):
            attempts.setdefault(message, []).append(attempt_of(*rest))
        return [(row_of(one), tuple(attempts.get(one[0], ()))) for one in found]

    @_transaction("on disk")
    def retry(self, now: float, numbers: Sequence[int]) -> None:
        """Queue messages again that are unknown or failed, or wait, and leave their mailboxes alone
        no longer; UsageError changes nothing.
        """
        rows = self._named(numbers, now, what="sent again")
        for row in rows:
            if row.state == "sent":
                raise UsageError(
                    f"message {row.id} of the outbox was sent, so it is not sent again",
                    hint="drop it and put it in again if it is to go out a second time",
                )
            self._execute(
                "UPDATE messages SET state = 'queued', due = :now, changed = :now, looks = 0,"
                " lease = '', lease_until = 0 WHERE id = :id",
                now=now,
                id=row.id,
            )
        for mailbox in sorted({row.mailbox for row in rows}):
            self._execute("DELETE FROM mailboxes WHERE mailbox = :mailbox", mailbox=mailbox)

    @_transaction("on disk")
    def drop(self, now: float, numbers: Sequence[int]) -> list[Row]:
        """Take messages out; UsageError changes nothing."""
        rows = self._named(numbers, now, what="dropped")
        for row in rows:
            self._execute("DELETE FROM messages WHERE id = :id", id=row.id)
        return rows

    def _named(self, numbers: Sequence[int], now: float, *, what: str) -> list[Row]:
        rows = []
        for number in sorted(set(numbers)):
            found = self._one(f"SELECT {ROWS} WHERE id = :id{self._LOCKED}", id=number)
            if found is None:
                raise UsageError(
                    f"the outbox has no message {number}", hint="outbox list shows what it has"
                )
            row = row_of(found)
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

    @_transaction("change")
    def purge(self, now: float, *, keep: float) -> None:
        """Forget what was sent more than so many seconds ago."""
        self._execute(
            "DELETE FROM messages WHERE state = 'sent' AND changed < :before", before=now - keep
        )

    # --- what carries -----------------------------------------------------------------------------

    def claim(self, *, seconds: float, only: int | None = None) -> Row | None:
        """Take the lease of a message that is due, None where none is (that may be carried now).

        One that was being tried, and whose lease ran out, belonged to somebody who is gone: whether
        it was sent is `unknown` now.
        """
        lease = f"{self._process} {secrets.token_hex(8)}"
        while True:
            try:
                return self._claim(seconds, only, lease)
            except _Busy:  # from now on that mailbox is passed over
                continue

    @_transaction("change")
    def _claim(self, now: float, seconds: float, only: int | None, lease: str) -> Row | None:
        if self._runs_again:
            taken = self._one(f"SELECT {ROWS} WHERE lease_until > 0 AND lease = :l", l=lease)
            if taken is not None:
                return row_of(taken)
        self._end_leases_of_the_dead(now)
        found = self._one(
            # with the plus signs SQLite's index gives the first, and not all of them to be sorted
            f"SELECT {ROWS} WHERE due IS NOT NULL AND (+due <= :now OR +due > :far)"  # noqa: S608
            " AND (lease_until <= :now OR lease_until > :far)"
            " AND (CAST(:only AS BIGINT) IS NULL OR id = :only) AND mailbox NOT IN ("
            "SELECT mailbox FROM messages"
            " WHERE lease_until > 0 AND lease_until > :now AND lease_until < :far"
            " GROUP BY mailbox HAVING count(*) >= :at_once UNION"
            " SELECT mailbox FROM mailboxes WHERE not_before > :now AND not_before < :far)"
            f" ORDER BY due, id LIMIT 1{self._NOBODYS}",
            now=now,
            far=now + _FAR,
            only=only,
            at_once=AT_ONCE,
        )
        if found is None:
            return None
        row = row_of(found)
        if not self._may_carry(row.mailbox, now):
            raise _Busy
        crashed = row.state == "trying"
        self._execute(
            "UPDATE messages SET state = :state, lease = :lease, lease_until = :until,"
            " error = :error WHERE id = :id",
            state="unknown" if crashed else row.state,
            lease=lease,
            until=now + seconds,
            error="whoever sent it was ended in the middle" if crashed else row.error,
            id=row.id,
        )
        return self._get(row.id)

    def _end_leases_of_the_dead(self, now: float) -> None:
        held = self._execute(
            "SELECT DISTINCT lease FROM messages WHERE lease_until > 0 AND lease_until > :now",
            now=now,
        ).fetchall()
        for (lease,) in held:
            if self._is_gone(lease):
                self._execute(
                    "UPDATE messages SET lease_until = 0, due = least(due, :now)"
                    " WHERE lease_until > 0 AND lease = :lease",
                    now=now,
                    lease=lease,
                )

    def _count_leased(self, mailbox: str, now: float) -> int:
        (count,) = self._one(
            "SELECT count(*) FROM messages WHERE mailbox = :mailbox"
            " AND lease_until > 0 AND lease_until > :now AND lease_until < :far",
            mailbox=mailbox,
            now=now,
            far=now + _FAR,
        )
        return int(count)

    def _is_gone(self, lease: str) -> bool:
        """Has the process ended that has it? False where nobody can tell."""
        if not self._process or lease.count(" ") != 3:
            return False
        machine, number, began, _ = lease.split(" ")
        return machine == self._process.split(" ")[0] and started(number) != began

    @_transaction("one")
    def content(self, now: float, row: Row) -> bytes:
        del now
        found = self._one("SELECT raw FROM contents WHERE id = :id", id=row.id)
        if found is None:
            raise LeaseLost
        return bytes(found[0])

    @_transaction("change")
    def mark_draft(
        self, now: float, row: Row, *, draft_id: str | None, message_id: str | None = None
    ) -> None:
        """A draft is about to be made, or is there (`draft_id`, and its Message-ID where that is
        learnt); LeaseLost where it must not be.
        """
        self._keep_lease(row, now)
        self._execute(
            "UPDATE messages SET drafting = coalesce(drafting, :now), draft_id = :draft_id,"
            " message_id = :message_id WHERE id = :id",
            now=now,
            draft_id=draft_id,
            message_id=row.message_id if message_id is None else message_id,
            id=row.id,
        )

    @_transaction("on disk")
    def begin(self, now: float, row: Row, sending: Sending, *, seconds: float) -> None:
        """An attempt is about to begin: on disk when this returns. LeaseLost: it must not."""
        self._keep_lease(row, now)
        began = (row.began, row.server_began) if row.began is not None else self._times(now)
        self._execute(
            "UPDATE messages SET state = 'trying', changed = :now, attempts = :number,"
            " draft_id = :draft_id, lease_until = :until, due = :until, began = :began,"
            " server_began = :server_began WHERE id = :id",
            now=now,
            number=row.attempts + 1,
            draft_id=sending.draft_id,
            until=now + seconds,
            began=began[0],
            server_began=began[1],
            id=row.id,
        )
        self._execute(
            "INSERT INTO attempts VALUES (:id, :number, :now, :client_request_id, NULL, NULL)"
            " ON CONFLICT (message, number) DO UPDATE SET began = excluded.began,"
            " client_request_id = excluded.client_request_id, request_id = NULL, outcome = NULL",
            id=row.id,
            number=row.attempts + 1,
            now=now,
            client_request_id=sending.client_request_id,
        )
        self._execute(
            "DELETE FROM attempts WHERE message = :id AND number <= :number",
            id=row.id,
            number=row.attempts + 1 - _MOST_ATTEMPTS,
        )

    def _keep_lease(self, row: Row, now: float) -> None:
        found = self._one(f"SELECT {ROWS} WHERE id = :id{self._LOCKED}", id=row.id)
        held = None if found is None else row_of(found)
        if held is None or held.lease != row.lease or held.lease_until <= now:
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

    @_transaction("change")
    def finish(
        self,
        now: float,
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
        error = None if error is None else error[:_ERROR]
        if attempted:
            self._execute(
                "UPDATE attempts SET request_id = :request_id, outcome = :outcome"
                " WHERE message = :id AND number = :number",
                request_id=request_id,
                outcome=error or state,
                id=row.id,
                number=row.attempts + 1,
            )
        changed = self._execute(
            "UPDATE messages SET state = :state, due = :due, error = :error,"
            " changed = CASE WHEN state = :state AND changed <= :now THEN changed ELSE :now END,"
            " draft_id = :draft_id, lease = '', lease_until = 0,"
            " looks = CASE WHEN :state = 'unknown' THEN looks + 1 ELSE 0 END,"
            " drafting = CASE WHEN :undrafted THEN :drafting ELSE drafting END,"
            " began = CASE WHEN :settled THEN :began ELSE began END,"
            " server_began = CASE WHEN :settled THEN :server_began ELSE server_began END"
            " WHERE id = :id AND lease = :lease",
            state=state,
            now=now,
            due=due,
            error=error,
            draft_id=draft_id,
            undrafted=undrafted,
            drafting=row.drafting,
            settled=settled,
            began=row.began,
            server_began=row.server_began,
            id=row.id,
            lease=row.lease,
        )
        if not changed.rowcount and state == "sent":
            # somebody else has it by now; that it was sent is true all the same
            self._execute(
                "UPDATE messages SET state = 'sent', changed = :now, due = NULL, error = NULL,"
                " lease = '', lease_until = 0 WHERE id = :id AND state NOT IN ('trying', 'sent')",
                now=now,
                id=row.id,
            )
        if hold is None:
            self._execute(
                "UPDATE mailboxes SET failures = 0 WHERE mailbox = :mailbox AND failures > 0",
                mailbox=row.mailbox,
            )
        else:
            # those that fail together have failed once
            self._execute(
                "INSERT INTO mailboxes VALUES (:mailbox, :until, 1) ON CONFLICT (mailbox) DO UPDATE"
                " SET failures = mailboxes.failures"
                " + CASE WHEN mailboxes.not_before <= :now THEN 1 ELSE 0 END,"
                " not_before = greatest(mailboxes.not_before, excluded.not_before)",
                mailbox=row.mailbox,
                until=now + hold,
                now=now,
            )

    @_transaction("change")
    def release(self, now: float, row: Row) -> None:
        """Give the lease back of a message that was let go in the middle."""
        self._execute(
            "UPDATE messages SET due = :now, lease = '', lease_until = 0,"
            " changed = CASE WHEN state = 'trying' THEN :now ELSE changed END,"
            " error = CASE WHEN state = 'trying' THEN 'interrupted' ELSE error END,"
            " state = CASE WHEN state = 'trying' THEN 'unknown' ELSE state END"
            " WHERE id = :id AND lease = :lease",
            now=now,
            id=row.id,
            lease=row.lease,
        )

    @_transaction("one")
    def failures(self, now: float, mailbox: str) -> int:
        """How often in a row nothing of the mailbox could be carried."""
        del now
        found = self._one(
            "SELECT failures FROM mailboxes WHERE mailbox = :mailbox", mailbox=mailbox
        )
        return 0 if found is None else int(found[0])

    @_transaction("one")
    def next_due(self, now: float) -> float | None:
        """When something can be carried that nobody carries now; None: nothing is to be done."""
        (when,) = self._one(
            "SELECT min(greatest(CASE WHEN due > :far THEN 0 ELSE due END,"
            " CASE WHEN lease_until > :far THEN 0 ELSE lease_until END,"
            " CASE WHEN coalesce(not_before, 0) > :far THEN 0 ELSE coalesce(not_before, 0) END))"
            " FROM messages LEFT JOIN mailboxes USING (mailbox) WHERE due IS NOT NULL",
            far=now + _FAR,
        )
        return None if when is None else float(when)

    @_transaction("one")
    def counts(self, now: float) -> dict[str, int]:
        del now
        return dict(self._execute("SELECT state, count(*) FROM messages GROUP BY state").fetchall())
