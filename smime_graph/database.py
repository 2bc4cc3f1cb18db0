"""Files of our own in SQLite: their owner's alone, marked as ours, of a version, and migrated."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from .arguments import file_name
from .errors import StoreUnavailable, UsageError
from .files import is_pipe, make_private

_MAGIC = b"SQLite format 3\0"
# SQLITE_BUSY, _LOCKED, _IOERR, _FULL ("Result and Error Codes")
_PASSES = (5, 6, 10, 13)
BUSY_SECONDS = 30.0  # for which a program that writes is waited for


def turn_wal_on(db: sqlite3.Connection) -> None:
    """Let who reads and who writes not wait for each other, and a change be one write to the file.

    The one step for which SQLite itself does not wait when two processes make a file at once.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


class Database:
    """The file at `path`; made (0600) where it is not there. Any thread and process may use it.

    `what` errors call it. `application` marks the file as one of this kind, and
    step n of `steps` makes a file of version n one of version n + 1. UsageError where the file
    cannot be used, is none of this kind (then it is left as it is), or is of a newer version.
    """

    def __init__(
        self, path: str | PathLike[str], *, what: str, application: int, steps: Sequence[str]
    ) -> None:
        self._name, self._what = file_name(path), what
        self._application, self._steps = application, steps
        self._lock = threading.RLock()
        self._check_start(path)
        make_private(path)
        try:
            with self._naming():
                self._db = sqlite3.connect(
                    str(path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
        except UsageError:
            raise
        except ValueError:  # a NUL in the name
            raise UsageError(f"the {what} has no file name", hint="name a file") from None
        try:
            with self._naming():
                self._db.execute("PRAGMA foreign_keys = ON")
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _check_start(self, path: str | PathLike[str]) -> None:
        """UsageError for what is no database: a short file SQLite would take for an empty one."""
        if is_pipe(path):
            raise UsageError(f"{self._name} is a pipe, no {self._what}", hint="name a file")
        try:
            with Path(path).open("rb") as file:
                start = file.read(len(_MAGIC))
        except (OSError, ValueError):
            return  # not there, or SQLite says what is wrong with it
        if start not in (b"", _MAGIC):
            raise UsageError(
                f"{self._name} is no {self._what}", hint="name another file; it was left as it is"
            )

    @property
    def _one_of_them(self) -> str:
        return f"{'an' if self._what[0] in 'aeiou' else 'a'} {self._what}"

    def _version(self) -> int:
        """UsageError where it is not one that we know. In a transaction: another program may be
        about to make the file.
        """
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        if not tables and not version and not application:
            return 0
        if application != self._application:
            raise UsageError(
                f"{self._name} is a database of something else, not {self._one_of_them}",
                hint="name another file",
            )
        if not 0 < version <= len(self._steps):
            raise UsageError(
                f"{self._name} is {self._one_of_them} of version {version}; this program knows"
                f" {len(self._steps)}",
                hint="a newer smime-graph wrote it: use that one, or name another file",
            )
        return int(version)

    def _prepare(self) -> None:
        with self._reading():
            if self._version() == len(self._steps):
                return
        with self._changing():
            for number in range(self._version(), len(self._steps)):  # another may have done it
                for statement in self._steps[number].split(";"):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {self._application}")
            self._db.execute(f"PRAGMA user_version = {len(self._steps)}")

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """What SQLite finds wrong is a UsageError that names the file."""
        try:
            yield
        except sqlite3.OperationalError as error:  # the disk, the rights, another process
            passes = error.sqlite_errorcode & 0xFF in _PASSES
            kind = StoreUnavailable if passes else UsageError
            raise kind(
                f"the {self._what} {self._name} cannot be used: {error}",
                hint="check the folder, the permissions, the room on the disk, and whether another"
                " program holds it",
            ) from None
        except sqlite3.ProgrammingError:
            raise UsageError(f"the {self._what} is closed", hint="open it again") from None
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of the former's words
            raise UsageError(
                f"{self._name} is no {self._what}, or damaged: {error}",
                hint="name another file; this one was left as it is",
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """All that is read in it is of one moment."""
        with self._lock, self._naming():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """All that is changed in it, or nothing."""
        with self._lock, self._naming():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
