"""Mailboxes in SQLite: in memory unless a file is named.

One connection and one lock, so any thread may call. Two processes may share a file: every
change is one `BEGIN IMMEDIATE` transaction, and whoever comes second waits. With a write-ahead
log that is not waited for: what was accepted outlives the process, however that ends, and not
the loss of power.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from smime_graph.database import turn_wal_on
from smime_graph.errors import UsageError
from smime_graph.files import make_private

from .folders import FolderTable
from .headers import HEADER_LIMIT
from .mime import Summary
from .records import Account, Change, Content, Item, Outbound, dump, load
from .schema import STEPS
from .uploads import UploadTable

_APPLICATION = 0x534D4745  # "SMGE": marks the file as one of ours
_VERSION = len(STEPS)
_BUSY_SECONDS = 15.0

_COLUMNS = (
    "number, mailbox, folder, id, immutable_id, change_key, digest, size, is_draft, is_read, "
    "created, modified, received, sent, leaves_at, shown, marks, "
    "(SELECT raw FROM contents WHERE digest = shown)"
)


class Store:
    """The mailboxes. Reading and writing both happen inside `transaction()`."""

    def __init__(
        self, data: str | Path = ":memory:", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._closed = False
        make_private(data)
        try:
            self._db = sqlite3.connect(
                str(data), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, ValueError) as error:  # ValueError: a NUL in the name
            raise UsageError(
                f"{data}: cannot be opened as a mailbox file: {_reason(data) or error}",
                hint="name a file in a folder that you can write to",
            ) from None
        try:
            self._db.execute("PRAGMA foreign_keys = ON")
            self.folders, self.uploads = FolderTable(self._db), UploadTable(self._db)
            self._prepare(data)
        except sqlite3.Error as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):  # the disk, the rights, another process
                raise UsageError(
                    f"{data} cannot be used as a mailbox file: {error}",
                    hint="check the disk, the permissions, and whether another program holds it",
                ) from None
            raise UsageError(
                f"{data}: is not a mailbox file: {error}", hint="name a new file, or none at all"
            ) from None
        except UsageError:
            self._db.close()
            raise

    def _prepare(self, data: str | Path) -> None:
        with self._begun(write=False):
            self._version(data)  # before anything is written to a file that is none of ours
        turn_wal_on(self._db)
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._begun(write=True):
            version = self._version(data)  # another process may have made it meanwhile
            if version == _VERSION:
                return
            for number in range(version, _VERSION):
                for statement in STEPS[number]:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _version(self, data: str | Path) -> int:
        """0 of a new file; UsageError where it is none of ours."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and (application != _APPLICATION or not 0 < version <= _VERSION):
            raise UsageError(
                f"{data}: is a database of something else, a mailbox file (version "
                f"{_VERSION}) was wanted",
                hint="name a new file, or none at all",
            )
        return int(version) if tables else 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[None]:
        """All or nothing. `write` takes the write lock at once, so that reads inside it stay
        true. Drafts whose time to leave has come are in Sent Items by then.
        """
        with self._lock:
            if self._closed:
                raise UsageError("the emulator is closed", hint="make a new one")
            now = self._clock()
            with self._begun(write=write):
                due = self._leaving(now)
                if due and not write:  # begin anew, since another process may have moved them
                    self._db.execute("COMMIT")
                    self._db.execute("BEGIN IMMEDIATE")
                    due = self._leaving(now)
                for number, when in due:
                    self.move(self.item(number), "sentitems", now=when)
                yield

    @contextmanager
    def _begun(self, *, write: bool) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _leaving(self, now: float) -> Sequence[tuple[int, float]]:
        return self._db.execute(
            "SELECT number, leaves_at FROM messages WHERE leaves_at > 0 AND leaves_at <= ? "
            "ORDER BY leaves_at, number",
            (now,),
        ).fetchall()

    # Mailboxes

    def add_account(self, address: str) -> Account:
        """Make a mailbox, or find it if it is there."""
        self._db.execute(
            "INSERT INTO mailboxes (address, key, domain, guid) VALUES (?, ?, ?, ?) ON "
            "CONFLICT DO NOTHING",
            (address, address.lower(), _domain(address), str(uuid.uuid4())),
        )
        account = self.account(address)
        if account is None:
            raise UsageError(f"mailbox {address}: could not be made")
        return account

    def account_by_address(self, address: str) -> Account | None:
        return self._account("key = :value", address.lower())

    def account(self, name: str) -> Account | None:
        """Find a mailbox by address (any case) or by the user's id."""
        return self._account("key = :value OR guid = :value", name.lower())

    def account_of(self, item: Item) -> Account:
        account = self._account("number = :value", item.mailbox)
        if account is None:
            raise LookupError("a message without a mailbox")
        return account

    def accounts(self, *, limit: int) -> Sequence[Account]:
        """The oldest mailboxes."""
        rows = self._db.execute(
            "SELECT number, address, guid FROM mailboxes ORDER BY number LIMIT ?", (limit,)
        )
        return [Account(*row) for row in rows]

    def first_account(self) -> Account | None:
        return self._account("number >= :value ORDER BY number LIMIT 1", 0)

    def _account(self, where: str, value: object) -> Account | None:
        # parameters by name: sqlite3 of Python 3.12.1 warns of ?1, which its successors take
        row = self._db.execute(
            f"SELECT number, address, guid FROM mailboxes WHERE {where}",  # noqa: S608 - constants above
            {"value": value},
        ).fetchone()
        return Account(*row) if row else None

    def is_own_domain(self, address: str) -> bool:
        return bool(
            self._db.execute(
                "SELECT 1 FROM mailboxes WHERE domain = ? LIMIT 1", (_domain(address),)
            ).fetchone()
        )

    def add_sender(self, account: Account, address: str, *, on_behalf: bool) -> None:
        """Let a mailbox send with another From than its own."""
        self._db.execute(
            "INSERT OR REPLACE INTO senders VALUES (?, ?, ?)",
            (account.number, address.lower(), on_behalf),
        )

    def sender(self, account: Account, key: str) -> Literal["as", "on behalf"] | None:
        """How a mailbox may send with that From, by its key; None: not at all."""
        row = self._db.execute(
            "SELECT on_behalf FROM senders WHERE mailbox = ? AND key = ?", (account.number, key)
        ).fetchone()
        return None if row is None else "on behalf" if row[0] else "as"

    # Messages

    def insert(
        self,
        account: Account,
        *,
        folder: str,
        content: Content,
        now: float,
        is_draft: bool = False,
        is_read: bool = False,
        leaves_at: float = 0.0,
        item_id: str | None = None,
        received: float | None = None,
        marks: Mapping[str, Any] | None = None,
    ) -> Item:
        """Store a message. `item_id` is for tests that want to plant one with a certain id."""
        identity = (item_id or new_id("AAMkAD"), new_id("AAkALg"), new_change_key())
        digest, summary = content.digest, content.summary
        times = now, now, now if received is None else received, _sent(summary, now)
        cursor = self._db.execute(
            "INSERT INTO messages (mailbox, folder, id, immutable_id, change_key, "
            "internet_message_id, digest, "
            "size, is_draft, is_read, created, modified, received, sent, leaves_at, shown, marks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (account.number, folder, *identity, summary.message_id, digest, content.size)
            + (is_draft, is_read, *times, leaves_at, content.shown)
            + (json.dumps(marks) if marks else "{}",),
        )
        return Item(
            cursor.lastrowid or 0,
            *(account.number, folder, *identity, digest, content.size, is_draft, is_read),
            *times,
            leaves_at=leaves_at,
            shown=content.shown,
            marks=marks or {},
            summary=summary,
        )

    def mark(self, item: Item, *, is_read: bool, marks: Mapping[str, Any], now: float) -> Item:
        """Set what is no part of the message; the change key is another one afterwards."""
        self._db.execute(
            "UPDATE messages SET is_read = ?, marks = ?, modified = ?, change_key = ? "
            "WHERE number = ?",
            (is_read, json.dumps(marks), now, new_change_key(), item.number),
        )
        return self.item(item.number)

    def copy(self, item: Item, folder: str, *, now: float) -> Item:
        """Another message of the same bytes."""
        return self.insert(
            Account(item.mailbox, "", ""),
            folder=folder,
            content=Content(item.digest, item.shown, item.size, item.summary),
            now=now,
            is_draft=item.is_draft,
            is_read=item.is_read,
            received=item.received,
            marks=item.marks,
        )

    def replace(self, item: Item, *, content: Content, now: float) -> Item:
        """Give an item other bytes; its ids stay, its change key does not."""
        self._db.execute(
            "UPDATE messages SET digest = ?, size = ?, shown = ?, internet_message_id = ?, "
            "sent = ?, "
            "modified = ?, change_key = ? WHERE number = ?",
            (content.digest, content.size, content.shown, content.summary.message_id)
            + (_sent(content.summary, now), now, new_change_key(), item.number),
        )
        self.release(item)
        return self.item(item.number)

    def item(self, number: int) -> Item:
        """The message of a row that is known to be there."""
        return self._items("number = ?", (number,))[0]

    def send_later(self, item: Item, when: float) -> None:
        """Let a draft go to Sent Items at that time."""
        self._db.execute("UPDATE messages SET leaves_at = ? WHERE number = ?", (when, item.number))

    def move(self, item: Item, folder: str, *, now: float, is_draft: bool = False) -> Item:
        """Move an item: the id changes, the immutable id does not (Graph, outlook-immutable-id)."""
        self._db.execute(
            "UPDATE messages SET folder = ?, id = ?, change_key = ?, is_draft = ?, modified = "
            "?, leaves_at = 0 WHERE number = ?",
            (folder, new_id("AAMkAD"), new_change_key(), is_draft, now, item.number),
        )
        return self.item(item.number)

    def delete(self, item: Item) -> None:
        self._db.execute("DELETE FROM messages WHERE number = ?", (item.number,))
        self.release(item)

    def find(self, item_id: str) -> Item | None:
        """Find an item by either of its ids; the id of an item that moved is nobody's."""
        found = self._items("id = ? OR immutable_id = ?", (item_id, item_id))
        return found[0] if found else None

    def list(
        self,
        account: Account,
        *,
        folder: str | None = None,
        message_id: str | None = None,
        oldest_first: bool = False,
        limit: int = -1,
        skip: int = 0,
    ) -> Sequence[Item]:
        direction = "ASC" if oldest_first else "DESC"
        where = ["mailbox = ?"]
        values: list[object] = [account.number]
        if folder is not None:
            where.append("folder = ?")
            values.append(folder)
        if message_id is not None:
            where.append("internet_message_id = ?")
            values.append(message_id)
        return self._items(
            f"{' AND '.join(where)} ORDER BY received {direction}, number {direction} LIMIT ? "
            "OFFSET ?",
            (*values, limit, skip),
        )

    def count(self, account: Account, folder: str) -> tuple[int, int, int]:
        """How many messages a folder has, how many of them unread, and their size in bytes."""
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(NOT is_read), 0), coalesce(sum(size), 0) FROM messages "
            "WHERE mailbox = ? AND folder = ?",
            (account.number, folder),
        ).fetchone()
        return row[0], row[1], row[2]

    # What has changed: every change of a message has a number, and later ones have higher numbers

    def sequence(self) -> int:
        """The number of the last change."""
        return int(self._db.execute("SELECT value FROM sequence").fetchone()[0])

    def changes(
        self,
        account: Account,
        folder: str,
        *,
        since: int,
        until: int,
        after: int,
        limit: int,
    ) -> Sequence[Change]:
        """What changed in a folder between two changes, in order, and past the change `after`."""
        rows = self._db.execute(
            "SELECT last, id, immutable_id, first > ?, gone FROM changes "
            "WHERE mailbox = ? AND folder = ? AND last > ? AND last <= ? "
            "AND (first <= ? OR NOT gone) ORDER BY last LIMIT ?",
            (since, account.number, folder, max(after, since), until, since, limit),
        ).fetchall()
        return tuple(
            Change(number, own_id, immutable_id, bool(is_new), None if gone else self._item(own_id))
            for number, own_id, immutable_id, is_new, gone in rows
        )

    def _item(self, item_id: str) -> Item:
        return self._items("id = ?", (item_id,))[0]

    def raw(self, item: Item) -> bytes:
        row = self._db.execute("SELECT raw FROM contents WHERE digest = ?", (item.digest,))
        return bytes(row.fetchone()[0])

    def head(self, item: Item) -> bytes:
        """Its beginning, with the whole header."""
        row = self._db.execute(
            "SELECT substr(raw, 1, ?) FROM contents WHERE digest = ?", (HEADER_LIMIT, item.digest)
        )
        return bytes(row.fetchone()[0])

    def _items(self, where: str, values: Sequence[object]) -> Sequence[Item]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM messages WHERE {where}",  # noqa: S608 - constants above
            values,
        )
        items = []
        for row in rows:
            flags = bool(row[8]), bool(row[9])
            columns: tuple[Any, ...] = (
                *row[:8],
                *flags,
                *row[10:16],
                json.loads(row[16]),
                load(row[17]),
            )
            items.append(Item(*columns))
        return tuple(items)

    # Contacts

    def add_contact(self, account: Account, shown: dict[str, Any]) -> str:
        """Keep a contact as it is shown, but for its id, which this makes."""
        contact_id = new_id("AAMkAC")
        self._db.execute(
            "INSERT INTO contacts (mailbox, id, shown) VALUES (?, ?, ?)",
            (account.number, contact_id, json.dumps(shown)),
        )
        return contact_id

    def change_contact(self, contact_id: str, shown: dict[str, Any]) -> None:
        self._db.execute(
            "UPDATE contacts SET shown = ? WHERE id = ?", (json.dumps(shown), contact_id)
        )

    def delete_contact(self, contact_id: str) -> None:
        self._db.execute("DELETE FROM contacts WHERE id = ?", (contact_id,))

    def contacts(self, account: Account) -> Sequence[dict[str, Any]]:
        rows = self._db.execute(
            "SELECT id, shown FROM contacts WHERE mailbox = ? ORDER BY number", (account.number,)
        )
        return [{"id": contact_id, **json.loads(shown)} for contact_id, shown in rows]

    # The same bytes lie in many mailboxes: they are kept once, so that 500 recipients are no 500
    # copies.

    def keep(self, raw: bytes, summary: Summary) -> Content:
        """Store bytes, for any number of mailboxes; `release` what none of them took."""
        shown = self._keep(dump(summary))
        return Content(self._keep(raw), shown, len(raw), summary)

    def _keep(self, raw: bytes) -> bytes:
        digest = hashlib.sha256(raw).digest()
        self._db.execute("INSERT INTO contents VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, raw))
        return digest

    def release(self, kept: Content | Item) -> None:
        """Drop the bytes, unless they are in a mailbox or have left the building."""
        for digest in (kept.digest, kept.shown):
            self._db.execute(
                "DELETE FROM contents WHERE digest = :digest "
                "AND NOT EXISTS (SELECT 1 FROM messages WHERE digest = :digest) "
                "AND NOT EXISTS (SELECT 1 FROM messages WHERE shown = :digest) "
                "AND NOT EXISTS (SELECT 1 FROM outbound WHERE digest = :digest)",
                {"digest": digest},
            )

    # What left the building, and what a mailbox has seen

    def add_outbound(self, *, sender: str, recipient: str, content: Content) -> None:
        self._db.execute(
            "INSERT INTO outbound (sender, recipient, internet_message_id, digest) "
            "VALUES (?, ?, ?, ?)",
            (sender, recipient, content.summary.message_id, content.digest),
        )

    def outbound(self) -> tuple[Outbound, ...]:
        rows = self._db.execute(
            "SELECT sender, recipient, internet_message_id, raw FROM outbound JOIN contents "
            "USING (digest) ORDER BY number"
        )
        return tuple(Outbound(*row) for row in rows)

    def learn_header(self, account: Account, name: str) -> bool:
        """Note that a mailbox has met a header field; True if it knew the name already."""
        cursor = self._db.execute(
            "INSERT INTO known_headers VALUES (?, ?) ON CONFLICT DO NOTHING", (account.number, name)
        )
        return cursor.rowcount == 0


def _reason(data: str | Path) -> str | None:
    """Why a file cannot be opened, in the words of the system; SQLite has none."""
    try:
        with Path(data).open("r+b"):
            return None
    except OSError as error:
        return error.strerror
    except ValueError:
        return None


def new_id(prefix: str) -> str:
    return prefix + base64.urlsafe_b64encode(secrets.token_bytes(31)).decode()


def new_change_key() -> str:
    return "CQAAABYAAAB" + base64.b64encode(secrets.token_bytes(21)).decode()


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _sent(summary: Summary, now: float) -> float:
    # Graph promotes the Date field to sentDateTime, on drafts too (sample of createForward).
    return now if summary.date is None else summary.date
