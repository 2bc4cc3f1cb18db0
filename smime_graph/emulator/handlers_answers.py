"""The routes that reply and forward, at once or as a draft."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..loopback.exchange import Response
from .attachments import attachments_of
from .context import Call, account_for, item_for
from .delivery import submit, unique
from .drafts import content_of
from .handlers_send import created, from_mailbox, summary_of
from .headers import Person, header_fields
from .json_message import read_message, read_people
from .mime import Summary, part_of
from .mime_writer import Draft, File, file_entity, write_message
from .records import Account, Item
from .refusal import Refusal
from .request_body import body_kind, mime_parameter, read_mime, read_parameters
from .resources import timestamp

_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_REFERENCES = 20


def act(call: Call) -> Response:
    creates = call.action.startswith("create")
    kind = call.action.removeprefix("create")
    body = body_kind(call, optional=creates)
    account = account_for(call)
    original = item_for(call, account)
    marks: Mapping[str, Any] = {}
    if body == "mime":
        found = read_mime(call, call.request.body, raw_allowed=call.design)
        raw, summary = found[0], _addressed(call, kind, account, original, found[1], ())
    else:
        parameters = read_parameters(call, call.action) if body == "json" else {}
        given = mime_parameter(call, parameters)
        if given is None:
            draft = _answer(kind, account, original, parameters, creates=creates)
            raw, marks = _written(call, kind, original, draft), draft.marks
            summary = summary_of(raw)
        else:
            # The comment has no effect: what is finished (signed, encrypted) cannot be added to.
            # Recipients can, because they are no part of the bytes: the message goes to them as
            # well.
            further = read_people(parameters.get("torecipients"), "ToRecipients")
            raw, summary = given[0], _addressed(call, kind, account, original, given[1], further)
    if creates:
        return created(call, account, raw, summary, marks=marks)
    submit(
        call.store,
        call.rules,
        account,
        raw=raw,
        summary=summary,
        now=call.now,
        sent_items_delay=call.sent_items_delay,
        marks=marks,
    )
    # The design document shows 200 for these two; Graph answers 202 to all.
    return Response(200 if call.design and kind in ("replyall", "forward") else 202)


def _addressed(
    call: Call,
    kind: str,
    account: Account,
    original: Item,
    summary: Summary,
    further: tuple[Person, ...],
) -> Summary:
    """Who gets a reply or a forward in MIME.

    A reply goes to the sender of the original, and replyAll loads its recipients too. Whether
    To, Cc and Bcc in the reply's own header count is not documented. They do by default,
    because Exchange stores the MIME and then parses it into the recipient table
    (outlook-things-to-know-about-send-mail), which is where the action's own recipients are:
    so a client that encrypted for fewer people than Graph addresses sees it.
    """
    if kind == "forward":
        to, cc, bcc = unique((*summary.to, *further), summary.cc, summary.bcc)
        return replace(summary, to=to, cc=cc, bcc=bcc)
    wants_reply_to = call.rules.reply_goes_to == "reply-to"
    loaded_to, loaded_cc = _loaded(kind, account, original, reply_to=wants_reply_to)
    if call.rules.reply_headers == "union":
        groups = (*loaded_to, *summary.to), (*loaded_cc, *summary.cc), summary.bcc
    else:
        groups = loaded_to, loaded_cc, ()
    to, cc, bcc = unique(*groups)
    return replace(summary, to=to, cc=cc, bcc=bcc)


def _loaded(
    kind: str, account: Account, original: Item, *, reply_to: bool
) -> tuple[tuple[Person, ...], tuple[Person, ...]]:
    first = original.summary
    to = tuple(first.authors or first.sender)
    if reply_to and first.reply_to:
        to = first.reply_to
    if kind != "replyall":
        return to, ()
    return (
        tuple(p for p in (*to, *first.to) if p.key != account.key),
        tuple(p for p in first.cc if p.key != account.key),
    )


def _answer(
    kind: str,
    account: Account,
    original: Item,
    parameters: Mapping[str, Any],
    *,
    creates: bool,
) -> Draft:
    """An answer in JSON: its recipients, subject and body ("message: reply", "message: forward").

    Here the documentation says of a reply that it goes to Reply-To where there is one.
    """
    draft = read_message(parameters["message"]) if "message" in parameters else Draft()
    further = read_people(parameters.get("torecipients"), "ToRecipients")
    if kind == "forward":
        given = "torecipients" in draft.given
        if (given and "torecipients" in parameters) or not (given or further or creates):
            raise Refusal(
                400,
                "ErrorInvalidParameter",
                "Specify either the parameter 'ToRecipients' or the recipients of the message.",
            )
        to, cc, bcc = unique((*further, *draft.to), draft.cc, draft.bcc)
    else:
        loaded_to, loaded_cc = _loaded(kind, account, original, reply_to=True)
        to, cc, bcc = unique((*loaded_to, *draft.to), (*loaded_cc, *draft.cc), draft.bcc)
    comment = parameters.get("comment")
    if comment is not None and (not isinstance(comment, str) or draft.body is not None):
        raise Refusal(
            400, "ErrorInvalidParameter", "Specify either a comment or the body of the message."
        )
    if draft.body is None:
        draft = _quoting(draft, original, comment or "")
    if draft.subject is None:
        prefix, subject = "FW:" if kind == "forward" else "RE:", original.summary.subject
        known = subject.lower().startswith(prefix.lower())
        draft = replace(draft, subject=subject if known else f"{prefix} {subject}")
    return from_mailbox(replace(draft, to=to, cc=cc, bcc=bcc), account)


def _quoting(draft: Draft, original: Item, comment: str) -> Draft:
    """The comment, and below it what it is about: a rough likeness of what Outlook writes."""
    first = original.summary
    lines = (
        f"From: {_named(first.authors or first.sender)}",
        f"Sent: {timestamp(original.sent)}",
        f"To: {_named(first.to)}",
        f"Subject: {first.subject}",
    )
    if first.body_type != "html":
        quoted = "\n".join(("", "_" * 32, *lines, "", first.body))
        return replace(draft, body=comment + quoted)
    quoted = "<hr>" + "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return replace(draft, html=True, body=f"<div>{comment}</div>{quoted}{first.body}")


def _named(people: Sequence[Person]) -> str:
    return "; ".join(f"{p.name} <{p.address}>" if p.name else p.address for p in people)


def _written(call: Call, kind: str, original: Item, draft: Draft) -> bytes:
    raw = call.store.raw(original)
    fields, start = header_fields(raw)
    headers = []
    if _ID.fullmatch(own_id := original.summary.message_id):
        earlier = [i for f in fields if f.name == "references" for i in _ID.findall(f.value)]
        thread = "\r\n ".join((*earlier[-_REFERENCES:], own_id))
        headers = [("In-Reply-To", own_id), ("References", thread)]
    attached: list[bytes] = []
    if kind == "forward":
        found = attachments_of(original, raw)
        if part_of(raw, fields, start).is_smime:
            attached = [file_entity(File(one.name, one.type, one.content)) for one in found]
        else:
            attached = [content_of(one.entity) for one in found]
    return write_message(draft, headers=headers, attached=attached)
