"""What happens between a caller and Graph, as generators. No I/O, no clock: see `_wire`.

The one rule that everything here serves: **a send is never repeated blindly.** Graph has no
idempotency key, a gateway answers 504 for mail that went out, and a user has met four copies of one
message (learn.microsoft.com/answers/questions/2286986). So a request that sends is repeated only
after an answer, or a failure, that proves it was not carried out. Otherwise the mailbox is asked
whether it was; and where it cannot say, the caller is told `maybe_sent` and decides.

The public flows are the methods of both clients (`_client`): their first parameter is the client's
mailbox, their other parameters and docstrings are the method's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..errors import GraphError, GraphUnreachable, SmimeGraphError, UsageError
from . import _answers, _exchange, _outgoing
from ._mailbox import Mailbox, named
from ._wire import Flow, NoAnswer, Pause, Request, Response
from .models import Folder, MessageRef, Page

Via: TypeAlias = Literal["auto", "sendmail", "draft"]

# A sent message shows in the mailbox within a second as a rule, but Sent Items is known to lag.
LOOK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)

_PAGE, _MOST_PAGES, _MOST_ITEMS = 100, 200, 10_000
_FETCH_LIMIT = 150 * 1024 * 1024  # the most that an Exchange Online mailbox can be set to take


# --- sending -------------------------------------------------------------------------------------


def send(
    box: Mailbox, raw: bytes, *, save_to_sent_items: bool = True, via: Via = "auto"
) -> Flow[MessageRef]:
    """Send a finished message to the To, Cc and Bcc of its header.

    `via="sendmail"` is one request and needs the right Mail.Send; if its answer is lost, the
    message is looked up by its Message-ID, which needs Mail.Read. `via="draft"` makes a draft and
    sends that: two requests, needs Mail.ReadWrite, gives the id of the sent message, and always
    saves to Sent Items. `via="auto"` is sendmail, because Mail.Send is the one right that every
    sender has. Raises UsageError or MalformedMessage before anything is sent; GraphUnreachable with
    `maybe_sent=True` where nobody can tell: do not send it again unasked then.
    """
    if via not in ("auto", "sendmail", "draft"):
        raise UsageError(f"via is {via!r}, wanted 'auto', 'sendmail' or 'draft'")
    message_id = _outgoing.check_to_send(raw, recipients=True)
    if not save_to_sent_items:
        _check_unsaved(box, via)
    if via == "draft":
        return (yield from _send_as_draft(box, raw, message_id))
    kind, body = _outgoing.body_of_action(box, raw, save=save_to_sent_items)
    request = _exchange.post(box, "sendMail", kind=kind, body=body)
    return (yield from _deliver(box, request, message_id, look=save_to_sent_items))


def reply(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the reply to one in the mailbox.

    Graph addresses it to the sender of the original, whatever To and Cc of `raw` say: encrypt it
    for that person. `message_id` is Graph's id. Raises as `send` does.
    """
    return (yield from _answer_to(box, message_id, "reply", raw))


def reply_all(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the reply to all of one in the mailbox.

    Graph addresses it to the sender and every recipient of the original, whatever To and Cc of
    `raw` say: encrypt it for all of them. `message_id` is Graph's id. Raises as `send` does.
    """
    return (yield from _answer_to(box, message_id, "replyAll", raw))


def forward(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the forward of one in the mailbox, to the To, Cc and Bcc of its
    header.

    `raw` is sent as it is: it must hold the forwarded content. `message_id` is Graph's id. Raises
    as `send` does.
    """
    return (yield from _answer_to(box, message_id, "forward", raw, recipients=True))


def send_draft(box: Mailbox, message_id: str) -> Flow[MessageRef]:
    """Send a draft that is in the mailbox.

    A lost answer is settled by looking at the draft again. If it is still a draft after half a
    minute it was not sent, and is sent once more. That needs an immutable id, as all ids of this
    client are; another kind changes when the draft is sent, and then GraphUnreachable says
    `maybe_sent=True`.
    """
    request = _exchange.post(box, "messages", message_id, "send")
    look = _exchange.get(box, "messages", message_id, select=_answers.MESSAGE_FIELDS)
    answer = yield from _exchange.attempt(box, request, safe=False)
    if _accepted(box, answer):
        return _accepted_ref(answer, message_id, None)
    if not _uncertain(answer):
        raise _exchange.failure(box, answer)
    seen = yield from _watch(look, _sent_draft)
    if seen.unsent:
        # From here on only the mailbox counts: a 404 may well mean that the first attempt got
        # through.
        try:
            again = yield from _exchange.attempt(box, request, safe=False)
        except SmimeGraphError as error:
            raise _unknown(answer, f"it was a draft still, and then: {error}") from error
        if _accepted(box, again):
            return _accepted_ref(again, message_id, None)
        answer = again
        seen = yield from _watch(look, _sent_draft)
        if seen.unsent and not _uncertain(answer):
            raise _exchange.failure(box, answer)
    if seen.ref is None:
        raise _unknown(answer, seen.why)
    return seen.ref


# --- drafts --------------------------------------------------------------------------------------


def draft(box: Mailbox, raw: bytes) -> Flow[MessageRef]:
    """Put a finished message into Drafts.

    A lost answer is not repeated: GraphUnreachable then says that a stray draft may exist. Nothing
    is sent by this in any case. The same holds for the other methods that make a draft.
    """
    _outgoing.check_draft(raw)
    return (yield from _create(box, ("messages",), *_outgoing.body_of_item(box, raw)))


def create_reply(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Put a finished message into Drafts as the reply to one; see `reply` and `draft`."""
    return (yield from _create_answer(box, message_id, "createReply", raw))


def create_reply_all(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Put a finished message into Drafts as the reply to all; see `reply_all` and `draft`."""
    return (yield from _create_answer(box, message_id, "createReplyAll", raw))


def create_forward(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Put a finished message into Drafts as the forward of one; see `forward` and `draft`."""
    return (yield from _create_answer(box, message_id, "createForward", raw))


def update_draft(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Replace the whole content of a draft.

    Graph's v1.0 documents no such request and answers 405: GraphRefused. The design document and
    its emulator profile have it. Repeating it changes nothing, so a lost answer is simply asked
    again.
    """
    _outgoing.check_draft(raw)
    kind, body = _outgoing.body_of_item(box, raw)
    headers = {**_exchange.HEADERS, "Content-Type": kind}
    request = Request("PUT", box.at("messages", message_id, "$value"), headers, body)
    answer = yield from _exchange.attempt(box, request, safe=True)
    if isinstance(answer, Response) and answer.status == 405:
        raise _exchange.failure(
            box,
            answer,
            hint="Graph cannot replace the MIME of a draft: make a new one and delete the old one",
        )
    data = _answers.resource(_exchange.done(box, answer, ok=(200,)))
    return _answers.message_ref(data, request_id=_exchange.request_id(answer))


# --- reading -------------------------------------------------------------------------------------


def fetch(box: Mailbox, message_id: str, *, limit: int = _FETCH_LIMIT) -> Flow[bytes]:
    """The MIME of a message in the mailbox, byte for byte as the service gives it.

    Raises GraphError if it is longer than `limit` bytes.
    """
    if not isinstance(limit, int) or limit < 1:
        raise UsageError(f"limit is {limit!r}, wanted a number of bytes")
    request = replace(_exchange.get(box, "messages", message_id, "$value"), limit=limit)
    answer = yield from _exchange.attempt(box, request, safe=True)
    return _exchange.done(box, answer, ok=(200,)).body


def get(box: Mailbox, message_id: str) -> Flow[MessageRef]:
    """What the mailbox knows about one of its messages, by Graph's id."""
    request = _exchange.get(box, "messages", message_id, select=_answers.MESSAGE_FIELDS)
    answer = yield from _exchange.attempt(box, request, safe=True)
    data = _answers.resource(_exchange.done(box, answer, ok=(200,)))
    return _answers.message_ref(data, request_id=_exchange.request_id(answer))


def list_messages(
    box: Mailbox,
    folder: str | None = None,
    *,
    top: int = 50,
    internet_message_id: str | None = None,
) -> Flow[Page]:
    """The newest messages of the mailbox, or of one folder: at most `top` of them.

    `folder` is an id or a well-known name (`inbox`, `drafts`, `sentitems`). `internet_message_id`
    (with its angle brackets) asks for the copies of one message instead, in no order; mail to
    oneself has several. Raises GraphError if Graph's next page is on another host.
    """
    path = ("mailFolders", folder, "messages") if folder is not None else ("messages",)
    if internet_message_id is None:
        query = {"orderby": "receivedDateTime desc"}
    else:
        # Graph wants every ordered property in the filter as well, so a look-up goes without order.
        query = {"filter": _filter(internet_message_id)}
    query |= {"top": str(_page_size(top)), "select": _answers.MESSAGE_FIELDS}
    items, more = yield from _all(box, box.at(*path, **query), top=top)
    return Page(tuple(_answers.message_ref(item, request_id=None) for item in items), more)


def folders(box: Mailbox, *, top: int = 100) -> Flow[tuple[Folder, ...]]:
    """The folders at the top of the mailbox: at most `top` of them, in Graph's order."""
    query = {"top": str(_page_size(top)), "select": _answers.FOLDER_FIELDS}
    items, _ = yield from _all(box, box.at("mailFolders", **query), top=top)
    return tuple(_answers.folder(item) for item in items)


def _all(box: Mailbox, url: str, *, top: int) -> Flow[tuple[list[object], bool]]:
    """The items of a collection across its pages, and whether there are more. Both are bounded."""
    items: list[object] = []
    for _ in range(_MOST_PAGES):
        answer = yield from _exchange.attempt(
            box, Request("GET", url, _exchange.HEADERS), safe=True
        )
        page, link = _answers.collection(_exchange.done(box, answer, ok=(200,)))
        items += page
        if link is None or len(items) >= top:
            return items[:top], link is not None or len(items) > top
        url = box.next_page(link)
    return items, True


def _page_size(top: int) -> int:
    if not isinstance(top, int) or not 1 <= top <= _MOST_ITEMS:
        raise UsageError(f"top is {top!r}, wanted 1 to {_MOST_ITEMS}")
    return min(top, _PAGE)


def _filter(message_id: str) -> str:
    # OData 4.01 5.1.1.14.1: a quote inside a literal is doubled. The angle brackets belong to the
    # value.
    quoted = named(message_id, what="internet_message_id").replace("'", "''")
    return f"internetMessageId eq '{quoted}'"


# --- how a send is settled -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the mailbox showed: the sent message, or why not; `unsent` if it is still a draft."""

    ref: MessageRef | None
    why: str
    unsent: bool = False


def _answer_to(
    box: Mailbox, original: str, action: str, raw: bytes, *, recipients: bool = False
) -> Flow[MessageRef]:
    message_id = _outgoing.check_to_send(raw, recipients=recipients)
    kind, body = _outgoing.body_of_action(box, raw)
    request = _exchange.post(box, "messages", original, action, kind=kind, body=body)
    return (yield from _deliver(box, request, message_id))


def _send_as_draft(box: Mailbox, raw: bytes, message_id: str) -> Flow[MessageRef]:
    made = yield from _create(box, ("messages",), *_outgoing.body_of_item(box, raw))
    try:
        sent = yield from send_draft(box, made.id or "")
    except GraphError as error:
        if isinstance(error, GraphUnreachable) and error.maybe_sent:
            more = f"get({made.id!r}) tells whether it is a draft still"
        else:
            more = f"it stays unsent in Drafts, and send_draft({made.id!r}) sends it"
        error.hint = f"{error.hint}; {more}" if error.hint else more
        raise
    return replace(sent, internet_message_id=sent.internet_message_id or message_id)


def _deliver(
    box: Mailbox, request: Request, message_id: str, *, look: bool = True
) -> Flow[MessageRef]:
    answer = yield from _exchange.attempt(box, request, safe=False)
    if _accepted(box, answer):
        return _accepted_ref(answer, None, message_id)
    if not _uncertain(answer):
        raise _exchange.failure(box, answer)
    if not look:
        raise _unknown(answer, f"{message_id} was not to be saved, so there is nothing to look up")
    seen = yield from _watch(
        _exchange.get(
            box,
            "messages",
            filter=_filter(message_id),
            top=str(_PAGE),
            select=_answers.MESSAGE_FIELDS,
        ),
        lambda answer: _sent_copy(answer, message_id),
    )
    if seen.ref is None:
        raise _unknown(answer, f"{message_id}: {seen.why}")
    return seen.ref


def _watch(request: Request, judge: Callable[[Response], _Seen]) -> Flow[_Seen]:
    """Look at the mailbox several times within half a minute, until `judge` sees the sent message.

    Never raises: whatever goes wrong here, what is to be told is that nobody knows.
    """
    seen = _Seen(None, "the mailbox was not asked")
    asked = 0.0
    for pause in LOOK_PAUSES:
        yield Pause(max(pause, min(asked, _exchange.LONGEST_WAIT)))
        asked = 0.0
        # Only the last look counts: what an earlier one saw may have changed since.
        try:
            answer = yield from _exchange.ask(request)
            if isinstance(answer, NoAnswer):
                seen = _Seen(None, f"looking it up failed: {answer.reason}")
            elif answer.status in (401, 403):
                return _Seen(None, "no right to look it up (Mail.Read)")
            elif answer.status == 404:
                seen = _Seen(None, "the mailbox does not show it")
            elif answer.status == 200 and answer.end == "whole":
                seen = judge(answer)
            else:
                asked = _answers.retry_after(answer) or 0.0
                seen = _Seen(None, f"looking it up failed: {_answers.describe(answer)}")
        except SmimeGraphError as error:
            seen = _Seen(None, f"looking it up failed: {error}")
        if seen.ref is not None:
            break
    return seen


def _sent_copy(answer: Response, message_id: str) -> _Seen:
    # The ids are compared again: a service that overlooks $filter lists other people's mail.
    items, _ = _answers.collection(answer)
    ours = [i for i in items if isinstance(i, dict) and i.get("internetMessageId") == message_id]
    sent = [i for i in ours if i.get("isDraft") is False]
    if not sent:
        # Exchange submits from Drafts after it has answered, so a draft proves nothing yet.
        return _Seen(
            None, "it is in the mailbox as a draft" if ours else "the mailbox does not show it"
        )
    # Mail to oneself has a copy that came in as well, and an earlier send of the same message left
    # one: each proves that it was sent.
    request_id = _answers.request_id_of(answer)
    return _Seen(_answers.message_ref(sent[0], status="confirmed", request_id=request_id), "")


def _sent_draft(answer: Response) -> _Seen:
    data = _answers.resource(answer)
    if data.get("isDraft") is True:
        return _Seen(None, "it is a draft still", unsent=True)
    if data.get("isDraft") is not False:
        return _Seen(None, "the mailbox does not say whether it is a draft")
    request_id = _answers.request_id_of(answer)
    return _Seen(_answers.message_ref(data, status="confirmed", request_id=request_id), "")


def _accepted(box: Mailbox, answer: Response | NoAnswer) -> bool:
    # 202 is what v1.0 documents for every send. The design document shows 200 for some. In the
    # text/plain form a 200 is looked into: it was seen for mail that was too large and never went
    # out (GD#13979).
    good = (202,) if box.wire == "text-plain" else (200, 202)
    return isinstance(answer, Response) and answer.status in good


def _uncertain(answer: Response | NoAnswer) -> bool:
    """May the request have been carried out, although the answer does not say so?"""
    if isinstance(answer, NoAnswer):
        return answer.sent != "no"
    # 501, 505, 507 and 509 are verdicts; the other 5xx, and 408, are what gateways answer for
    # services that they lost sight of.
    return (
        200 <= answer.status < 300
        or answer.status == 408
        or (answer.status >= 500 and answer.status not in (501, 505, 507, 509))
    )


def _unknown(answer: Response | NoAnswer, why: str) -> GraphUnreachable:
    got = answer.reason if isinstance(answer, NoAnswer) else _answers.describe(answer)
    return GraphUnreachable(
        f"it is not known whether the message was sent: {got}; {why}",
        maybe_sent=True,
        hint="do not send it again unasked: look into Sent Items and Drafts, or ask a recipient",
    )


def _accepted_ref(
    answer: Response | NoAnswer, item: str | None, internet_message_id: str | None
) -> MessageRef:
    return MessageRef(
        item, internet_message_id, "accepted", request_id=_exchange.request_id(answer)
    )


def _check_unsaved(box: Mailbox, via: Via) -> None:
    if box.wire == "text-plain":
        raise UsageError(
            "save_to_sent_items=False cannot be told to Graph: its text/plain form has no place for"
            " it, and the live service has no mimeContent form that would",
            hint="delete the copy from Sent Items afterwards; wire='mime-content' is the design"
            " document's form, for services that have it",
        )
    if via == "draft":
        raise UsageError(
            "save_to_sent_items=False cannot be told when a draft is sent: that is always saved",
            hint="use via='sendmail'",
        )


# --- how a draft is made -------------------------------------------------------------------------


def _create_answer(box: Mailbox, original: str, action: str, raw: bytes) -> Flow[MessageRef]:
    _outgoing.check_draft(raw)
    path = ("messages", original, action)
    return (yield from _create(box, path, *_outgoing.body_of_action(box, raw)))


def _create(box: Mailbox, path: tuple[str, ...], kind: str, body: bytes) -> Flow[MessageRef]:
    answer = yield from _exchange.attempt(
        box, _exchange.post(box, *path, kind=kind, body=body), safe=False
    )
    done = isinstance(answer, Response) and answer.status in (200, 201)
    if not done and not _uncertain(answer):
        raise _exchange.failure(box, answer)
    try:
        data = _answers.resource(_exchange.done(box, answer, ok=(200, 201)))
        return _answers.message_ref(data, status="draft", request_id=_exchange.request_id(answer))
    except GraphError as error:
        # Whatever became of it, nothing was sent: asking again costs a stray draft at most, but
        # whether one is wanted is for the caller to say.
        error.hint = (
            "nothing was sent; an unsent copy may lie in Drafts, so look before you ask again"
        )
        raise
