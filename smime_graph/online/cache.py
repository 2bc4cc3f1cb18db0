"""What was fetched, kept in SQLite until it runs out (nextUpdate).

Nothing in it is believed: it is held against its issuer like everything else, so a file that
somebody else has made can at most hide a newer answer. That, too, is refused: the file is the
user's own, and only the user's to write. Each access is one of its own, so that threads and
processes share it; where the file cannot be read or written just then, it is as if nothing were
there.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ..errors import UsageError

VERSION = 1
MAX_OCTETS = 64 << 20
_BUSY_SECONDS = 2.0
_SCHEMA = f"""
    DROP TABLE IF EXISTS kept;
    CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL);
    PRAGMA user_version = {VERSION};
"""


class Cache:
    """A file at `path`; made (0600) where it is not there, made anew where it is broken or older.

    UsageError where the place cannot be used, the file may be written by others, or a newer version
    has made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_owner()
            try:
                self._prepare()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # it is no database, or no whole one
                path.unlink()
                self._check_owner()
                self._prepare()
        except (OSError, sqlite3.Error, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(
                f"the cache {path} cannot be used: {reason}", hint="name another place for it"
            ) from None

    def get(self, key: str, at: datetime) -> bytes | None:
        """What was kept and has not run out at the time; None where there is nothing."""
        query = "SELECT value FROM kept WHERE key = ? AND until > ?"
        try:
            with self._open() as db:
                row = db.execute(query, (key, at.timestamp())).fetchone()
        except (sqlite3.Error, OSError, UsageError):
            return None
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def put(self, key: str, value: bytes, until: datetime) -> None:
        """Keep it in the place of what was there. What ran out is dropped, and what runs out first
        where all together are too much.
        """
        now = datetime.now(UTC)
        if until <= now or len(value) > MAX_OCTETS:
            return
        try:
            with self._open() as db, db:
                db.execute(
                    "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (key, value, until.timestamp())
                )
                db.execute("DELETE FROM kept WHERE until <= ?", (now.timestamp(),))
                sizes = db.execute("SELECT key, length(value) FROM kept ORDER BY until").fetchall()
                over = sum(size for _, size in sizes) - MAX_OCTETS
                for name, size in sizes:
                    if over <= 0:
                        break
                    db.execute("DELETE FROM kept WHERE key = ?", (name,))
                    over -= size
        except (sqlite3.Error, OSError, UsageError):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._check_owner()
        with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as db:
            yield db

    def _prepare(self) -> None:
        with self._open() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise UsageError(
                    f"the cache {self.path} has version {version}, this program knows {VERSION}",
                    hint="delete it, it is made anew; or name another place for it",
                )
            if version < VERSION:
                # what an older version kept can be fetched again
                db.execute("BEGIN IMMEDIATE")
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version < VERSION:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                db.commit()
            db.execute("SELECT key, value, until FROM kept LIMIT 1").fetchone()

    def _check_owner(self) -> None:
        """Make the file where it is not there. It must be the user's own, as must its folder be."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(self.path, flags, 0o600)
        try:
            held = os.fstat(handle)
        finally:
            os.close(handle)
        if not stat.S_ISREG(held.st_mode):
            raise UsageError(f"the cache {self.path} is no file", hint="name another place for it")
        if not hasattr(os, "geteuid"):
            return
        folder = self.path.parent.stat()
        hint = "name a place where only you may write"
        if held.st_uid != os.geteuid() or held.st_mode & 0o022:
            raise UsageError(f"the cache {self.path} may be written by others", hint=hint)
        if folder.st_uid not in (0, os.geteuid()) or (
            folder.st_mode & 0o002 and not folder.st_mode & stat.S_ISVTX
        ):
            raise UsageError(f"the folder of the cache {self.path} is open to others", hint=hint)
