"""Carrying one message of an outbox: what is asked of Graph, and what is written down when.

Flows, so no I/O (see `_wire`); what changes the outbox's file is an `OnDisk`. A flow may end at any
of its yields and never go on, as with kill -9: what then becomes of the message is decided by what
is on disk by that time. The states, and why none of them loses or doubles a
message, are in `outbox`.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from ..errors import GraphError, GraphRefused, GraphThrottled, UsageError
from . import _answers, _exchange, _outgoing, _settle
from ._mailbox import Mailbox
from ._queue import LeaseLost, Queue
from ._queue_rows import OutboxState, Row
from ._sending import Sending
from ._settle import Seen, Sent
from ._wire import Flow, OnDisk, Request, Response
from .models import MessageRef

log = logging.getLogger("smime_graph")

# Seconds between two looks for a message of which nobody knows whether it was sent; then the last.
LOOKS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# Seconds for which nothing is asked for a mailbox that did not answer, or would not.
_FIRST_HOLD, _LONGEST_HOLD = 1.0, 60.0
_TROUBLE_HOLD = 60.0
_LONGEST_DEMAND = 3600.0
_DRAFT_PAUSE = 15.0  # seconds until a draft is looked for again that the mailbox does not show

# These say no to the message. Whatever else is refused (the token, the right, the address of the
# mailbox, a proxy's page) would be refused for each other one as well.
_ABOUT_THE_MESSAGE = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a courier goes by, in seconds: for how long it holds a lease and looks for a message
    that may have been sent, and after which time a draft that still is one is sent again.
    """

    lease: float
    window: float
    draft_window: float


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a message that was carried; `trouble`: an error that is not its own; `lost`:
    why it did not go, where nothing more is done about it.
    """

    id: int
    state: OutboxState
    trouble: GraphError | None = None
    lost: str | None = None


def carry(
    box: Mailbox, queue: Queue, rules: Rules, *, without_drafts: set[str], only: int | None = None
) -> Flow[Carried | None]:
    """Take a message that is due and send it, or find out what became of it; None: none is due.

    `without_drafts` are the mailboxes in which no draft may be made, and is added to. `only`: that
    message and no other.
    """
    taken: tuple[Row, bytes | None] | None = yield OnDisk(
        partial(_take, queue, seconds=rules.lease, only=only)
    )
    if taken is None:
        return None
    row, raw = taken
    # The outbox tries again itself, and looks again itself: nothing waits here.
    own = replace(box, user=row.mailbox, retries=0)
    try:
        return (yield from _Courier(own, queue, row, rules, without_drafts).carry(raw))
    except LeaseLost:
        return Carried(row.id, "trying")
    except GeneratorExit:  # nothing can be done any more: the lease runs out
        raise
    except BaseException:  # Ctrl-C, a client that is closed: no byte leaves after this
        yield OnDisk(partial(queue.release, row))
        raise


def _take(queue: Queue, *, seconds: float, only: int | None) -> tuple[Row, bytes | None] | None:
    """A message that is due; with its bytes, unless it has to be looked up first."""
    row = queue.claim(seconds=seconds, only=only)
    if row is None:
        return None
    raw = None
    if row.began is None and row.action != "draft":
        with suppress(LeaseLost, UsageError):  # asked for again, where it can be acted upon
            raw = queue.content(row)
    return row, raw


class _Courier:
    """One message, while it is carried."""

    def __init__(
        self, box: Mailbox, queue: Queue, row: Row, rules: Rules, without_drafts: set[str]
    ) -> None:
        self._box, self._queue, self._row, self._rules = box, queue, row, rules
        self._without_drafts = without_drafts
        self._draft_id = row.draft_id
        self._attempted = self._undrafted = False

    def carry(self, raw: bytes | None) -> Flow[Carried]:
        row = self._row
        if row.began is not None:  # an attempt of which nobody knows what became
            seen = yield from self._look()
            if seen.ref is not None:
                return (yield from self._sent(seen.ref))
            if not self._may_go_again(seen):
                return (yield from self._not_seen(seen))
            if not seen.is_draft and row.action == "draft":
                return (yield from self._done("failed", error=f"its draft is gone: {seen.why}"))
            if not seen.is_draft:
                self._draft_id = None  # a person wants it sent, and the draft is not there
        if row.action == "draft":
            ended = None if row.drafting is not None else (yield from self._find_draft())
        else:
            ended = yield from self._send_or_draft(raw)
        if ended is not None:
            return ended
        draft_id = self._draft_id or ""
        return (yield from self._attempt(_exchange.post(self._box, "messages", draft_id, "send")))

    def _send_or_draft(self, raw: bytes | None) -> Flow[Carried | None]:
        """Send it as it is, or have a draft of it: then it has not ended with anything yet."""
        box, row = self._box, self._row
        if raw is None:
            raw = yield OnDisk(partial(self._queue.content, row))
        by_draft = self._by_draft()
        try:
            if row.original is not None:
                kind, body = _outgoing.body_of_action(box, raw)
            elif by_draft:
                kind, body = _outgoing.body_of_item(box, raw)
            else:
                kind, body = _outgoing.body_of_action(box, raw, save=True)
        except UsageError as error:  # too large for the limit of this client
            return (yield from self._done("failed", error=str(error)))
        place = _place(row, by_draft=by_draft)
        request = _exchange.post(box, *place, kind=kind, body=body)
        if not by_draft:
            # see _flows: the design document shows 200 for these two
            shows_200 = box.wire == "mime-content" and row.action in ("reply-all", "forward")
            return (yield from self._attempt(request, ok=(200, 202) if shows_200 else (202,)))
        if self._draft_id is None:
            return (yield from self._make_draft(request))
        return None

    def _find_draft(self) -> Flow[Carried | None]:
        """A draft that was there before: it must be one now, or that it is none proves nothing."""
        row = self._row
        seen = yield from _settle.look_at_draft(self._box, row.draft_id or "")
        if seen.is_draft:
            mark = partial(self._queue.mark_draft, row, draft_id=row.draft_id)
            yield OnDisk(partial(mark, message_id=seen.message_id))
            return None
        if seen.ref is not None:
            why = "it is no draft: it was sent already, or never was one"
            return (yield from self._done("failed", error=why))
        if seen.denied is not None:
            error = GraphError(f"the draft: {seen.why}", hint="it needs the right Mail.ReadWrite")
            hold = yield from self._hold(trouble=True)
            return (yield from self._again(error, hold=hold, trouble=error))
        if not seen.failed and self._queue.now() - row.created > self._rules.draft_window:
            return (yield from self._done("failed", error="its draft is gone"))
        wait: float | None = None
        if seen.failed:
            wait = max((yield from self._hold()), min(seen.retry_after or 0.0, _LONGEST_DEMAND))
        return (yield from self._again(f"the draft: {seen.why}", hold=wait, pause=_DRAFT_PAUSE))

    # --- an attempt -------------------------------------------------------------------------------

    def _by_draft(self) -> bool:
        if self._row.via == "auto":
            return self._draft_id is not None or self._row.mailbox not in self._without_drafts
        return self._row.via == "draft"

    def _make_draft(self, request: Request) -> Flow[Carried | None]:
        """Have a draft, whose id is known then; what it ended with where there is none."""
        queue, row, box = self._queue, self._row, self._box
        if row.drafting is not None:  # one may be there whose answer was lost
            found = yield from _settle.drafts_since(
                box,
                row.message_id,
                began_by=self._since(row.drafting),
                recipients=row.recipients if row.action in ("send", "forward") else None,
            )
            if found is None:
                return (yield from self._held("looking for its draft failed"))
            if found:
                self._draft_id = found[0]
                yield OnDisk(partial(queue.mark_draft, row, draft_id=self._draft_id))
                return None
        yield OnDisk(partial(queue.mark_draft, row, draft_id=None))
        ok = (201,) if row.original is None else (200, 201)
        try:
            answer = yield from _exchange.attempt(box, request, safe=False)
        except GraphError as error:  # throttled, or no token
            self._undrafted = True
            return (yield from self._not_sent(error))
        self._saw(answer)
        if isinstance(answer, Response) and answer.status in ok:
            try:
                data = _answers.resource(_exchange.done(box, answer, ok=ok))
                made = _answers.message_ref(data, status="draft", request_id=None)
            except GraphError as error:  # it was made, and the next one finds it
                return (yield from self._held(str(error)))
            self._draft_id = made.id
            return None
        if _settle.uncertain(answer):
            return (yield from self._held(f"whether a draft was made: {_settle.said(answer)}"))
        self._undrafted = True
        refusal = _exchange.failure(box, answer)
        if not isinstance(refusal, GraphRefused):
            return (yield from self._not_sent(refusal))
        if row.via == "auto" and _is_no_right(refusal):
            self._without_drafts.add(row.mailbox)  # it goes as it is, at once
            return (yield from self._again(refusal, hold=None))
        return (yield from self._refused(refusal))

    def _attempt(self, request: Request, *, ok: Collection[int] = (202,)) -> Flow[Carried]:
        """Make the request that sends, once it is on disk that it is made."""
        row = self._row
        sending = Sending(message_id=row.message_id, draft_id=self._draft_id)
        sending.journal = partial(self._queue.begin, row, seconds=self._rules.lease)
        self._attempted = True
        try:
            got = yield from _settle.submit(self._box, request, sending, ok=ok)
        except GraphError as error:
            if sending.disposition == "unknown":
                return (yield from self._unknown(str(error)))
            return (yield from self._not_sent(error))
        self._queue.saw_server_time(sending.date)
        if isinstance(got, MessageRef):
            return (yield from self._sent(got))
        if sending.disposition == "unknown":
            return (yield from self._unknown(_settle.said(got), answer=got))
        failure = _exchange.failure(self._box, got)
        if sending.disposition == "not-sent":
            return (yield from self._not_sent(failure))
        return (yield from self._refused_to_send(failure, got))

    def _refused_to_send(self, failure: GraphError, got: Sent) -> Flow[Carried]:
        """A refusal is of this attempt. Of an earlier one it says nothing, nor of a draft that
        somebody has sent by hand.
        """
        row, draft_id = self._row, self._draft_id
        if row.began is None and draft_id is None:
            return (yield from self._refused(failure))
        seen = yield from self._look(began=row.created if row.began is None else None)
        if seen.ref is not None:
            return (yield from self._sent(seen.ref))
        if row.began is not None and not seen.is_draft:
            why = f"{failure}; whether it was sent before: {seen.why}"
            return (yield from self._unknown(why, answer=got))
        status = failure.status if isinstance(failure, GraphRefused) else None
        if status == 404 and not seen.failed and not seen.is_draft:
            age = self._queue.now() - row.created
            if age > self._rules.draft_window:  # a mailbox may be slow to show what is new in it
                why = f"its draft is gone: {failure}"
                return (yield from self._done("failed", error=why, settled=True))
        return (yield from self._refused(failure))

    # --- looking ----------------------------------------------------------------------------------

    def _look(self, *, began: float | None = None) -> Flow[Seen]:
        row = self._row
        return (
            yield from _settle.settle(
                self._box,
                row.message_id,
                began_by=self._began() if began is None else self._since(began),
                people=self._people(),
                draft_id=self._draft_id,
            )
        )

    def _people(self) -> Flow[_settle.ToThem | Seen]:
        row = self._row
        if row.original is None or row.action == "forward":
            return _settle.those(None if row.action == "draft" else row.recipients)
        everyone = row.action == "reply-all"
        return _settle.whom_it_answers(self._box, row.original, row.recipients, everyone=everyone)

    def _began(self) -> _settle.Began:
        """When the attempt began, by the server's clock: as known then, or by the store's."""
        if self._row.server_began is not None:
            began = float(int(self._row.server_began))
            return lambda _: began
        return self._since(self._row.began or 0.0)

    def _since(self, when: float) -> _settle.Began:
        """A time of the store's clock by that of the server, whose answer has just come."""

        def began(look: Response) -> float | None:
            date = _answers.date_of(look)
            return None if date is None else math.floor(date - (self._queue.now() - when))

        return began

    def _may_go_again(self, seen: Seen) -> bool:
        """May it be sent once more, although nobody knows whether it was?

        A person may say so (then it is queued). And the id of a draft is proof enough: its item is
        a draft still, long after each request that could have sent it was over, and if one were on
        its way all the same, there is one item, which is sent once.
        """
        row = self._row
        if row.state == "queued":
            return not seen.failed or seen.denied == 403
        return seen.is_draft and self._queue.now() - row.changed >= self._rules.draft_window

    def _not_seen(self, seen: Seen) -> Flow[Carried]:
        row, age = self._row, self._queue.now() - self._row.changed
        due: float | None = LOOKS[min(row.looks, len(LOOKS) - 1)]
        hold = trouble = None
        if seen.is_draft:
            due = max(1.0, min(due or 0.0, self._rules.draft_window - age))
        elif seen.denied == 403:
            due = None  # nobody may look
        elif seen.retry_after is not None:
            due = hold = min(seen.retry_after, _LONGEST_DEMAND)
        elif seen.failed:
            hold = yield from self._hold(trouble=seen.denied == 401)
            due = max(due or 0.0, hold)
        elif age > self._rules.window:
            due = None
        if seen.denied == 401:
            trouble = GraphError(seen.why, hint=_answers.token_refused(self._box.host))
        error = seen.why if row.error is None else f"{row.error.partition('; ')[0]}; {seen.why}"
        when = None if due is None else self._queue.now() + due
        # a person may have queued it again: then it stays so
        return (yield from self._done(row.state, error=error, due=when, hold=hold, trouble=trouble))

    # --- what it ends with ------------------------------------------------------------------------

    def _saw(self, answer: Sent) -> None:
        if isinstance(answer, Response):
            self._queue.saw_server_time(_answers.date_of(answer))

    def _sent(self, ref: MessageRef) -> Flow[Carried]:
        return (yield from self._done("sent", request_id=ref.request_id))

    def _unknown(self, why: str, *, answer: Sent | None = None) -> Flow[Carried]:
        request_id = None if answer is None else _exchange.request_id(answer)
        asked = _answers.retry_after(answer) if isinstance(answer, Response) else None
        # where all answers are like this one, no other message should get one
        hold = max((yield from self._hold(first=0.0)), min(asked or 0.0, _LONGEST_DEMAND))
        due = self._queue.now() + max(LOOKS[0], hold)
        return (
            yield from self._done("unknown", error=why, due=due, request_id=request_id, hold=hold)
        )

    def _not_sent(self, error: GraphError) -> Flow[Carried]:
        """Nothing was carried out: it goes again when the mailbox answers again."""
        # an error that is neither an answer nor the want of one is the credential's
        trouble = error if type(error) is GraphError else None
        if isinstance(error, GraphThrottled):
            hold = min(error.retry_after, _LONGEST_DEMAND)
        else:
            hold = yield from self._hold(trouble=trouble is not None)
        return (yield from self._again(error, hold=hold, trouble=trouble))

    def _held(self, why: str) -> Flow[Carried]:
        """Nothing was sent, and whether there is a draft is to be looked up."""
        hold = yield from self._hold(first=0.0)
        return (yield from self._again(why, hold=hold, pause=LOOKS[0]))

    def _again(
        self,
        why: GraphError | str,
        *,
        hold: float | None,
        pause: float = 0.0,
        trouble: GraphError | None = None,
    ) -> Flow[Carried]:
        due = self._queue.now() + max(pause, hold or 0.0)
        request_id = why.request_id if isinstance(why, GraphRefused) else None
        return (
            yield from self._done(
                "queued",
                error=str(why),
                due=due,
                request_id=request_id,
                hold=hold,
                settled=True,
                trouble=trouble,
            )
        )

    def _refused(self, error: GraphError) -> Flow[Carried]:
        gone = self._row.original is not None and self._draft_id is None
        if isinstance(error, GraphRefused) and (
            _is_about_the_message(error) or (gone and error.code == "ErrorItemNotFound")
        ):
            return (
                yield from self._done(
                    "failed", error=str(error), request_id=error.request_id, settled=True
                )
            )
        hold = yield from self._hold(trouble=True)
        return (yield from self._again(error, hold=hold, trouble=error))

    def _hold(self, *, first: float = _FIRST_HOLD, trouble: bool = False) -> Flow[float]:
        failures: int = yield OnDisk(partial(self._queue.failures, self._row.mailbox))
        if trouble:
            return _TROUBLE_HOLD * random.uniform(0.75, 1.0)
        if not failures:
            return first
        return min(_LONGEST_HOLD, _FIRST_HOLD * 2.0 ** min(failures, 16)) * random.uniform(0.75, 1)

    def _done(
        self,
        state: OutboxState,
        *,
        error: str | None = None,
        due: float | None = None,
        request_id: str | None = None,
        hold: float | None = None,
        settled: bool = False,
        trouble: GraphError | None = None,
    ) -> Flow[Carried]:
        finish: Callable[[], None] = partial(
            self._queue.finish,
            self._row,
            state,
            due=due,
            error=error,
            request_id=request_id,
            attempted=self._attempted,
            settled=settled,
            undrafted=self._undrafted,
            draft_id=self._draft_id,
            hold=hold,
        )
        yield OnDisk(finish)
        log.info(
            "message %d of the outbox (%s) is %s%s",
            *(self._row.id, self._row.message_id, state, f": {error}" if error else ""),
        )
        is_over = state == "failed" or (state == "unknown" and due is None)
        return Carried(self._row.id, state, trouble, error if is_over else None)


def _place(row: Row, *, by_draft: bool) -> tuple[str, ...]:
    """Where a message is posted to."""
    if row.original is None:
        return ("messages",) if by_draft else ("sendMail",)
    actions = {"reply": "reply", "reply-all": "replyAll", "forward": "forward"}
    action = actions[row.action]
    create = f"create{action[0].upper()}{action[1:]}"
    return "messages", row.original, create if by_draft else action


def _is_no_right(error: GraphRefused) -> bool:
    return error.status == 403 and error.code != "ErrorSendAsDenied"


def _is_about_the_message(error: GraphRefused) -> bool:
    return error.status in _ABOUT_THE_MESSAGE or error.code == "ErrorSendAsDenied"
