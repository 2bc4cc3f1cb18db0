"""The folders of a mailbox: those that every mailbox has, and those that were made.

A folder's key is what the messages in it name: the well-known name, or the id of one that was made.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

FOLDERS = {  # well-known name: display name
    "inbox": "Inbox",
    "drafts": "Drafts",
    "sentitems": "Sent Items",
    "deleteditems": "Deleted Items",
    "outbox": "Outbox",
    "junkemail": "Junk Email",
    "archive": "Archive",
}
ROOT = "msgfolderroot"  # above all others; no message lies in it
DEPTH_LIMIT = 300  # of folders in folders, as in Exchange


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: its key, its display name and the key of the one above it."""

    key: str
    name: str
    parent: str

    @property
    def is_made(self) -> bool:
        return self.key not in FOLDERS and self.key != ROOT


def folder_id(guid: str, key: str) -> str:
    """The id of a folder in the mailbox of the user `guid`."""
    if key not in FOLDERS and key != ROOT:
        return key
    digest = hashlib.sha256(f"{guid}/{key}".encode()).digest()
    return "AQMkAD" + base64.urlsafe_b64encode(digest[:31]).decode()


class FolderTable:
    """The folders in the file. Every call is inside a transaction of the store."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, mailbox: int, guid: str, text: str) -> Folder | None:
        """A folder by its id, or by its well-known name in any case."""
        if text.lower() in FOLDERS:
            return Folder(text.lower(), FOLDERS[text.lower()], ROOT)
        if text.lower() == ROOT:
            return Folder(ROOT, "Top of Information Store", ROOT)
        for key in (*FOLDERS, ROOT):
            if folder_id(guid, key) == text:
                return self.find(mailbox, guid, key)
        row = self._db.execute(
            "SELECT id, name, parent FROM folders WHERE id = ? AND mailbox = ?", (text, mailbox)
        ).fetchone()
        return None if row is None else Folder(*row)

    def below(self, mailbox: int, parent: str) -> Sequence[Folder]:
        """The folders in a folder: the well-known ones first, then by name."""
        rows = self._db.execute(
            "SELECT id, name, parent FROM folders WHERE mailbox = ? AND parent = ? ORDER BY name",
            (mailbox, parent),
        )
        known = FOLDERS.items() if parent == ROOT else ()
        return [Folder(key, name, ROOT) for key, name in known] + [Folder(*row) for row in rows]

    def count_below(self, mailbox: int, parent: str) -> int:
        (made,) = self._db.execute(
            "SELECT count(*) FROM folders WHERE mailbox = ? AND parent = ?", (mailbox, parent)
        ).fetchone()
        return int(made) + (len(FOLDERS) if parent == ROOT else 0)

    def named(self, mailbox: int, parent: str, name: str) -> bool:
        """Whether a folder has one of that name in it, in any case."""
        return any(one.name.lower() == name.lower() for one in self.below(mailbox, parent))

    def above(self, mailbox: int, key: str) -> Sequence[str]:
        """The keys of a folder and of those above it, without the root's."""
        found: list[str] = []
        while key != ROOT:
            found.append(key)
            row = self._db.execute(
                "SELECT parent FROM folders WHERE id = ? AND mailbox = ?", (key, mailbox)
            ).fetchone()
            key = ROOT if row is None else row[0]
        return found

    def all_below(self, mailbox: int, key: str) -> Sequence[str]:
        """The keys of a folder and of all folders in it, however deep."""
        rows = self._db.execute(
            "WITH RECURSIVE inner (id) AS (VALUES (?) UNION "
            "SELECT folders.id FROM folders JOIN inner ON folders.parent = inner.id "
            "WHERE folders.mailbox = ?) SELECT id FROM inner",
            (key, mailbox),
        )
        return [row[0] for row in rows]

    def changes(
        self, mailbox: int, *, since: int, until: int, after: int, limit: int
    ) -> Sequence[tuple[int, str, bool]]:
        """What became of those that were made between two changes, in order, and past the change
        `after`: its number, the folder, and whether that is gone.
        """
        rows = self._db.execute(
            "SELECT last, id, gone FROM folder_changes WHERE mailbox = ? AND last > ? "
            "AND last <= ? AND (first <= ? OR NOT gone) ORDER BY last LIMIT ?",
            (mailbox, max(after, since), until, since, limit),
        )
        return [(number, key, bool(gone)) for number, key, gone in rows]

    def add(self, mailbox: int, parent: str, name: str) -> Folder:
        key = "AAMkAF" + base64.urlsafe_b64encode(secrets.token_bytes(31)).decode()
        self._db.execute("INSERT INTO folders VALUES (?, ?, ?, ?)", (key, mailbox, parent, name))
        return Folder(key, name, parent)

    def change(self, folder: Folder, *, name: str, parent: str) -> Folder:
        self._db.execute(
            "UPDATE folders SET name = ?, parent = ? WHERE id = ?", (name, parent, folder.key)
        )
        return Folder(folder.key, name, parent)

    def remove(self, key: str) -> None:
        self._db.execute("DELETE FROM folders WHERE id = ?", (key,))
