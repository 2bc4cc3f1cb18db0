"""How a send is settled when its answer does not say: what proves that it went out. No I/O.

The proof is in the mailbox, and only there. For a message that was handed over whole it is a copy
in Sent Items that Graph made after the attempt began, to the people it was to go to; for a draft,
that this very item is a draft no longer. Neither a Message-ID alone proves anything (an earlier
send has the same, and whoever writes to this mailbox may choose it), nor `sentDateTime` (which is
the message's own Date). What is not proven is unknown, and unknown is never sent again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ..errors import GraphUnreachable, SmimeGraphError
from . import _answers, _exchange
from ._mailbox import Mailbox, named
from ._sending import LOOK_FIRST, Sending
from ._wire import Flow, NoAnswer, Pause, Request, Response
from .models import MessageRef

# A sent message shows in the mailbox within a second as a rule, but Sent Items is known to lag.
LOOK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
LOOK_PAGE = 100

_PEOPLE = ("toRecipients", "ccRecipients", "bccRecipients")
_COPY_FIELDS = ",".join((_answers.MESSAGE_FIELDS, "createdDateTime", *_PEOPLE))
_ORIGINAL_FIELDS = "from,replyTo,toRecipients,ccRecipients"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the mailbox showed: the sent message, or why not; `unsent` if it shows that it was not.

    An absence proves nothing after an answer that was lost: Graph makes the copy when it gets to
    it. `is_draft`: its very item is a draft. `failed`: the mailbox was not seen at all. `denied` is
    the status that said that nobody may look, and `retry_after` the seconds after which to look
    again, if the answer asks for any. `message_id` is that of a draft.
    """

    ref: MessageRef | None
    why: str
    unsent: bool = False
    is_draft: bool = False
    failed: bool = False
    denied: int | None = None
    retry_after: float | None = None
    message_id: str | None = None


Sent: TypeAlias = Response | NoAnswer
Look: TypeAlias = Callable[[Sending, Sent], Flow[Seen]]
Judge: TypeAlias = Callable[[Response], Seen]
# is a copy in Sent Items to the people whom it was to go to?
ToThem: TypeAlias = Callable[[Mapping[str, Any]], bool]
# the second in which an attempt began, by the clock of the server that gives this answer
Began: TypeAlias = Callable[[Response], float | None]


def deliver(
    box: Mailbox, request: Request, sending: Sending, *, ok: Collection[int], look: Look
) -> Flow[MessageRef]:
    """Make the request that sends, and tell what became of it.

    `ok` are the documented statuses of success. `look` is asked after every answer that proves
    nothing, and after a refusal if the request had been repeated. Raises GraphThrottled and
    GraphRefused for what was not sent, GraphUnreachable for that and for what nobody knows.
    """
    got = yield from submit(box, request, sending, ok=ok)
    if isinstance(got, MessageRef):
        return got
    # after a repetition the refusal is of the last attempt; that none was made speaks for itself
    if sending.disposition == "unknown" or (sending.repeated and isinstance(got, Response)):
        unsure, sending.disposition = sending.disposition == "unknown", "unknown"
        seen = yield from look(sending, got)
        if seen.ref is not None:
            return seen.ref
        if unsure or not seen.unsent:
            raise unknown(got, sending, seen.why)
        sending.disposition = "refused"
    raise _exchange.failure(box, got)


def submit(
    box: Mailbox, request: Request, sending: Sending, *, ok: Collection[int]
) -> Flow[MessageRef | Sent]:
    """Make the request that sends, without settling what its answer leaves open.

    The message as Graph took it, or the answer that says something else: `sending.disposition` is
    then `unknown` (see `settle`), or why it was not sent. Raises GraphThrottled, `not-sent`.
    """
    answer = yield from _exchange.attempt(box, request, safe=False, sending=sending)
    if _accepted(answer, ok):
        request_id = _exchange.request_id(answer)
        return MessageRef(sending.draft_id, sending.message_id, "accepted", request_id=request_id)
    if uncertain(answer):
        sending.disposition = "unknown"
    else:
        sending.disposition = "refused" if isinstance(answer, Response) else "not-sent"
    return answer


def _accepted(answer: Sent, ok: Collection[int]) -> bool:
    if isinstance(answer, NoAnswer) or answer.status not in ok or _answers.names_error(answer):
        return False
    # Graph answers 202 without a body. A page is somebody else's, for example a proxy's where one
    # has to log in; and for 200, which every page has, whatever is no JSON is taken for one.
    kind = _answers.media_type(answer)
    empty = not answer.body.strip() and answer.end == "whole"
    if answer.status == 202:
        return empty or kind in ("", "application/json", "text/plain")
    return empty or kind == "application/json"


def uncertain(answer: Sent) -> bool:
    """May the request have been carried out, although the answer does not say so?"""
    if isinstance(answer, NoAnswer):
        return answer.sent != "no"
    # 408, 429 and 5xx are also what gateways answer for services that they lost sight of. A 3xx
    # that does not say where else to ask says nothing: a 303 follows what was done (RFC 9110
    # 15.4.4). Nor does a 1xx, which is no final answer.
    status = answer.status
    if status == 429:
        return not _answers.is_throttling(answer)
    if 300 <= status < 400:
        return status not in (300, 301, 302, 307, 308)
    return status < 300 or status == 408 or status >= 500


def unknown(answer: Sent, sending: Sending, why: str) -> GraphUnreachable:
    got = said(answer)
    what = sending.message_id or "the message"
    return GraphUnreachable(
        f"it is not known whether the message was sent: {got}; {what}: {why}", hint=LOOK_FIRST
    )


def said(answer: Sent) -> str:
    """What came back, in a few words for people."""
    return answer.reason if isinstance(answer, NoAnswer) else _answers.describe(answer)


# --- looking -------------------------------------------------------------------------------------


def nowhere(_sending: Sending, _sent: Sent) -> Flow[Seen]:
    """The look for a message of which no copy is kept."""
    yield from ()
    return Seen(None, "it was not to be saved, so there is nothing to look up")


def at_sent_items(box: Mailbox, header: frozenset[str]) -> Look:
    """The look for a message that goes to the addresses of its header."""

    def look(sending: Sending, sent: Sent) -> Flow[Seen]:
        def to_them(copy: Mapping[str, Any]) -> bool:
            return addresses_of(copy, *_PEOPLE) == header

        return (yield from _watch_sent_items(box, sending, sent, to_them))

    return look


def at_answer(
    box: Mailbox,
    original: str,
    action: Literal["reply", "replyAll"],
    header: frozenset[str],
) -> Look:
    """The look for an answer, which goes to people of the original.

    To whom of its header as well is not documented, so they may be among the recipients and need
    not be.
    """

    def look(sending: Sending, sent: Sent) -> Flow[Seen]:
        try:
            got = yield from _exchange.attempt(
                box, _exchange.get(box, "messages", original, select=_ORIGINAL_FIELDS), safe=True
            )
            first = _answers.resource(_exchange.done(box, got, ok=(200,)))
        except SmimeGraphError as error:
            return Seen(None, f"whom it answers is not known: {error}")

        def to_them(copy: Mapping[str, Any]) -> bool:
            return _is_to(copy, first, header, everyone=action == "replyAll")

        return (yield from _watch_sent_items(box, sending, sent, to_them))

    return look


def _is_to(
    copy: Mapping[str, Any], first: Mapping[str, Any], header: frozenset[str], *, everyone: bool
) -> bool:
    own = addresses_of(copy, "from")
    authors = addresses_of(first, "from", "replyTo")
    others = addresses_of(first, "toRecipients", "ccRecipients") if everyone else frozenset()
    got = addresses_of(copy, *_PEOPLE)
    wanted = authors - own if everyone else authors
    answered = bool(got & wanted) or (everyone and not wanted)
    return bool(got) and answered and others - own <= got and got <= authors | others | header


def addresses_of(data: Mapping[str, Any], *names: str) -> frozenset[str]:
    """The addresses of some recipient properties, in lower case; "" for one that has none."""
    people: list[object] = []
    for name in names:
        value = data.get(name)
        people += value if isinstance(value, list) else [] if value is None else [value]
    return frozenset(_address(person) for person in people)


def _address(person: object) -> str:
    inner = person.get("emailAddress") if isinstance(person, Mapping) else None
    address = inner.get("address") if isinstance(inner, Mapping) else None
    return address.strip().lower() if isinstance(address, str) else ""


def _watch_sent_items(
    box: Mailbox, sending: Sending, sent: Sent, to_them: Callable[[Mapping[str, Any]], bool]
) -> Flow[Seen]:
    message_id = sending.message_id or ""
    judge = _in_sent_items(message_id, lambda answer: _began(sending, answer), to_them)
    return (yield from _watch(_copies_in(box, "sentitems", message_id), sent, judge))


def _copies_in(box: Mailbox, folder: str, message_id: str) -> Request:
    return _exchange.get(
        box,
        *("mailFolders", folder, "messages"),
        filter=by_message_id(message_id),
        top=str(LOOK_PAGE),
        select=_COPY_FIELDS,
    )


def _in_sent_items(
    message_id: str, began_by: Began, to_them: Callable[[Mapping[str, Any]], bool]
) -> Judge:
    """What proves that a message was sent: a copy that was made since, to the people meant."""

    def judge(answer: Response) -> Seen:
        # The ids are compared again: a service that overlooks $filter lists other messages.
        items, _ = _answers.collection(answer)
        copies = _of(items, message_id, is_draft=False)
        if not copies:
            return Seen(None, "Sent Items does not show it", unsent=True)
        began = began_by(answer)
        if began is None:
            return Seen(None, "the server does not tell its time, so a copy may be an older one")
        copies = [copy for copy in copies if _is_made_since(began, copy)]
        if not copies:
            return Seen(None, "Sent Items shows none but an older copy", unsent=True)
        copies = [copy for copy in copies if to_them(copy)]
        if not copies:
            return Seen(None, "the copy in Sent Items is to others", unsent=True)
        return _confirmed(copies[0], answer)

    return judge


def _of(items: Iterable[object], message_id: str, *, is_draft: bool) -> list[dict[str, Any]]:
    return [
        item
        for item in items
        if isinstance(item, dict)
        and item.get("internetMessageId") == message_id
        and item.get("isDraft") is is_draft
    ]


def settle(
    box: Mailbox,
    message_id: str,
    *,
    began_by: Began,
    people: Flow[ToThem | Seen],
    draft_id: str | None,
) -> Flow[Seen]:
    """Look once, at any time later, whether a message was sent by an attempt. Never raises.

    With `draft_id` that item tells it; where it is gone, as without one, Sent Items does, and if
    that shows nothing, whether the message lies in Drafts is said as well. `people` is `those` or
    `whom_it_answers`.
    """
    if draft_id is not None:
        seen = yield from look_at_draft(box, draft_id)
        if seen.ref is not None or seen.is_draft or seen.failed:
            return seen
    to_them = yield from people
    if isinstance(to_them, Seen):
        return to_them
    judge = _in_sent_items(message_id, began_by, to_them)
    seen = yield from _look(_copies_in(box, "sentitems", message_id), judge)
    if not seen.unsent:
        return seen

    def in_drafts(answer: Response) -> Seen:
        items, _ = _answers.collection(answer)
        if not _of(items, message_id, is_draft=True):
            return seen
        return replace(seen, why=f"{seen.why}, and a copy of it lies in Drafts")

    there = yield from _look(_copies_in(box, "drafts", message_id), in_drafts)
    return there if there.unsent else seen


def those(recipients: frozenset[str] | None) -> Flow[ToThem | Seen]:
    """The people of `settle`: just these addresses, whatever they are where it is None."""
    yield from ()
    return lambda copy: recipients is None or addresses_of(copy, *_PEOPLE) == recipients


def whom_it_answers(
    box: Mailbox, original: str, header: frozenset[str], *, everyone: bool
) -> Flow[ToThem | Seen]:
    """The people of `settle` for an answer; see `at_answer`."""
    first: dict[str, Any] = {}

    def judge(answer: Response) -> Seen:
        first.update(_answers.resource(answer))
        return Seen(None, "")

    request = _exchange.get(box, "messages", original, select=_ORIGINAL_FIELDS)
    seen = yield from _look(request, judge)
    if not first:
        return replace(seen, why=f"whom it answers is not known: {seen.why}")
    return lambda copy: _is_to(copy, first, header, everyone=everyone)


def look_at_draft(box: Mailbox, draft_id: str) -> Flow[Seen]:
    """Look once whether that item is a draft. Never raises."""
    request = _exchange.get(box, "messages", draft_id, select=_answers.MESSAGE_FIELDS)
    return (yield from _look(request, _item(draft_id)))


def since(when: float) -> Began:
    """The time of an attempt, in Unix seconds of the clock of `Response.received_at`, by the
    server's clock.
    """

    def began(look: Response) -> float | None:
        date = _answers.date_of(look)
        return None if date is None else math.floor(date - (look.received_at - when))

    return began


def drafts_made(box: Mailbox, message_id: str, sent: Sent) -> Flow[tuple[str, ...]]:
    """The ids of the drafts with this Message-ID that were made since a lost attempt began.

    One look, and nothing where it fails: a draft is made before it is answered for.
    """
    yield Pause(LOOK_PAUSES[0])
    began = Sending(began_at=sent.began_at)
    found = yield from drafts_since(box, message_id, began_by=lambda answer: _began(began, answer))
    return found or ()


def drafts_since(
    box: Mailbox,
    message_id: str,
    *,
    began_by: Began,
    recipients: frozenset[str] | None = None,
) -> Flow[tuple[str, ...] | None]:
    """The ids of the drafts with this Message-ID (to these people) that were made since.

    One look; None where it fails, but not where nobody may look or nothing is there.
    """
    try:
        answer = yield from _exchange.ask(_copies_in(box, "drafts", message_id))
        if isinstance(answer, Response) and answer.status in (403, 404):
            return ()
        if isinstance(answer, NoAnswer) or answer.status != 200 or answer.end != "whole":
            return None
        items, _ = _answers.collection(answer)
        drafts = [
            (item, _answers.message_ref(item, request_id=None).id)
            for item in _of(items, message_id, is_draft=True)
        ]
    except SmimeGraphError:
        return None
    began = began_by(answer)
    if began is None:
        return None
    return tuple(
        draft_id
        for item, draft_id in drafts
        if _is_made_since(began, item)
        and (recipients is None or addresses_of(item, *_PEOPLE) == recipients)
    )


def _began(sending: Sending, look: Response) -> float | None:
    """The second in which the attempt began, by the server's clock.

    Our own clock measures only how long ago that is. Date and createdDateTime are whole seconds, so
    a copy of the second in which the attempt began counts as made since.
    """
    date = _answers.date_of(look)
    if date is None or sending.began_at is None:
        return None
    return math.floor(date - (look.began_at - sending.began_at))


def _is_made_since(began: float, copy: Mapping[str, Any]) -> bool:
    made = _answers.time_of(copy.get("createdDateTime"))
    return made is not None and made.timestamp() >= began


def at_draft(box: Mailbox, draft_id: str, *, known_as_draft: bool) -> Look:
    """The look for a draft that was sent: the id is immutable, so the item is found again.

    Unless it is `known_as_draft`, an item that is none proves nothing (an id of the inbox is none
    either): then it has to lie in Sent Items.
    """

    def look(_sending: Sending, sent: Sent) -> Flow[Seen]:
        request = _exchange.get(box, "messages", draft_id, select=_answers.MESSAGE_FIELDS)
        seen = yield from _watch(request, sent, _item(draft_id))
        if seen.ref is None or known_as_draft:
            return seen
        place = "mailFolders", "sentitems", "messages", draft_id
        try:
            there = yield from _exchange.attempt(box, _exchange.get(box, *place), safe=True)
            _exchange.done(box, there, ok=(200,))
        except SmimeGraphError as error:
            return Seen(None, f"it is no draft, but not seen in Sent Items: {error}")
        return seen

    return look


def _item(draft_id: str) -> Judge:
    """What proves that a draft was sent: this very item is one no longer."""

    def judge(answer: Response) -> Seen:
        data = _answers.resource(answer)
        if data.get("isDraft") is True:
            message_id = _answers.message_ref(data, request_id=None).internet_message_id
            return Seen(
                None, "it is a draft still", unsent=True, is_draft=True, message_id=message_id
            )
        if data.get("isDraft") is not False or data.get("id") != draft_id:
            return Seen(None, "the mailbox does not say whether it is a draft")
        return _confirmed(data, answer)

    return judge


def _confirmed(data: object, answer: Response) -> Seen:
    request_id = _answers.request_id_of(answer)
    return Seen(_answers.message_ref(data, status="confirmed", request_id=request_id), "")


def by_message_id(message_id: str) -> str:
    """The filter for the copies of a message."""
    # OData 4.01 5.1.1.14.1: a quote inside a literal is doubled. The angle brackets belong to the
    # value.
    quoted = named(message_id, what="internet_message_id").replace("'", "''")
    return f"internetMessageId eq '{quoted}'"


def _watch(request: Request, sent: Sent, judge: Judge) -> Flow[Seen]:
    """Look at the mailbox several times within half a minute, until `judge` sees the sent message.

    Never raises: whatever goes wrong here, what is to be told is that nobody knows.
    """
    seen = Seen(None, "the mailbox was not asked")
    asked = _answers.retry_after(sent) if isinstance(sent, Response) else None
    for pause in LOOK_PAUSES:
        yield Pause(max(pause, min(asked or 0.0, _exchange.LONGEST_WAIT)))
        # Only the last look counts: what an earlier one saw may have changed since.
        seen = yield from _look(request, judge)
        if seen.ref is not None or seen.denied is not None:
            break
        asked = seen.retry_after
    return seen


def _look(request: Request, judge: Judge) -> Flow[Seen]:
    """One look at the mailbox. Never raises."""
    try:
        answer = yield from _exchange.ask(request)
        if isinstance(answer, NoAnswer):
            return Seen(None, f"looking it up failed: {answer.reason}", failed=True)
        if answer.status == 401:
            return Seen(
                None, "looking it up failed: the token was refused", failed=True, denied=401
            )
        if answer.status == 403:
            return Seen(None, "no right to look it up (Mail.Read)", failed=True, denied=403)
        if answer.status == 404:
            return Seen(None, "the mailbox does not show it")
        if answer.status == 200 and answer.end == "whole":
            return judge(answer)
        why = f"looking it up failed: {_answers.describe(answer)}"
        return Seen(None, why, failed=True, retry_after=_answers.retry_after(answer))
    except SmimeGraphError as error:
        return Seen(None, f"looking it up failed: {error}", failed=True)
