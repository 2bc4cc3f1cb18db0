"""A folder that is watched: what comes in is opened, judged, and handed on at least once.

    watch(graph, state="watch.db", identities=[bob], trust=roots, deliver=print)

What is accepted goes to `deliver`, anything else to `rejected`; nothing in the mailbox is changed.
What a message is made of (`watched`) is on disk, so that whoever is killed goes on where it was,
and who gets a message twice is told. A handler that fails gets the message again, later and later,
while the others go on; no message stops the folder, whatever it is.

One step (a look at the folder, or one message) is a flow, as those of `graph`: it is carried out
by either client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from threading import Event, Lock
from typing import Any

import anyio
import anyio.to_thread

from ..arguments import checked
from ..buffers import Data, Held, Writable, write_to
from ..cms.recipients.kinds import AnyKey
from ..errors import (
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    MalformedMessage,
    SmimeGraphError,
    UsageError,
    VerificationFailed,
    kept,
)
from ..graph._client import AsyncGraphClient, GraphClient
from ..graph._delta import delta
from ..graph._flows import fetch_spooled
from ..graph._mailbox import Mailbox
from ..graph._wire import Flow, OnDisk
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..smime.examine import examine, unseal
from ..smime.report import MessageReport, Opened, report_json, time_text
from ..text import json_text, printable
from ..x509.certificate import Certificate
from .watched import MOST_OPENINGS, HandedBefore, Row, Watched, delay

_log = logging.getLogger("smime_graph")

_POLL = 0.5  # seconds, after which it is looked whether to stop
_LONGEST_WAIT = 300.0  # seconds, while Graph cannot be reached
_MOST_ODD = (
    12  # answers in a row that are none of Graph's, or failures to get a token: half an hour
)
_MOST_LOST = 3  # messages in a row that cannot be fetched: then it is not they
_IDLE_PAGES = 1000  # that bring nothing new, after which a look ends
# What may be known later, where services are asked, and how often it is looked (some three hours)
_DOUBTS = frozenset(f"pki.revocation.{one}" for one in ("unknown", "stale", "not-fetched"))
_MOST_DOUBTS = 11
_FORGOTTEN = frozenset({"syncstatenotfound", "syncstateinvalid", "resyncrequired"})


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came in, and what it is worth.

    `opened` is it without its layers where it is accepted, otherwise None, and `error` says why, as
    `unseal` does. `report` is about it in either case. `id` is Graph's, `internet_message_id`,
    `sender` and `received_at` are what the mailbox says, which nothing vouches for. `handed_before`
    is "no"; "failed" where a handler had it and failed; or "unknown" where whoever handed it over
    was ended in the middle. `attempt` counts how often it was begun.
    """

    id: str
    internet_message_id: str | None
    sender: str | None
    received_at: datetime | None
    opened: Opened | None
    report: MessageReport
    error: SmimeGraphError | None
    handed_before: HandedBefore
    attempt: int
    octets: bytes | memoryview = field(repr=False)

    @property
    def accepted(self) -> bool:
        return self.opened is not None

    @property
    def raw(self) -> bytes:
        """The message as it lies in the mailbox."""
        return bytes(self.octets)

    @checked
    def write_to(self, out: Path | Writable) -> None:
        """Write the message as it lies in the mailbox to a file that is open in binary, or at a
        path, whole or not at all; UsageError where that cannot be.
        """
        write_to(out, self.octets, private=True)

    def to_json(self) -> str:
        """What `watch --json` says of it, and what a command is told."""
        return json_text(arrival_json(self))


def arrival_json(arrival: Arrival) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": arrival.id,
        "internetMessageId": arrival.internet_message_id,
        "from": arrival.sender,
        "receivedDateTime": time_text(arrival.received_at),
        "handed_before": arrival.handed_before,
        "attempt": arrival.attempt,
        **report_json(arrival.report),
    }
    if arrival.error is not None:
        error = arrival.error
        found["error"] = {"type": type(error).__name__, "text": str(error), "hint": error.hint}
    return found


@dataclass(frozen=True, slots=True)
class WatchRun:
    """What a run has done: how many messages were `handed` over and `rejected`, how often it
    `failed`, how many were `gone` before anybody saw them; and how many are `waiting`. `due_at` is
    when the next of those is tried, `error` what was in its way the last time.
    """

    handed: int
    rejected: int
    failed: int
    gone: int
    waiting: int
    due_at: datetime | None = field(default=None, compare=False)
    error: str | None = field(default=None, compare=False)


@checked
def watch(
    client: GraphClient,
    *,
    state: str | PathLike[str],
    deliver: Callable[[Arrival], object],
    rejected: Callable[[Arrival], object] | None = None,
    trust: TrustStore,
    identities: Sequence[AnyKey] = (),
    folder: str = "inbox",
    once: bool = False,
    every: timedelta = timedelta(seconds=60),
    stop: Event | None = None,
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
) -> WatchRun:
    """Follow a folder of the GraphClient's mailbox: open what comes in, and hand it on.

    `deliver` is called with an Arrival for each message that is accepted, `rejected` for each that
    is not; without it those are only remembered. What raises is called again with the same message,
    after 10 seconds, then 20, up to an hour, while others go on; and for some hours so is a message
    looked at for which a revocation service is all that is missing. Each is handed over at least
    once: where this process ends in the middle it is again, and `handed_before` says so. At the
    first run that is all that lies in the folder. Nothing in the mailbox is changed; the right
    Mail.Read is enough.

    `state` is the file that remembers it, made where it is not there; one run has it at a time.
    `folder` is an id or a well-known name, looked into again after `every`. With `once` the run
    ends when all that was there was tried; otherwise when somebody sets `stop`, and the message at
    hand is done. `trust`, a TrustStore, `identities`, each an AnyKey, `sender`, `certificates`
    (each a Certificate), `policy`, a Policy, `at`, a datetime, and `revocation`, a Revocation, are
    those of `unseal`. While Graph cannot be reached it is waited for, except with `once`.

    The WatchRun counts. Raises UsageError where the file cannot be used, and GraphError for what
    waiting does not mend: a token or a right that is missing, a folder that is not there.
    """
    with _Watcher(
        client,
        state,
        deliver,
        rejected,
        folder=folder,
        once=once,
        every=every,
        opening=_opening(trust, identities, sender, certificates, policy, at, revocation),
    ) as watcher:
        told = Event() if stop is None else stop
        while not told.is_set():
            try:
                wait = client._run(watcher.step())
            except GraphError as error:
                wait = watcher.wait_after(error)
            if wait is None:
                break
            told.wait(wait)
        return watcher.result()


@checked
async def watch_async(
    client: AsyncGraphClient,
    *,
    state: str | PathLike[str],
    deliver: Callable[[Arrival], object],
    rejected: Callable[[Arrival], object] | None = None,
    trust: TrustStore,
    identities: Sequence[AnyKey] = (),
    folder: str = "inbox",
    once: bool = False,
    every: timedelta = timedelta(seconds=60),
    stop: Event | None = None,
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
) -> WatchRun:
    """As `watch`, with an AsyncGraphClient.

    Messages are opened, and `deliver` and `rejected` (functions of an Arrival) called, in a thread;
    one that has begun ends before the task is cancelled. `trust`, a TrustStore, `identities`, each
    an AnyKey, `certificates`, each a Certificate, `policy`, a Policy, `at`, a datetime,
    `revocation`, a Revocation, and the WatchRun are those of `watch`.
    """
    with _Watcher(
        client,
        state,
        deliver,
        rejected,
        folder=folder,
        once=once,
        every=every,
        opening=_opening(trust, identities, sender, certificates, policy, at, revocation),
    ) as watcher:
        told = Event() if stop is None else stop
        try:
            while not told.is_set():
                try:
                    wait = await client._run(watcher.step())
                except GraphError as error:
                    wait = watcher.wait_after(error)
                if wait is None:
                    break
                end = time.monotonic() + wait
                while (left := end - time.monotonic()) > 0 and not told.is_set():
                    await anyio.sleep(min(left, _POLL))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(watcher.finish)
        return watcher.result()


def _opening(
    trust: TrustStore,
    identities: Sequence[AnyKey],
    sender: str | None,
    certificates: Sequence[Certificate],
    policy: Policy,
    at: datetime | None,
    revocation: Revocation | None,
) -> dict[str, Any]:
    return {
        "trust": trust,
        "identities": identities,
        "sender": sender,
        "certificates": certificates,
        "policy": policy,
        "at": at,
        "revocation": revocation,
    }


class _Watcher:
    """What is known while a folder is watched; `step` is what is done next."""

    def __init__(
        self,
        client: GraphClient | AsyncGraphClient,
        state: str | PathLike[str],
        deliver: Callable[[Arrival], object],
        rejected: Callable[[Arrival], object] | None,
        *,
        folder: str,
        once: bool,
        every: timedelta,
        opening: dict[str, Any],
    ) -> None:
        self._every = every.total_seconds()
        if not 1 <= self._every <= 86_400:
            raise UsageError(f"every is {every}, wanted a second to a day")
        self._box: Mailbox = client._mailbox
        self._clock = client._clock
        self._deliver, self._rejected = deliver, rejected
        self._folder, self._once, self._opening = folder, once, opening
        self._counts = dict.fromkeys(("handed", "rejected", "failed", "gone"), 0)
        self._next_look = float("-inf")
        self._has_looked = False
        self._idle = self._lost = self._troubles = 0
        self._begun_anew = False
        self._busy = Lock()
        self._state = Watched(
            state, url=self._box.url, user=self._box.user, folder=folder, clock=self._clock
        )

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._state.close()

    def finish(self) -> None:
        """Wait for what a thread has begun, whose task was cancelled."""
        with self._busy:
            pass

    def result(self) -> WatchRun:
        due = self._state.next_due()
        return WatchRun(
            **self._counts,
            waiting=self._state.waiting(),
            due_at=None if due is None else datetime.fromtimestamp(due, UTC),
            error=self._state.last_error(),
        )

    def step(self) -> Flow[float | None]:
        """Do what is due: a message first, then a look. How long there is nothing to do after it,
        in seconds; None: the run is over.
        """
        row: Row | None = yield OnDisk(self._state.begin)
        if row is not None:
            yield from self._take(row)
        elif not 0 < self._next_look - self._clock() <= self._every:
            yield from self._look()
        elif self._once and self._has_looked:
            return None
        else:
            due: float | None = yield OnDisk(self._state.next_due)
            wanted = self._next_look if due is None else min(due, self._next_look)
            return min(max(wanted - self._clock(), 0.02), self._every)
        self._troubles = 0
        return 0.0

    def wait_after(self, error: GraphError) -> float:
        """How long to wait where Graph cannot be reached; raises what waiting does not mend."""
        is_refusal = isinstance(error, GraphRefused)
        patience = _MOST_ODD if not is_refusal else 0
        if self._once or not (_is_away(error) or self._troubles < patience):
            raise error
        wait = delay(self._troubles + 1)
        if isinstance(error, GraphThrottled):
            wait = max(wait, error.retry_after)
        self._troubles += 1
        wait = min(wait, _LONGEST_WAIT)
        _log.warning("Graph cannot be asked, and is again in %.0f s: %s", wait, error)
        return wait

    # --- the folder -------------------------------------------------------------------------------

    def _look(self) -> Flow[None]:
        link: str | None = yield OnDisk(self._state.link)
        try:
            page = yield from delta(self._box, self._folder, link=link)
        except GraphRefused as error:
            is_old = error.status == 410 or error.code.lower() in _FORGOTTEN
            if not is_old or link is None or self._begun_anew:
                raise
            _log.warning("Graph has forgotten how far the folder was read: all of it is looked at")
            self._begun_anew = True
            yield OnDisk(self._state.begin_anew)
            return
        new: int = yield OnDisk(partial(self._state.enter, page))
        self._idle = 0 if new else self._idle + 1
        if page.more and self._idle < _IDLE_PAGES:
            self._next_look = float("-inf")
            return
        self._idle, self._begun_anew, self._has_looked = 0, False, True
        self._next_look = self._clock() + self._every

    # --- one message ------------------------------------------------------------------------------

    def _take(self, row: Row) -> Flow[None]:
        try:
            raw: Data = yield from fetch_spooled(self._box, row.id)
        except (GraphError, UsageError) as error:  # the latter: no room for a temporary file
            if isinstance(error, GraphRefused) and error.status == 404:
                self._counts["gone"] += 1
                yield OnDisk(partial(self._state.end, row, "gone"))
                return
            has_no_right = isinstance(error, GraphRefused) and error.status in (401, 403)
            if has_no_right or isinstance(error, GraphThrottled):
                self._state.leave(row)
                raise
            yield OnDisk(partial(self._fail, row, error, handed=False))
            self._lost = self._lost + 1 if _is_away(error) else 0
            if self._lost >= _MOST_LOST:
                self._lost = 0
                raise
            return
        except BaseException:  # cancelled, or Ctrl-C
            self._state.leave(row)
            raise
        self._lost = 0
        yield OnDisk(partial(self._hand, row, raw))

    def _fail(self, row: Row, error: Exception, *, handed: bool) -> None:
        self._counts["failed"] += 1
        why = str(error)
        if not isinstance(error, SmimeGraphError):
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        why = printable(why[:500])
        wait = self._state.fail(row, why, handed=handed)
        _log.warning(
            "message %s was not handed over, and is tried again in %.0f s: %s",
            printable(row.message_id or row.id),
            wait,
            why,
        )

    def _hand(self, row: Row, raw: Data) -> None:
        with self._busy:
            self._open_and_hand(row, raw)

    def _open_and_hand(self, row: Row, raw: Data) -> None:
        try:
            arrival = self._open(row, raw)
        except UsageError as error:  # no room for a temporary file
            self._fail(row, error, handed=False)
            return
        if arrival.error is not None and self._is_in_doubt(arrival.report, row):
            self._fail(row, arrival.error, handed=False)
            return
        handler = self._deliver if arrival.accepted else self._rejected
        if handler is None:
            name = printable(row.message_id or row.id)
            _log.warning("message %s is not accepted: %s", name, arrival.error)
        else:
            self._state.mark_handing(row)
            try:
                handler(arrival)
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is its failure
                self._fail(row, error, handed=True)
                return
        self._state.end(row, "handed" if arrival.accepted else "rejected")
        self._counts["handed" if arrival.accepted else "rejected"] += 1

    def _open(self, row: Row, raw: Data) -> Arrival:
        opened: Opened | None = None
        error: SmimeGraphError | None = None
        report = MessageReport()
        if row.openings > MOST_OPENINGS:
            error = MalformedMessage(
                f"the message is not opened: {MOST_OPENINGS} times the program ended while it was",
                hint="examine shows what it is",
            )
        else:
            try:
                opened = unseal(Held(raw), **self._opening)
                report = opened.report
            except UsageError:
                raise
            except Exception as failure:  # noqa: BLE001 - no message may stop the folder
                error = _as_ours(failure)
                report = self._report(raw, error)
        received = None if row.received is None else datetime.fromtimestamp(row.received, UTC)
        return Arrival(
            row.id,
            row.message_id,
            row.sender,
            received,
            opened,
            report,
            error,
            row.before,
            row.attempts,
            raw,
        )

    def _is_in_doubt(self, report: MessageReport, row: Row) -> bool:
        """Is the service that knows about revocation away, and nothing else wrong?"""
        asks = self._opening["revocation"] is not None and self._opening["revocation"].fetch
        codes = {one.code for one in report.errors}
        return bool(asks and codes and codes <= _DOUBTS) and row.attempts < _MOST_DOUBTS

    def _report(self, raw: Data, error: SmimeGraphError) -> MessageReport:
        if isinstance(error, VerificationFailed) and isinstance(error.report, MessageReport):
            return error.report
        try:
            return examine(Held(raw), **self._opening)
        except Exception:  # noqa: BLE001 - what is wrong with it is in the error
            return MessageReport()


def _is_away(error: Exception) -> bool:
    """Whether it may be otherwise in a while."""
    if isinstance(error, GraphRefused):
        return error.status == 429 or error.status >= 500
    return isinstance(error, GraphUnreachable | GraphThrottled)


def _as_ours(failure: Exception) -> SmimeGraphError:
    if isinstance(failure, SmimeGraphError):
        return kept(failure)
    return MalformedMessage(
        f"the message cannot be opened: {type(failure).__name__}",
        hint="this is a bug: examine --debug shows where it is",
    )
