"""The routes that send mail and make drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..loopback.exchange import Response
from .context import Call, account_for, entity, folder_for, item_for, no_resource
from .delivery import add_message_id, submit, unique
from .exchange import json_response
from .handlers_update import not_draft
from .json_message import read_message, read_people
from .mime import Person, Summary, UnusableMime, summarise
from .mime_writer import Draft, write_message
from .refusal import Refusal
from .request_body import (
    bad_mime,
    body_kind,
    json_body,
    mime_parameter,
    read_mime,
    read_parameters,
    save_parameter,
)
from .store import Account, Item


def send_mail(call: Call) -> Response:
    if call.folder is not None:
        raise no_resource("sendMail")
    account = None if call.principal is None else account_for(call)
    save = True
    if body_kind(call) == "mime":
        raw, summary = read_mime(call, call.request.body, raw_allowed=call.design)
    else:
        parameters = read_parameters(call, "sendmail")
        save = save_parameter(parameters)
        found = mime_parameter(call, parameters)
        if found is None and "message" not in parameters:
            raise bad_mime(call)
        if found is None:
            raw = write_message(read_message(parameters["message"]))
            found = raw, _summary_of(raw)
        raw, summary = found
    submit(
        call.store,
        call.rules,
        account or account_for(call, summary),
        raw=raw,
        summary=summary,
        now=call.now,
        sent_items_delay=call.sent_items_delay,
        save=save,
        is_summary_of_raw=True,
    )
    return Response(202)


def _summary_of(raw: bytes) -> Summary:
    try:
        return summarise(raw)
    except UnusableMime:  # a JSON message whose recipients do not fit into a header block
        raise Refusal(
            400, "ErrorInvalidRecipients", "The message has too many recipients."
        ) from None


def create_message(call: Call) -> Response:
    if call.principal is not None or call.folder is not None:
        folder_for(call, account_for(call))
    marks: Mapping[str, Any] = {}
    if body_kind(call) == "mime":
        if call.folder is not None:  # documented as equal, and fails: GD#16368 = DC#503, DC#189
            raise Refusal(400, "UnableToDeserializePostBody", "were unable to deserialize ")
        raw, summary = read_mime(call, call.request.body, raw_allowed=call.design)
    else:
        draft = read_message(json_body(call))
        raw, marks = write_message(draft), draft.marks
        summary = _summary_of(raw)
    account = account_for(call, summary)
    folder = folder_for(call, account) or "drafts"
    return _created(call, account, raw, summary, folder=folder, marks=marks)


def _created(
    call: Call,
    account: Account,
    raw: bytes,
    summary: Summary,
    *,
    folder: str = "drafts",
    marks: Mapping[str, Any] | None = None,
) -> Response:
    raw, summary = add_message_id(raw, summary, account)
    item = call.store.insert(
        account,
        folder=folder,
        content=call.store.keep(raw, summary),
        now=call.now,
        is_draft=True,
        is_read=True,
        marks=marks,
    )
    place = f"{call.request.origin}/{call.version}/users('{account.guid}')/messages"
    item_id = item.immutable_id if call.immutable else item.id
    location = ("Location", f"{place}('{quote(item_id)}')")
    return json_response(201, entity(call, account, item), headers=(location,))


def put_value(call: Call) -> Response:
    if body_kind(call) != "mime":
        raise Refusal(415, "RequestBodyRead", "MIME content is text/plain.")
    account = account_for(call)
    item = item_for(call, account)
    raw, summary = read_mime(call, call.request.body, raw_allowed=True)
    if not item.is_draft:
        raise not_draft()
    raw, summary = add_message_id(raw, summary, account)
    item = call.store.replace(item, content=call.store.keep(raw, summary), now=call.now)
    return json_response(200, entity(call, account, item))


def send_draft(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    if not item.is_draft:
        raise not_draft()
    submit(
        call.store,
        call.rules,
        account,
        raw=call.store.raw(item),
        summary=item.summary,
        now=call.now,
        sent_items_delay=call.sent_items_delay,
        draft=item,
    )
    return Response(202)


# Replies and forwards


def act(call: Call) -> Response:
    creates = call.action.startswith("create")
    kind = call.action.removeprefix("create")
    body = body_kind(call, optional=creates)
    account = account_for(call)
    original = item_for(call, account)
    further: tuple[Person, ...] = ()
    if body == "mime":
        raw, summary = read_mime(call, call.request.body, raw_allowed=call.design)
    else:
        parameters = read_parameters(call, call.action) if body == "json" else {}
        found = mime_parameter(call, parameters)
        if found is None:
            raw = _answer_in_json(kind, original, parameters)
            found = raw, _summary_of(raw)
        else:
            # The comment has no effect: what is finished (signed, encrypted) cannot be added to.
            # Recipients can, because they are no part of the bytes: the message goes to them as
            # well.
            further = read_people(parameters.get("torecipients"), "ToRecipients")
        raw, summary = found
    summary = _addressed(call, kind, account, original, summary, further)
    if creates:
        return _created(call, account, raw, summary)
    submit(
        call.store,
        call.rules,
        account,
        raw=raw,
        summary=summary,
        now=call.now,
        sent_items_delay=call.sent_items_delay,
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
    first = original.summary
    loaded_to = tuple(first.authors or first.sender)
    if call.rules.reply_goes_to == "reply-to" and first.reply_to:
        loaded_to = first.reply_to
    loaded_cc: tuple[Person, ...] = ()
    if kind == "replyall":
        loaded_to = tuple(p for p in (*loaded_to, *first.to) if p.key != account.key)
        loaded_cc = tuple(p for p in first.cc if p.key != account.key)
    if call.rules.reply_headers == "union":
        groups = (*loaded_to, *summary.to), (*loaded_cc, *summary.cc), summary.bcc
    else:
        groups = loaded_to, loaded_cc, ()
    to, cc, bcc = unique(*groups)
    return replace(summary, to=to, cc=cc, bcc=bcc)


def _answer_in_json(kind: str, original: Item, parameters: Mapping[str, Any]) -> bytes:
    if kind == "forward":
        raise Refusal(501, "NotImplemented", "The emulator forwards in the MIME form only.")
    draft = read_message(parameters["message"]) if "message" in parameters else Draft()
    comment = parameters.get("comment")
    if comment is not None:
        if not isinstance(comment, str) or draft.body is not None:
            raise Refusal(
                400, "ErrorInvalidParameter", "Specify either a comment or the body of the message."
            )
        draft = replace(draft, body=comment)
    first = original.summary
    if draft.subject is None:
        known = first.subject.lower().startswith("re:")
        draft = replace(draft, subject=first.subject if known else f"RE: {first.subject}")
    thread = []
    if re.fullmatch(r"<[!-;=?-~]{1,900}>", first.message_id):
        thread = [("In-Reply-To", first.message_id), ("References", first.message_id)]
    return write_message(draft, headers=thread)
