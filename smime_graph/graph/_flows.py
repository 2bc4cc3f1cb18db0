"""What happens between a caller and Graph, as generators. No I/O, no clock: see `_wire`.

The one rule that everything here serves: **a send is never repeated blindly.** Graph has no
idempotency key, a gateway answers 504 for mail that went out, and a user has met four copies of one
message (learn.microsoft.com/answers/questions/2286986). So a request that sends is repeated only
after an answer, or a failure, that proves it was not carried out. Otherwise the mailbox is asked
whether it was (`_settle`); and where it cannot say, the caller is told so and decides.

The public flows are the methods of both clients (`_client`): their first parameter is the client's
mailbox, their other parameters and docstrings are the method's. A message in the mailbox and the
octets that answer or replace it are a call's subject together: these two may go without names.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Literal

from ..buffers import Data
from ..errors import GraphError, GraphUnreachable, Hint, Remedy, SmimeGraphError, UsageError
from . import _answers, _exchange, _outgoing, _settle
from ._mailbox import Mailbox, named
from ._outgoing import Via
from ._sending import LOOK_FIRST, Sending
from ._wire import Flow, Request, Response
from .models import Folder, MailboxContact, MessageRef, Page, StoredMessage

_PAGE, _MOST_PAGES, _MOST_ITEMS = 100, 200, 10_000
_FETCH_LIMIT = 150 * 1024 * 1024  # the most that an Exchange Online mailbox can be set to take


# --- sending -------------------------------------------------------------------------------------


def send(
    box: Mailbox, raw: bytes, *, save_to_sent_items: bool = True, via: Via = "auto"
) -> Flow[MessageRef]:
    """Send a finished message to the To, Cc and Bcc of its header.

    `via="sendmail"` is one request and needs the right Mail.Send; if its answer is lost, the copy
    in Sent Items is looked for, which needs Mail.Read. `via="draft"` makes a draft and sends that:
    two requests, needs Mail.ReadWrite, gives the id of the sent message, can always be settled
    later by that id, and always saves to Sent Items. `via="auto"` is sendmail, because Mail.Send is
    the one right that every sender has.

    Whatever it raises has a `disposition`. Repeat a send that is `not-sent`, change one that is
    `refused`, and never repeat one that is `unknown` unasked: look into Sent Items (or at
    `draft_id`), or ask a recipient. A task that is cancelled, and a program that is interrupted, in
    the middle of a send is told the same by the GraphUnreachable that is the cause of its
    CancelledError or KeyboardInterrupt. Raises UsageError or MalformedMessage before anything is
    sent, GraphThrottled, GraphRefused, and GraphUnreachable where there was no answer or none that
    tells.
    """
    sending = Sending()
    return (yield from sending.told(_send(box, sending, raw, save_to_sent_items, via)))


def _send(
    box: Mailbox, sending: Sending, raw: bytes, save_to_sent_items: bool, via: Via
) -> Flow[MessageRef]:
    checked = _outgoing.checked(box, raw, via=via, save_to_sent_items=save_to_sent_items)
    sending.message_id = checked.message_id
    if via == "draft":
        return (yield from _send_as_draft(box, sending, raw))
    kind, body = _outgoing.body_of(box, raw, via=via, save_to_sent_items=save_to_sent_items)
    request = _exchange.post(box, "sendMail", kind=kind, body=body)
    look: _settle.Look = _settle.nowhere
    if save_to_sent_items:
        look = _settle.at_sent_items(box, checked.recipients)
    return (yield from _settle.deliver(box, request, sending, ok=(202,), look=look))


def reply(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the reply to one in the mailbox.

    Graph addresses it to the sender of the original, whatever To and Cc of `raw` say: encrypt it
    for that person. `message_id` is Graph's id. Raises as `send` does.
    """
    sending = Sending()
    return (yield from sending.told(_answer_to(box, sending, message_id, "reply", raw)))


def reply_all(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the reply to all of one in the mailbox.

    Graph addresses it to the sender and every recipient of the original, whatever To and Cc of
    `raw` say: encrypt it for all of them. `message_id` is Graph's id. Raises as `send` does.
    """
    sending = Sending()
    return (yield from sending.told(_answer_to(box, sending, message_id, "replyAll", raw)))


def forward(box: Mailbox, message_id: str, raw: bytes) -> Flow[MessageRef]:
    """Send a finished message as the forward of one in the mailbox, to the To, Cc and Bcc of its
    header.

    `raw` is sent as it is: it must hold the forwarded content. `message_id` is Graph's id. Raises
    as `send` does.
    """
    sending = Sending()
    return (yield from sending.told(_answer_to(box, sending, message_id, "forward", raw)))


def _answer_to(
    box: Mailbox,
    sending: Sending,
    original: str,
    action: Literal["reply", "replyAll", "forward"],
    raw: bytes,
) -> Flow[MessageRef]:
    known: _outgoing.Action = "reply-all" if action == "replyAll" else action
    checked = _outgoing.checked(box, raw, action=known)
    sending.message_id = checked.message_id
    kind, body = _outgoing.body_of(box, raw, action=known)
    request = _exchange.post(box, "messages", original, action, kind=kind, body=body)
    if action == "forward":
        look = _settle.at_sent_items(box, checked.recipients)
    else:
        look = _settle.at_answer(box, original, action, checked.recipients)
    # The design document shows 200 for two of the three; in the form of v1.0 a 200 is looked into:
    # it was seen for mail that was too large and never went out (GD#13979).
    shows_200 = box.wire == "mime-content" and action != "reply"
    ok = (200, 202) if shows_200 else (202,)
    return (yield from _settle.deliver(box, request, sending, ok=ok, look=look))


def send_draft(box: Mailbox, message_id: str) -> Flow[MessageRef]:
    """Send a draft that is in the mailbox.

    `message_id` is Graph's id. If the answer is lost, the draft is looked at again: an immutable
    id, as all ids of this client are, stays with the item when it moves to Sent Items; another kind
    changes, and then nobody can tell. A draft that is still one after half a minute may be on its
    way all the same, so it is not sent again: `unknown`. Raises as `send` does.
    """
    sending = Sending(draft_id=message_id)
    return (yield from sending.told(_post_draft(box, sending, message_id, known_as_draft=False)))


def settle(
    box: Mailbox,
    message_id: str,
    *,
    since: datetime,
    recipients: Collection[str] | None = None,
    draft_id: str | None = None,
) -> Flow[MessageRef]:
    """Look once, hours later if need be, whether a send that nobody knew of went out after all.

    `message_id` is the Message-ID with its angle brackets, `since` when the attempt began, by the
    clock of this machine; what counts is a copy in Sent Items that was made after that, by the
    server's time, and to just the `recipients` (addresses) if they are given. With `draft_id` that
    very item tells it. Needs Mail.Read. Raises GraphUnreachable, `unknown`, where the mailbox does
    not prove it: it may still show it later.
    """
    sending = Sending(message_id=message_id, draft_id=draft_id, disposition="unknown")
    if not isinstance(since, datetime) or since.tzinfo is None:
        raise UsageError("since is no time with a zone", hint="give one in UTC")
    if draft_id is not None:
        named(draft_id, what="draft_id")
    people = recipients
    if people is not None:
        if isinstance(people, str) or not all(isinstance(one, str) for one in people):
            raise UsageError("recipients are no list of addresses")
        people = frozenset(one.strip().lower() for one in people)
    _settle.by_message_id(message_id)
    look = _settle.settle(
        box,
        message_id,
        began_by=_settle.since(since.timestamp()),
        people=_settle.those(people),
        draft_id=draft_id,
    )
    return (yield from sending.told(_proven(look, message_id)))


def _proven(look: Flow[_settle.Seen], message_id: str) -> Flow[MessageRef]:
    seen = yield from look
    if seen.ref is None:
        raise GraphUnreachable(
            f"it is not known whether the message was sent: {message_id}: {seen.why}",
            hint=LOOK_FIRST,
        )
    return seen.ref


def _send_as_draft(box: Mailbox, sending: Sending, raw: bytes) -> Flow[MessageRef]:
    kind, body = _outgoing.body_of(box, raw, via="draft")
    made = yield from _create(
        box, ("messages",), kind, body, message_id=sending.message_id, ok=(201,)
    )
    sending.draft_id = draft_id = made.id
    try:
        return (yield from _post_draft(box, sending, draft_id, known_as_draft=True))
    except SmimeGraphError as error:
        if sending.disposition == "unknown":
            remedy: Remedy = "get-draft"
            more = f"get({draft_id!r}) tells whether it is a draft still"
        else:
            remedy = "send-draft"
            more = f"it stays unsent in Drafts, and send_draft({draft_id!r}) sends it"
        error.hint = Hint(more, remedy, draft_id, before=f"{error.hint}; " if error.hint else "")
        raise


def _post_draft(
    box: Mailbox, sending: Sending, draft_id: str, *, known_as_draft: bool
) -> Flow[MessageRef]:
    request = _exchange.post(box, "messages", draft_id, "send")
    look = _settle.at_draft(box, draft_id, known_as_draft=known_as_draft)
    return (yield from _settle.deliver(box, request, sending, ok=(202,), look=look))


# --- drafts --------------------------------------------------------------------------------------


def draft(box: Mailbox, raw: bytes) -> Flow[StoredMessage]:
    """Put a finished message into Drafts.

    Where the answer is lost it is not asked again: the error says that an unsent copy may lie in
    Drafts, and has its id as `draft_id` where Drafts shows it. Nothing is sent by this in any case.
    The same holds for the other methods that make a draft.
    """
    message_id = _outgoing.check_draft(raw)
    kind, body = _outgoing.body_of(box, raw, action="draft")
    return (yield from _create(box, ("messages",), kind, body, message_id=message_id, ok=(201,)))


def create_reply(box: Mailbox, message_id: str, raw: bytes) -> Flow[StoredMessage]:
    """Put a finished message into Drafts as the reply to one; see `reply` and `draft`."""
    return (yield from _create_answer(box, message_id, "createReply", raw))


def create_reply_all(box: Mailbox, message_id: str, raw: bytes) -> Flow[StoredMessage]:
    """Put a finished message into Drafts as the reply to all; see `reply_all` and `draft`."""
    return (yield from _create_answer(box, message_id, "createReplyAll", raw))


def create_forward(box: Mailbox, message_id: str, raw: bytes) -> Flow[StoredMessage]:
    """Put a finished message into Drafts as the forward of one; see `forward` and `draft`."""
    return (yield from _create_answer(box, message_id, "createForward", raw))


def update_draft(box: Mailbox, message_id: str, raw: bytes) -> Flow[StoredMessage]:
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


# --- deleting ------------------------------------------------------------------------------------


def delete(box: Mailbox, message_id: str) -> Flow[None]:
    """Delete a message: it goes to Deleted Items, and one that lies there is gone for good.

    `message_id` is Graph's id. Needs Mail.ReadWrite. A lost answer is not repeated, because the
    second time would be for good: GraphUnreachable says that nobody knows.
    """
    request = Request("DELETE", box.at("messages", message_id), _exchange.HEADERS)
    answer = yield from _exchange.attempt(box, request, safe=False)
    if isinstance(answer, Response) and answer.status == 204:
        return
    if not _settle.uncertain(answer):
        raise _exchange.failure(box, answer)
    got = _answers.describe(answer) if isinstance(answer, Response) else answer.reason
    error = GraphUnreachable(
        f"it is not known whether the message was deleted: {got}",
        hint="look where it lies now before you repeat it: what lies in Deleted Items is deleted"
        " for good",
    )
    error.client_request_id = answer.client_request_id
    raise error


# --- reading -------------------------------------------------------------------------------------


def fetch(box: Mailbox, message_id: str, *, limit: int = _FETCH_LIMIT) -> Flow[bytes]:
    """The MIME of a message in the mailbox, byte for byte as the service gives it.

    Raises GraphError if it is longer than `limit` bytes, or if the answer is something else than
    the text/plain of Graph: a proxy's page where one has to log in is no message.
    """
    return bytes((yield from fetch_spooled(box, message_id, limit=limit)))


def fetch_spooled(box: Mailbox, message_id: str, *, limit: int = _FETCH_LIMIT) -> Flow[Data]:
    """As `fetch`; what is large is a mapped temporary file, and at no time in memory."""
    if not isinstance(limit, int) or limit < 1:
        raise UsageError(f"limit is {limit!r}, wanted a number of bytes")
    asked = _exchange.get(box, "messages", message_id, "$value")
    request = replace(asked, limit=limit, spooled=True)
    answer = yield from _exchange.attempt(box, request, safe=True)
    done = _exchange.done(box, answer, ok=(200,))
    kind = _answers.media_type(done)
    start = bytes(done.spooled[:256])
    markup = not kind and start.lstrip()[:1] == b"<"  # which begins no header field
    if markup or kind not in ("", "text/plain"):
        error = GraphError(
            f"Graph's answer is {_answers.shown(done, kind or 'markup', limit=80)}, wanted"
            " text/plain, which is how it gives a message",
            hint="check the url, and whether a proxy wants a log-in: something other than Graph may"
            " answer there",
        )
        error.client_request_id = done.client_request_id
        raise error
    return done.spooled


def get(box: Mailbox, message_id: str) -> Flow[StoredMessage]:
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
    url = _list_url(box, folder, internet_message_id, top=_page_size(top))
    items, more = yield from _all(box, url, top=top)
    return Page(tuple(_answers.message_ref(item, request_id=None) for item in items), more)


def list_page(
    box: Mailbox,
    folder: str | None = None,
    *,
    internet_message_id: str | None = None,
    link: str | None = None,
) -> Flow[tuple[Page, str | None]]:
    """One page of what `list_messages` gives, as long as Graph makes it, and where the next is.

    `link` is that of the page before. So all of a mailbox can be read, a call for each page.
    """
    url = box.next_page(link) if link is not None else None
    answer = yield from _exchange.attempt(
        box,
        Request(
            "GET",
            url or _list_url(box, folder, internet_message_id, top=_PAGE),
            _exchange.HEADERS,
        ),
        safe=True,
    )
    items, following = _answers.collection(_exchange.done(box, answer, ok=(200,)))
    if following is not None and box.next_page(following) == url:
        raise GraphError("Graph's pages do not end: the next one is the same again")
    messages = tuple(_answers.message_ref(item, request_id=None) for item in items)
    return Page(messages, following is not None), following


def _list_url(
    box: Mailbox, folder: str | None, internet_message_id: str | None, *, top: int
) -> str:
    path = ("mailFolders", folder, "messages") if folder is not None else ("messages",)
    if internet_message_id is None:
        query = {"orderby": "receivedDateTime desc"}
    else:
        # Graph wants every ordered property in the filter as well, so a look-up goes without order.
        query = {"filter": _settle.by_message_id(internet_message_id)}
    query |= {"top": str(top), "select": _answers.MESSAGE_FIELDS}
    return box.at(*path, **query)


def owner(box: Mailbox) -> Flow[tuple[str, ...]]:
    """The addresses of whoever has the mailbox: the one of its mail, and the name that signs in.

    Needs the right User.Read; of somebody else, and for an application, User.Read.All.
    """
    request = _exchange.get(box, select="mail,userPrincipalName")
    answer = yield from _exchange.attempt(box, request, safe=True)
    return _answers.owner(_answers.resource(_exchange.done(box, answer, ok=(200,))))


def folders(box: Mailbox, *, top: int = 100) -> Flow[tuple[Folder, ...]]:
    """The folders at the top of the mailbox: at most `top` of them, in Graph's order."""
    query = {"top": str(_page_size(top)), "select": _answers.FOLDER_FIELDS}
    items, _ = yield from _all(box, box.at("mailFolders", **query), top=top)
    return tuple(_answers.folder(item) for item in items)


def contacts(
    box: Mailbox, *, top: int = 1000, binary_property: int | None = None
) -> Flow[tuple[MailboxContact, ...]]:
    """The people in the contacts folder: at most `top` of them, in Graph's order.

    `binary_property` is the number of a MAPI property of type PtypMultipleBinary, whose values are
    asked for as well (0x3A70: PidTagUserX509Certificate). Needs the right Contacts.Read, and no
    other.
    """
    query = {"top": str(_page_size(top)), "select": _answers.CONTACT_FIELDS}
    if binary_property is not None:
        if not isinstance(binary_property, int) or not 0 < binary_property <= 0xFFFF:
            raise UsageError(
                f"binary_property is {binary_property!r}, wanted a number from 1 to 0xFFFF"
            )
        name = f"BinaryArray 0x{binary_property:04X}"
        query["expand"] = f"multiValueExtendedProperties($filter=id eq '{name}')"
    items, _ = yield from _all(box, box.at("contacts", **query), top=top)
    return tuple(_answers.contact(item, binary_property) for item in items)


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


# --- how a draft is made -------------------------------------------------------------------------


def _create_answer(box: Mailbox, original: str, action: str, raw: bytes) -> Flow[StoredMessage]:
    message_id = _outgoing.check_draft(raw)
    path = ("messages", original, action)
    kind, body = _outgoing.body_of_action(box, raw)
    # The documentation says 201 for all three, and one of its samples shows 200.
    return (yield from _create(box, path, kind, body, message_id=message_id, ok=(200, 201)))


def _create(
    box: Mailbox,
    path: tuple[str, ...],
    kind: str,
    body: bytes,
    *,
    message_id: str | None,
    ok: tuple[int, ...],
) -> Flow[StoredMessage]:
    answer = yield from _exchange.attempt(
        box, _exchange.post(box, *path, kind=kind, body=body), safe=False
    )
    done = isinstance(answer, Response) and answer.status in ok
    if not done and not _settle.uncertain(answer):
        raise _exchange.failure(box, answer)
    try:
        data = _answers.resource(_exchange.done(box, answer, ok=ok))
        return _answers.message_ref(data, status="draft", request_id=_exchange.request_id(answer))
    except GraphError as error:
        # Whatever became of it, nothing was sent: asking again costs a stray draft at most, but
        # whether one is wanted is for the caller to say.
        error.message_id = message_id
        found = (yield from _settle.drafts_made(box, message_id, answer)) if message_id else ()
        error.draft_id = found[0] if len(found) == 1 else None
        name = f" ({', '.join(found) or message_id})" if found or message_id else ""
        error.hint = (
            f"nothing was sent; an unsent copy may lie in Drafts{name}: look before you ask again,"
            " and delete what is not wanted"
        )
        raise
