"""An outbox in a schema of its own on PostgreSQL: for workers on several machines.

Its time is the server's, so that machines whose clocks differ agree on leases. What runs in a
transaction runs again where the server was lost in it, for half a minute: each of them may have
been carried out already, and then changes nothing more. What is not to be lost is on the server's
disk, whatever its own setting of `synchronous_commit` is.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo

from ..database import BUSY_SECONDS
from ..errors import StoreUnavailable, UsageError
from ._answers import printable
from ._queue import APPLICATION, AT_ONCE, Mode, Queue
from ._queue_rows import Damaged

T = TypeVar("T")

# Step n makes a schema of version n one of version n + 1: never change a step. See `_queue_sqlite`.
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE messages (
        id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, key BYTEA NOT NULL UNIQUE,
        mailbox TEXT NOT NULL, message_id TEXT NOT NULL, recipients TEXT NOT NULL,
        via TEXT NOT NULL, size BIGINT NOT NULL, state TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL, changed DOUBLE PRECISION NOT NULL, due DOUBLE PRECISION,
        lease TEXT NOT NULL DEFAULT '', lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, looks INTEGER NOT NULL DEFAULT 0,
        drafting DOUBLE PRECISION, draft_id TEXT, began DOUBLE PRECISION,
        server_began DOUBLE PRECISION, error TEXT);
    CREATE INDEX messages_due ON messages (due, id) WHERE due IS NOT NULL;
    CREATE INDEX messages_leased ON messages (lease_until) WHERE lease_until > 0;
    CREATE INDEX messages_state ON messages (state, changed);
    CREATE TABLE contents (
        id BIGINT PRIMARY KEY REFERENCES messages ON DELETE CASCADE, raw BYTEA NOT NULL);
    CREATE TABLE attempts (
        message BIGINT NOT NULL REFERENCES messages ON DELETE CASCADE, number INTEGER NOT NULL,
        began DOUBLE PRECISION NOT NULL, client_request_id TEXT, request_id TEXT, outcome TEXT,
        PRIMARY KEY (message, number));
    CREATE TABLE mailboxes (
        mailbox TEXT PRIMARY KEY, not_before DOUBLE PRECISION NOT NULL, failures INTEGER NOT NULL)
    """,
    """
    ALTER TABLE messages ADD COLUMN action TEXT NOT NULL DEFAULT 'send';
    ALTER TABLE messages ADD COLUMN original TEXT
    """,
    "ALTER TABLE contents ADD COLUMN mark BYTEA",
)

log = logging.getLogger("smime_graph")

_SCHEMA = "smime_graph_outbox"

# A server that is gone without a word is noticed, and so is a client that holds a lock.
_CONNECTION = {
    "application_name": "smime-graph",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SESSION = f"""
    SET search_path = {_SCHEMA}, pg_catalog; SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s'
"""
_SECRETS = ("password", "sslpassword")
# "two at once cannot be", and "the server is being started or stopped" (PostgreSQL, Appendix A)
_AGAIN = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03")
_PLAIN = re.compile(r"[!-~]{1,4096}")


class PostgresQueue(Queue):
    """The outbox of the database at `url`; made where it is not there. Any thread, process and
    machine may use it. No error shows the password of the url.
    """

    _LOCKED, _NOBODYS = " FOR UPDATE", " FOR UPDATE SKIP LOCKED"

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        patience: float = BUSY_SECONDS,
    ) -> None:
        super().__init__(clock=clock, ticks=ticks)
        self._settings, self._name = _read(url)
        self._patience = patience
        self._lock = threading.RLock()
        self._db: psycopg.Connection[Any] | None = None
        self._is_closed = False
        self._ahead = 0.0  # of time.monotonic
        with self._lock, self._naming():
            self._connected()

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._db is not None:
                self._db.close()

    def now(self) -> float:
        """The server's time, as the latest transaction has told it."""
        return self._clock() if self._clock is not time.time else time.monotonic() + self._ahead

    # --- the connection ---------------------------------------------------------------------------

    def _connected(self) -> psycopg.Connection[Any]:
        if self._is_closed:
            raise UsageError("the outbox is closed", hint="open it again")
        if self._db is not None and not self._db.closed:
            return self._db
        self._db = psycopg.connect(conninfo.make_conninfo("", **self._settings), autocommit=True)
        try:
            self._db.execute(_SESSION)
            self._begin(self._db, "change")
            self._prepare(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.close()
            raise
        return self._db

    def _prepare(self, db: psycopg.Connection[Any]) -> None:
        if self._version(db) == len(_STEPS):
            return
        db.execute("SELECT pg_advisory_xact_lock(%s)", [APPLICATION])
        version = self._version(db)  # another may have done it
        if version == 0:
            db.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
            db.execute("CREATE TABLE outbox (version INTEGER NOT NULL)")
            db.execute("INSERT INTO outbox VALUES (0)")
        for step in _STEPS[version:]:
            db.execute(step)
        db.execute("UPDATE outbox SET version = %s", [len(_STEPS)])

    def _version(self, db: psycopg.Connection[Any]) -> int:
        found = db.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'p')",
            [_SCHEMA],
        ).fetchall()
        if not found:
            return 0
        if ("outbox",) not in found:
            raise UsageError(
                f"{self._name} has a schema {_SCHEMA} that is no outbox",
                hint="name another database",
            )
        versions = db.execute("SELECT version FROM outbox").fetchall()
        version = versions[0][0] if len(versions) == 1 else 0
        if not 0 < version <= len(_STEPS):
            raise UsageError(
                f"{self._name} is an outbox of version {version}; this program knows {len(_STEPS)}",
                hint="a newer smime-graph wrote it: use that one, or name another database",
            )
        return int(version)

    def _begin(self, db: psycopg.Connection[Any], mode: Mode) -> None:
        """Begin, and learn what time it is, in one message to the server."""
        kind = " ISOLATION LEVEL REPEATABLE READ READ ONLY" if mode == "read" else ""
        lasting = "on" if mode == "on disk" else "off"
        cursor = db.execute(
            f"BEGIN{kind}; SET LOCAL synchronous_commit = {lasting};"  # noqa: S608 - our own words
            " SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
        )
        while cursor.nextset():
            pass
        ((when,),) = cursor.fetchall()
        self._ahead = when - time.monotonic()

    def _transact(self, work: Callable[[float], T], mode: Mode) -> T:
        end = time.monotonic() + self._patience
        with self._lock, self._naming():
            pause, self._runs_again = 0.02, False
            while True:
                try:
                    return self._once(work, mode)
                except psycopg.Error as error:
                    if not _may_come_back(error) or time.monotonic() > end:
                        raise
                    log.info("the outbox %s is asked again: %s", self._name, type(error).__name__)
                time.sleep(pause)
                pause, self._runs_again = min(2 * pause, 0.5), True

    def _once(self, work: Callable[[float], T], mode: Mode) -> T:
        db = self._connected()
        if mode == "one":
            return work(self.now())
        self._begin(db, mode)
        try:
            done = work(self.now())
            db.execute("COMMIT")
        except BaseException:
            if not db.closed:
                db.execute("ROLLBACK")
            raise
        return done

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            text = printable(self._without_secrets(str(error)), limit=300)
            kind = StoreUnavailable if _is_away(error) else UsageError
            raise kind(
                f"the outbox {self._name} cannot be used: {text or type(error).__name__}",
                hint="check the address, whether the server runs, and what the user may do there",
            ) from None
        except Damaged as error:
            raise UsageError(
                f"{self._name} is no outbox, or damaged: {error}", hint="name another database"
            ) from None

    def _without_secrets(self, text: str) -> str:
        for name in _SECRETS:
            if self._settings.get(name):
                text = text.replace(self._settings[name], "***")
        return text

    # --- what the queue asks ----------------------------------------------------------------------

    def _execute(self, query: str, **values: Any) -> psycopg.Cursor[Any]:
        if self._db is None:
            raise UsageError("the outbox is closed")
        return self._db.execute(_in_postgres(query), values or None)

    def _may_carry(self, mailbox: str, now: float) -> bool:
        # Whoever else takes one of this mailbox has done so when we have the lock, or does it after
        # us. Nobody waits for a second one, so there is no circle.
        self._execute(
            "SELECT pg_advisory_xact_lock(:application, hashtext(:mailbox))",
            application=APPLICATION,
            mailbox=mailbox,
        )
        return self._count_leased(mailbox, now) < AT_ONCE


def _may_come_back(error: psycopg.Error) -> bool:
    """Within seconds?"""
    if error.sqlstate is not None:
        return error.sqlstate in _AGAIN or error.sqlstate.startswith("08")
    # the line was lost, or nobody is there
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _is_away(error: psycopg.Error) -> bool:
    """May it come back at all? Resources, operators and the system of the server pass as well."""
    return _may_come_back(error) or (error.sqlstate or "")[:2] in ("53", "57", "58")


@lru_cache(maxsize=64)
def _in_postgres(query: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", query)


def _read(url: str) -> tuple[dict[str, str], str]:
    """The settings of a connection, and what it is called. What cannot be read is not repeated:
    nobody knows which piece of it is the password.
    """
    refused = UsageError(
        "the address of the outbox cannot be read, wanted postgresql://USER@HOST/DATABASE",
        hint="what is special in a name or a password is percent-encoded (%40 for @); or leave the"
        " password out: PostgreSQL's password file (~/.pgpass) and PGPASSWORD count",
    )
    try:
        if not _PLAIN.fullmatch(url) or url.count("@") != urlsplit(url).netloc.count("@"):
            raise refused
        if url.count("@") > 1 or urlsplit(url).fragment:
            raise refused
        found = conninfo.conninfo_to_dict(url)
    except (ValueError, psycopg.Error):
        raise refused from None
    settings = _CONNECTION | {name: str(value) for name, value in found.items()}
    host, port = settings.get("host", ""), settings.get("port")
    place = host + (f":{port}" if port else "")
    return settings, printable(f"postgresql://{place}/{settings.get('dbname', '')}", limit=200)
