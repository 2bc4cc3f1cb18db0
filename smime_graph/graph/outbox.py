"""An outbox: messages that are on disk before anything is asked of Graph, and what became of them.

    with Outbox("outbox.db") as outbox, GraphClient(credential) as graph:
        outbox.add(sealed)
        outbox.run(graph)

It holds finished messages, as they will be submitted: sealed before they come in. Nothing is lost
and nothing doubled, whoever is killed at whatever moment, because of what each state means:

    queued ──────> trying ──202──> sent
      ^  ^           │ └──refused──> failed
      │  └─not sent──┤
      │              └─no answer that tells, or its sender is gone──> unknown ──proof──> sent
      └──────────── a person says so, or the id of its draft ────────────┘

- `queued`: no request that sends it has left, or each that did is proven not to have been carried
  out. A draft may lie in Drafts; one whose answer was lost is looked for before another is made.
- `trying`: a request that sends it may have left. That is on disk (fsync) before its first byte
  leaves, and with it whose lease it is, which ends after the last byte can have left.
- `unknown`: a request that sends it has left, and no answer told what became of it; so is what is
  `trying` when its lease has run out. It is looked up, for hours, and never sent again unasked:
  a copy in Sent Items to these people, made since the attempt began (by the server's time), or the
  item of its draft that is a draft no more, proves that it was `sent`. What may not be looked up or
  does not show stays `unknown`. With a draft the id tells more: an item that is a draft still,
  a quarter of an hour after the last attempt, was not sent, and is sent: there is one item, so it
  goes out once.
- `failed`: Graph refused the message itself. What it refuses for another reason (a token, a right,
  throttling, an address that is none) stays `queued`, and the mailbox is left alone for a while.

So with the right Mail.ReadWrite each message goes out once; with Mail.Send alone at most once, and
what is not certain is `unknown` until a person looks. A mailbox in which no draft may be made (403)
is taken for one of the latter.

A reply and a forward go the same ways, by a draft of their own or by one request; a reply that is
looked up is one that went to people of the original. A draft that lay in the mailbox before is
looked at first: what is no draft then is not sent.

Several threads and processes may work on one outbox, and several machines on one in PostgreSQL.
They share leases, the time for which Graph asks to wait, and the four requests at once that it
carries out for a mailbox.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import Literal

import anyio
import anyio.to_thread

from ..arguments import checked
from ..errors import GraphError, UsageError
from . import _outgoing
from ._client import AsyncGraphClient, GraphClient
from ._courier import Carried, Rules, carry
from ._mailbox import Wire, mailbox, named
from ._outgoing import Via
from ._queue import AT_ONCE, Queue
from ._queue_rows import Attempt, Entry, OutboxAction, OutboxState, Row
from ._queue_sqlite import SqliteQueue
from ._wire import Flow

# Seconds: what comes due within the first is waited for by a run that ends; how often a file is
# looked into in which somebody else may have put a message.
_PATIENCE, _POLL = 30.0, 0.5
_DRAFT_WINDOW = timedelta(minutes=15)
_PURGE_EVERY = 60.0

log = logging.getLogger("smime_graph")


@dataclass(frozen=True, slots=True)
class OutboxAttempt:
    """One attempt to send a message.

    `client_request_id` is what Microsoft's support finds its request by, `request_id` that of the
    answer, None without one; `outcome` says in a few words what came of it, None where nobody knows
    because whoever made it was ended.
    """

    number: int
    began_at: datetime
    client_request_id: str | None
    request_id: str | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message of an outbox. `state`: see `smime_graph.graph.outbox`.

    `user` is the mailbox that it is sent from, `due_at` when something is to be done with it next,
    None: nothing, unless a person says so. `tried` counts the attempts, of which `attempts` are the
    latest. `error` is what was last in the way. `action` is what is asked of Graph, `original` the
    id of the message that is answered or forwarded. Of a draft that lay in the mailbox before,
    `message_id` is empty until it has been looked at, and `recipients` are not known. `trouble` is
    that of an OutboxRun, where `send_now` has just met it. `is_repeated` is true of what was there
    already when it was put in.
    """

    id: int
    user: str
    message_id: str
    recipients: tuple[str, ...]
    state: OutboxState
    via: Via
    size: int
    created_at: datetime
    due_at: datetime | None
    tried: int
    draft_id: str | None
    error: str | None
    attempts: tuple[OutboxAttempt, ...] = field(default=(), repr=False)
    action: OutboxAction = "send"
    original: str | None = None
    trouble: GraphError | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class OutboxRun:
    """What a run has done (`sent`, `failed`), and what is left (`queued`, `unknown`).

    `trouble` is an error that kept a mailbox from sending at all: no token, no right. `due_at` is
    when something is to be done next, None: nothing, unless a person says so.
    """

    sent: int
    failed: int
    queued: int
    unknown: int
    trouble: GraphError | None = None
    due_at: datetime | None = None


class Outbox:
    """An outbox in a file, or in a database of PostgreSQL; closed by `close` or by `with`.

    `path` is a file, made where it is not there, for its owner alone to read; or, for workers on
    several machines, `postgresql://USER@HOST/DATABASE` (extra `postgres`), where it has a schema of
    its own, made by whoever comes first. `window` is how long a message is looked for of which
    nobody knows whether it was sent, `keep` how long one that was sent stays, to be known when it
    is put in again. `clock` gives Unix seconds; without one a server's own counts. Any thread and
    several processes may use one outbox. Raises UsageError where it cannot be used, is no outbox
    (then it is left as it is), or was written by a newer version.
    """

    @checked
    def __init__(
        self,
        path: str | PathLike[str],
        *,
        window: timedelta = timedelta(hours=24),
        keep: timedelta = timedelta(days=7),
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, value in (("window", window), ("keep", keep)):
            if value < timedelta(0):
                raise UsageError(f"{name} is {value}, wanted a time that is not negative")
        self._window, self._keep = window, keep
        self._queue = _open(path, clock)
        self._without_drafts: set[str] = set()
        self._stop = threading.Event()
        self._purged = float("-inf")

    def __repr__(self) -> str:
        return f"Outbox({self.name!r})"

    @property
    def name(self) -> str:
        """What it is called: its file, or its server and database, without a password."""
        return self._queue.name

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, or the connection."""
        self._queue.close()

    # --- what people do ---------------------------------------------------------------------------

    @checked
    def add(
        self,
        raw: bytes,
        *,
        user: str = "me",
        via: Via = "auto",
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        mark: bytes | None = None,
    ) -> OutboxMessage:
        """Put a finished message in; it is on disk when this returns.

        `user`, `wire` and `size_limit` are those of the client that will send it: what that would
        refuse is refused now. `via="draft"` makes a draft and sends that, `"sendmail"` is one
        request, `"auto"` is the former where the right to it is there. A copy is always saved to
        Sent Items, because nothing else could prove a send.

        The key of a message is the mailbox, its Message-ID and its recipients: one that is there
        already is not put in again, and its state is what this returns. It is the same if it has
        the same octets; or the same `mark`, for what is sealed anew each time: up to the caller,
        but not to be computed by whoever has the outbox and guesses at the content. Raises
        UsageError, and MalformedMessage also where it is not known to be the same: otherwise a
        message with a Message-ID that was used before would be lost.
        """
        (stored,) = self.add_all(
            [raw], user=user, via=via, wire=wire, size_limit=size_limit, mark=mark
        )
        return stored

    @checked
    def add_all(
        self,
        messages: Sequence[bytes],
        *,
        user: str = "me",
        via: Via = "auto",
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        mark: bytes | None = None,
    ) -> tuple[OutboxMessage, ...]:
        """As `add`, for messages that belong together: all of them are put in, or none."""
        entries = _entries(
            messages, user=user, via=via, wire=wire, size_limit=size_limit, mark=mark
        )
        return tuple(self._message(row, ()) for row in self._queue.add(entries))

    @checked
    def find(
        self,
        messages: Sequence[bytes],
        *,
        user: str = "me",
        via: Via = "auto",
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        mark: bytes | None = None,
    ) -> tuple[OutboxMessage, ...]:
        """Those of the messages that are there already; raises what `add_all` would, and puts
        nothing in.
        """
        entries = _entries(
            messages, user=user, via=via, wire=wire, size_limit=size_limit, mark=mark
        )
        return tuple(self._message(row, ()) for row in self._queue.find(entries))

    @checked
    def add_answer(
        self,
        message_id: str,
        raw: bytes,
        *,
        action: Literal["reply", "reply-all", "forward"],
        user: str = "me",
        via: Via = "auto",
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        mark: bytes | None = None,
    ) -> OutboxMessage:
        """As `add`, for a finished message that answers or forwards one of the mailbox.

        `message_id` is Graph's id of that one. Graph addresses a reply to people of the original,
        whatever the header says: see `GraphClient.reply`.
        """
        named(message_id, what="message_id")
        if action not in ("reply", "reply-all", "forward"):
            raise UsageError(f"action is {action!r}, wanted 'reply', 'reply-all' or 'forward'")
        box = mailbox(user=user, wire=wire, size_limit=size_limit)
        found = _outgoing.checked(box, raw, action=action, via=via)
        _outgoing.body_of(box, raw, action=action)
        entry = Entry(
            *(raw, user, found.message_id, found.recipients, via, action, message_id), mark=mark
        )
        (row,) = self._queue.add([entry])
        return self._message(row, ())

    @checked
    def add_draft(self, message_id: str, *, user: str = "me") -> OutboxMessage:
        """Put in that a draft of the mailbox is to be sent; `message_id` is Graph's id of it.

        Before it is sent it is looked at once, which needs Mail.ReadWrite: what is no draft fails.
        """
        named(message_id, what="message_id")
        mailbox(user=user)
        entry = Entry(b"", user, "", frozenset(), "draft", "draft", draft_id=message_id)
        (row,) = self._queue.add([entry])
        return self._message(row, ())

    def messages(self) -> tuple[OutboxMessage, ...]:
        """What is in it, the oldest first."""
        return tuple(self._message(row, attempts) for row, attempts in self._queue.rows())

    @checked
    def retry(self, ids: Sequence[int]) -> None:
        """Queue messages again: those that failed, and those that nobody knows of.

        Of an `unknown` one that is to say: send it, even if it should be there twice then. It is
        looked up once more before. Raises UsageError, and changes nothing, for one that was sent,
        is being sent, or is not there.
        """
        self._queue.retry(ids)

    @checked
    def drop(self, ids: Sequence[int]) -> tuple[OutboxMessage, ...]:
        """Take messages out, whatever their state, and give them; a draft stays in Drafts.

        Raises UsageError, and changes nothing, for one that is being sent or is not there.
        """
        return tuple(self._message(row, ()) for row in self._queue.drop(ids))

    def _message(self, row: Row, attempts: Sequence[Attempt]) -> OutboxMessage:
        state = row.state
        if state == "trying" and not self._queue.is_leased(row):
            state = "unknown"  # whoever sent it is gone
        return OutboxMessage(
            id=row.id,
            user=row.mailbox,
            message_id=row.message_id,
            recipients=tuple(sorted(row.recipients)),
            state=state,
            via=row.via,
            size=row.size,
            created_at=_time(row.created),
            due_at=None if row.due is None else _time(row.due),
            tried=row.attempts,
            draft_id=row.draft_id,
            error=row.error,
            attempts=tuple(
                OutboxAttempt(
                    one.number,
                    _time(one.began),
                    one.client_request_id,
                    one.request_id,
                    one.outcome,
                )
                for one in attempts
            ),
            action=row.action,
            original=row.original,
            is_repeated=row.is_repeated,
        )

    # --- sending ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let every `run` end, as soon as what it is sending just now is done."""
        self._stop.set()

    @checked
    def send_now(self, client: GraphClient, *, id: int) -> OutboxMessage:  # noqa: A002 - as it is shown
        """Try at once to send the message with this id, and say how far it is then.

        Nothing is done with one that is not due, or while its mailbox is being left alone.
        """
        trouble: GraphError | None = None
        while (carried := client._run(self._flow(client, only=id))) is not None:
            trouble = carried.trouble
        row = self._queue.get(id)
        if row is None:
            raise UsageError(f"the outbox has no message {id}")
        return replace(self._message(row, ()), trouble=trouble)

    @checked
    def run(
        self, client: GraphClient, *, workers: int = AT_ONCE, forever: bool = False
    ) -> OutboxRun:
        """Send what is queued, and look up what is unknown, until nothing is due soon; or forever.

        Each message goes from its own `user`, whatever that of the client is. `workers` is the
        number of threads. Raises UsageError where the outbox or the client cannot be used; what
        goes wrong with a message stands in its `error`, and what is lost is said to the logger.
        """
        _check_workers(workers)
        done = _Tally()
        raised: list[BaseException] = []

        def work() -> None:
            try:
                while not self._stop.is_set() and not raised:
                    if self._is_purge_due():
                        self._purge()
                    one = client._run(self._flow(client))
                    if one is not None:
                        done.add(one)
                        continue
                    wait = self._wait(forever=forever)
                    if wait is None:
                        return
                    self._stop.wait(wait)
            except BaseException as error:  # noqa: BLE001 - raised by whoever runs us
                raised.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for one in threads:
            one.start()
        try:
            for one in threads:
                one.join()
        except BaseException:  # a signal: what is on its way arrives first
            self._stop.set()
            for one in threads:
                one.join()
            raise
        finally:
            self._stop.clear()
        if raised:
            raise raised[0]
        return self._result(done)

    @checked
    async def run_async(
        self, client: AsyncGraphClient, *, workers: int = AT_ONCE, forever: bool = False
    ) -> OutboxRun:
        """As `run`, with tasks for threads."""
        _check_workers(workers)
        done = _Tally()
        raised: list[Exception] = []

        async def work() -> None:
            try:
                while not self._stop.is_set() and not raised:
                    if self._is_purge_due():
                        await anyio.to_thread.run_sync(self._purge)
                    one = await client._run(self._flow(client))
                    if one is not None:
                        done.add(one)
                        continue
                    wait = await anyio.to_thread.run_sync(lambda: self._wait(forever=forever))
                    if wait is None:
                        return
                    await anyio.sleep(wait)
            except Exception as error:  # noqa: BLE001 - one of them, and not a group
                raised.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(work)
        self._stop.clear()
        if raised:
            raise raised[0]
        return self._result(done)

    def _flow(
        self, client: GraphClient | AsyncGraphClient, *, only: int | None = None
    ) -> Flow[Carried | None]:
        # no byte of a request leaves after the deadline of its call, and the lease is longer
        lease = client._deadline * 1.1 + 1.0
        window = self._window.total_seconds()
        draft_window = min(_DRAFT_WINDOW.total_seconds(), window)
        rules = Rules(lease, window, max(draft_window, lease))
        return carry(
            client._mailbox, self._queue, rules, without_drafts=self._without_drafts, only=only
        )

    def _wait(self, *, forever: bool) -> float | None:
        """For how long there is nothing to do; None: the run is over."""
        due = self._queue.next_due()
        if due is None:
            return _POLL if forever else None
        wait = due - self._queue.now()
        if wait > _PATIENCE and not forever:
            return None
        return min(max(wait, 0.02), _POLL)

    def _is_purge_due(self) -> bool:
        return self._queue.now() - self._purged > _PURGE_EVERY

    def _purge(self) -> None:
        self._purged = self._queue.now()
        self._queue.purge(keep=self._keep.total_seconds())

    def _result(self, done: _Tally) -> OutboxRun:
        counts = self._queue.counts()
        return OutboxRun(
            sent=done.ended["sent"],
            failed=done.ended["failed"],
            queued=counts.get("queued", 0),
            unknown=counts.get("unknown", 0) + counts.get("trying", 0),
            trouble=done.trouble,
            due_at=_time(due) if (due := self._queue.next_due()) is not None else None,
        )


class _Tally:
    """What a run has carried, in as little memory after a year as after a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ended: Counter[OutboxState] = Counter()
        self.trouble: GraphError | None = None  # the latest

    def add(self, one: Carried) -> None:
        with self._lock:
            self.ended[one.state] += 1
            self.trouble = one.trouble or self.trouble
        if one.lost is not None:  # whoever put it in may be gone: it is said here, and once
            log.warning("message %d of the outbox is %s: %s", one.id, one.state, one.lost)


def _open(path: str | PathLike[str], clock: Callable[[], float]) -> Queue:
    text = str(path)
    if is_server(text):
        try:
            from ._queue_postgres import PostgresQueue
        except ImportError:  # no psycopg, or no libpq for it
            raise UsageError(
                "an outbox on PostgreSQL needs psycopg, which is not installed",
                hint="pip install 'smime-graph[postgres]'",
            ) from None
        return PostgresQueue(text, clock=clock)
    if text in ("", ":memory:"):
        raise UsageError("an outbox needs a file", hint="name one")
    return SqliteQueue(path, clock=clock)


def is_server(path: str) -> bool:
    """Is that the address of a server, which may hold a password, and no file?"""
    return path.startswith(("postgresql:", "postgres:"))


def _entries(
    messages: Sequence[bytes],
    *,
    user: str,
    via: Via,
    wire: Wire,
    size_limit: int | None,
    mark: bytes | None,
) -> list[Entry]:
    """What is put in of messages that could be sent."""
    box = mailbox(user=user, wire=wire, size_limit=size_limit)
    entries = []
    for raw in messages:
        found = _outgoing.checked(box, raw, via=via)
        _outgoing.check_size(box, raw, via=via)
        entries.append(Entry(raw, user, found.message_id, found.recipients, via, mark=mark))
    return entries


def _check_workers(workers: object) -> None:
    if not isinstance(workers, int) or not 1 <= workers <= 64:
        raise UsageError(f"workers is {workers!r}, wanted 1 to 64")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
