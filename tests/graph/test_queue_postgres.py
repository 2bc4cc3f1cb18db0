"""An outbox on PostgreSQL, as far as it differs from a file: who waits for whom, a server that is
lost, whose time counts, and a password that nobody sees.

What both stores have in common is tested in `test_outbox`.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smime_graph.errors import StoreUnavailable, UsageError
from smime_graph.graph import Outbox
from smime_graph.graph._queue import AT_ONCE, LeaseLost
from smime_graph.graph._queue_rows import Entry
from smime_graph.graph._sending import Sending

from .postgres import PASSWORD, SCHEMA, Server
from .test_outbox import message

psycopg = pytest.importorskip("psycopg", reason="psycopg (extra postgres) is not installed")

from smime_graph.graph import _queue_postgres  # noqa: E402
from smime_graph.graph._queue_postgres import PostgresQueue  # noqa: E402


def entry(number: int, mailbox: str = "me") -> Entry:
    to = frozenset({"bob@contoso.com"})
    return Entry(message(number), mailbox, f"<m{number}@contoso.com>", to, "sendmail")


@pytest.fixture
def queue(postgres: Server) -> Iterator[PostgresQueue]:
    made = PostgresQueue(postgres.empty(), patience=10.0)
    yield made
    made.close()


# --- several at once ------------------------------------------------------------------------------


def test_many_who_claim_at_once_get_four_of_a_mailbox_and_each_another(
    queue: PostgresQueue, postgres: Server
) -> None:
    boxes = ["a@x.y", "b@x.y"]
    queue.add([entry(number, box) for box in boxes for number in range(12)])
    workers = [PostgresQueue(postgres.url) for _ in range(8)]
    together = threading.Barrier(8)

    def claim(worker: PostgresQueue) -> list[Any]:
        together.wait()
        return [row for _ in range(4) if (row := worker.claim(seconds=60.0)) is not None]

    with ThreadPoolExecutor(8) as pool:
        rows = [row for found in pool.map(claim, workers) for row in found]
    for worker in workers:
        worker.close()
    assert len({row.id for row in rows}) == len(rows)
    assert sorted(row.mailbox for row in rows) == sorted(boxes * AT_ONCE)


def test_a_message_that_somebody_is_changing_is_not_waited_for(
    queue: PostgresQueue, postgres: Server
) -> None:
    first, second = queue.add([entry(1), entry(2)])
    with psycopg.connect(postgres.url) as other:
        other.execute(f"SELECT id FROM {SCHEMA}.messages WHERE id = {first.id} FOR UPDATE")
        row = queue.claim(seconds=60.0)
        assert row is not None
        assert row.id == second.id
        assert queue.claim(seconds=60.0) is None
    row = queue.claim(seconds=60.0)
    assert row is not None
    assert row.id == first.id


@pytest.mark.parametrize("who", ["begin", "retry", "drop"])
def test_who_changes_a_message_waits_for_whoever_takes_it(
    queue: PostgresQueue, postgres: Server, who: str
) -> None:
    """Otherwise both would carry it: who looked before the other wrote would write behind it."""
    (row,) = queue.add([entry(1)])
    mine = queue.claim(seconds=60.0)
    assert mine is not None
    if who != "begin":
        queue.release(mine)
    uses: dict[str, Callable[[], object]] = {
        "begin": lambda: queue.begin(mine, Sending(), seconds=60.0),
        "retry": lambda: queue.retry([row.id]),
        "drop": lambda: queue.drop([row.id]),
    }
    with psycopg.connect(postgres.url) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"SET search_path = {SCHEMA}")
        other.execute("SELECT id FROM messages FOR UPDATE")
        waiting = pool.submit(uses[who])
        while not postgres.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.01)
        other.execute("UPDATE messages SET lease = 'else', lease_until = %s", [time.time() + 60])
        other.commit()
        with pytest.raises(LeaseLost if who == "begin" else UsageError):
            waiting.result(10)
    found = queue.get(row.id)
    assert found is not None
    assert (found.state, found.lease) == ("queued", "else")


def test_the_same_message_put_in_by_many_at_once_is_there_once(postgres: Server) -> None:
    url = postgres.empty()
    together = threading.Barrier(8)

    def add(_: int) -> int:
        together.wait()
        with Outbox(url) as outbox:  # which eight make at once
            return outbox.add(message(1)).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(add, range(8)))) == 1
    with Outbox(url) as outbox:
        assert len(outbox.messages()) == 1


def test_the_servers_time_counts(
    queue: PostgresQueue, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add([entry(1)])
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 86_400.0)
    ahead = PostgresQueue(postgres.url, clock=time.time)
    assert abs(ahead.now() - real()) < 5.0
    assert queue.claim(seconds=60.0) is not None
    assert ahead.claim(seconds=60.0) is None  # the lease has not run out, whatever its clock says
    ahead.close()


def test_what_graph_asks_to_wait_holds_for_all_machines(
    queue: PostgresQueue, postgres: Server
) -> None:
    queue.add([entry(1), entry(2), entry(3, "other@x.y")])
    row = queue.claim(seconds=60.0)
    assert row is not None
    queue.finish(row, "queued", due=queue.now(), hold=20.0)
    other = PostgresQueue(postgres.url)
    held = [other.claim(seconds=60.0) for _ in range(2)]
    assert [one.mailbox if one else None for one in held] == ["other@x.y", None]
    assert other.failures("me") == 1
    other.close()


# --- a server that is lost ------------------------------------------------------------------------


class Lossy(PostgresQueue):
    """Loses the server once, before the statement of this number; or as the answer to COMMIT."""

    def __init__(self, url: str, server: Server, at: int | None) -> None:
        self._at, self._seen, self._postgres = at, 0, server
        self.lost = True  # none for now
        super().__init__(url, patience=20.0)

    def _execute(self, query: str, **values: Any) -> Any:
        self._seen += 1
        if self._seen - 1 == self._at and not self.lost:
            self.lost = True
            self._postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid != pg_backend_pid() AND backend_type = 'client backend'"
            )
        return super()._execute(query, **values)

    def _once(self, work: Any, mode: Any) -> Any:
        done = super()._once(work, mode)
        if self._at is None and not self.lost:
            self.lost = True
            assert self._db is not None
            self._db.close()
            raise psycopg.OperationalError("the connection is lost")
        return done

    def lose(self) -> None:
        self._seen, self.lost = 0, False


# how many statements each has, of which the server is lost before the first three
STEPS = {"add": 5, "claim": 3, "mark_draft": 2, "begin": 4, "finish": 3, "release": 1}
STEPS |= {"retry": 3, "purge": 1, "rows": 2}


def done_after(queue: Lossy, step: str, *, fails: bool) -> Any:
    """What is in it after that step, in which the server is lost."""
    queue.add([entry(number) for number in range(3)])
    row: Any = None
    if step in ("mark_draft", "begin", "finish", "release"):
        row = queue.claim(seconds=60.0)
    sending = Sending(draft_id="d", client_request_id="c")
    if step in ("finish", "release"):
        queue.begin(row, sending, seconds=60.0)
    lost: Any = {"due": 1.0, "error": "lost", "attempted": True, "hold": 50.0}
    uses: dict[str, Callable[[], Any]] = {
        "add": lambda: queue.add([entry(7), entry(1)]),
        "claim": lambda: queue.claim(seconds=60.0),
        "mark_draft": lambda: queue.mark_draft(row, draft_id="d"),
        "begin": lambda: queue.begin(row, sending, seconds=60.0),
        "finish": lambda: queue.finish(row, "unknown", **lost),
        "release": lambda: queue.release(row),
        "retry": lambda: queue.retry([1, 2, 3]),
        "purge": lambda: queue.purge(keep=0.0),
        "rows": lambda: queue.rows(),
    }
    if fails:
        queue.lose()
    uses[step]()
    rows = queue.rows()
    shown = [
        (
            one.message_id,
            one.state,
            one.attempts,
            one.looks,
            one.draft_id,
            one.error,
            one.lease != "",
        )
        for one, _ in rows
    ]
    return shown, [len(made) for _, made in rows], queue.failures("me")


@pytest.mark.parametrize(
    ("step", "at"),
    [(step, at) for step, count in STEPS.items() for at in [None, *range(min(count, 3))]],
)
def test_a_transaction_that_lost_the_server_is_done_once(
    postgres: Server, step: str, at: int | None
) -> None:
    """Whether it was carried out already (then at COMMIT) or not."""
    found = []
    for fails in (False, True):
        queue = Lossy(postgres.empty(), postgres, at)
        try:
            found.append(done_after(queue, step, fails=fails))
            assert queue.lost
        finally:
            queue.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_restarted_is_waited_for(
    queue: PostgresQueue, postgres: Server, how: signal.Signals
) -> None:
    queue.add([entry(1)])
    postgres.stop(how)
    starting = threading.Timer(0.5, postgres.start)
    starting.start()
    assert queue.claim(seconds=60.0) is not None
    starting.join()


def test_a_server_that_stays_away_is_our_error(queue: PostgresQueue, postgres: Server) -> None:
    queue._patience = 0.2
    postgres.stop()
    try:
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            queue.claim(seconds=60.0)
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            Outbox(postgres.url)
    finally:
        postgres.start()
    assert queue.claim(seconds=60.0) is None


def test_one_that_is_closed_stays_closed(queue: PostgresQueue) -> None:
    queue.close()
    for use in (queue.counts, lambda: queue.claim(seconds=1.0)):
        with pytest.raises(UsageError, match="closed"):
            use()


# --- what is there already ------------------------------------------------------------------------


def test_one_of_a_newer_version_is_left_as_it_is(postgres: Server) -> None:
    Outbox(postgres.empty()).close()
    postgres.execute("UPDATE outbox SET version = 99")
    with pytest.raises(UsageError, match="is an outbox of version 99; this program knows"):
        Outbox(postgres.url)
    assert postgres.execute("SELECT version FROM outbox") == [(99,)]


def test_one_of_an_older_version_is_migrated(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_queue_postgres, "_STEPS", _queue_postgres._STEPS[:1])
    Outbox(postgres.empty()).close()
    assert postgres.execute("SELECT version FROM outbox") == [(1,)]
    postgres.execute(
        "INSERT INTO messages (key, mailbox, message_id, recipients, via, size, state, created,"
        " changed, due) VALUES (decode('00', 'hex'), 'me', '<m1@contoso.com>', '[]', 'auto', 9,"
        " 'queued', 1, 1, 1)"
    )
    monkeypatch.undo()
    with Outbox(postgres.url) as outbox:
        (found,) = outbox.messages()
        assert (found.action, found.original, found.state) == ("send", None, "queued")
    assert postgres.execute("SELECT version FROM outbox") == [(3,)]


def test_a_schema_of_something_else_is_left_as_it_is(postgres: Server) -> None:
    postgres.empty()
    postgres.execute(f"CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.theirs (x INTEGER)")
    with pytest.raises(UsageError, match="a schema smime_graph_outbox that is no outbox"):
        Outbox(postgres.url)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    assert postgres.execute(tables) == [("theirs",)]


@pytest.mark.parametrize(
    "damage",
    ["recipients = 'x'", "recipients = '[1]'", "created = 'NaN'", "due = '-infinity'"]
    + ["via = '5'", "state = 'weird'", "lease_until = 'infinity'"],
)
def test_a_row_that_no_outbox_wrote_is_said_to_be_damaged(postgres: Server, damage: str) -> None:
    with Outbox(postgres.empty()) as outbox:
        outbox.add(message(1))
        postgres.execute(f"UPDATE messages SET {damage}")
        for use in (outbox.messages, lambda: outbox.retry([1]), lambda: outbox.add(message(1))):
            with pytest.raises(UsageError, match="no outbox, or damaged"):
                use()


# --- the password ---------------------------------------------------------------------------------

SECRET = "hunter/2:zw%ei"
QUOTED = "hunter%2F2%3Azw%25ei"
PIECES = (PASSWORD, "hunter", "zw%ei", "zw%25ei", "9876543")


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://tests:{QUOTED}@127.0.0.1:{{port}}/postgres",
        f"postgresql://tests:{SECRET}@127.0.0.1:{{port}}/postgres",
        f"postgresql://tests:9876543/{SECRET}@127.0.0.1:{{port}}/postgres",
        f"postgresql://tests:{SECRET}@x@127.0.0.1:{{port}}/postgres",
        "postgresql://tests:hunter#zw%25ei@127.0.0.1:{port}/postgres",
        "postgresql://tests:9876543?hunter@127.0.0.1:{port}/postgres",
        "postgresql://tests:hunter 2@127.0.0.1:{port}/postgres",
        "postgresql://tests:hunter%zw@127.0.0.1:{port}/postgres",
        f"postgresql://tests@127.0.0.1:{{port}}/postgres?password={QUOTED}",
        f"postgresql://tests@127.0.0.1:{{port}}/postgres?passwort={QUOTED}",
        f"postgresql://tests:{QUOTED}@127.0.0.1:1/postgres",
        f"postgresql://tests:{QUOTED}@[::1/postgres",
        f"postgresql://tests:{QUOTED}@nowhere.invalid/postgres?connect_timeout={QUOTED}",
        f"postgresql://tests:{PASSWORD}@127.0.0.1:{{port}}/none",
        f"postgres:tests:{QUOTED}",
    ],
)
def test_a_password_is_shown_to_nobody(
    postgres: Server, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UsageError) as caught:
        Outbox(address.format(port=postgres.port))
    raised = "".join(traceback.format_exception(caught.value))
    shown = f"{caught.value!r} {caught.value.hint} {caplog.text} {raised}"
    assert caught.value.hint
    for piece in PIECES:
        assert piece not in shown


def test_an_outbox_does_not_show_the_password_that_opens_it(
    postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    postgres.empty()
    with Outbox(postgres.url_with_password) as outbox:
        outbox.add(message(1))
        assert repr(outbox) == f"Outbox('postgresql://127.0.0.1:{postgres.port}/postgres')"
        postgres.restart()
        assert len(outbox.messages()) == 1
        assert "is asked again" in caplog.text
        assert PASSWORD not in repr(outbox._queue) + caplog.text


def test_without_psycopg_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, postgres: Server
) -> None:
    monkeypatch.delitem(sys.modules, "smime_graph.graph._queue_postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="needs psycopg") as caught:
        Outbox(postgres.url_with_password)
    assert "smime-graph[postgres]" in str(caught.value.hint)
