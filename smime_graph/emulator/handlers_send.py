"""The routes that send mail and make drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..loopback.exchange import Response
from .context import Call, account_for, entity, folder_for, item_for, no_resource
from .delivery import add_message_id, submit
from .exchange import json_response
from .handlers_update import not_draft
from .headers import Person, UnusableMime
from .json_message import read_message
from .mime import Summary, summarise
from .mime_writer import Draft, write_message
from .records import Account
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


def send_mail(call: Call) -> Response:
    if call.folder is not None:
        raise no_resource("sendMail")
    account = None if call.principal is None else account_for(call)
    save, marks = True, dict[str, Any]()
    if body_kind(call) == "mime":
        raw, summary = read_mime(call, call.request.body, raw_allowed=call.design)
    else:
        parameters = read_parameters(call, "sendmail")
        save = save_parameter(parameters)
        found = mime_parameter(call, parameters)
        if found is None and "message" not in parameters:
            raise bad_mime(call)
        if found is None:
            draft = read_message(parameters["message"])
            raw, marks = write_message(draft), dict(draft.marks)
            found = raw, summary_of(raw)
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
        marks=marks,
        is_summary_of_raw=True,
    )
    return Response(202)


def summary_of(raw: bytes) -> Summary:
    """What is shown of a message that was written here."""
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
        draft = from_mailbox(draft, account_of(call, draft))
        raw, marks = write_message(draft), draft.marks
        summary = summary_of(raw)
    account = account_for(call, summary)
    folder = folder_for(call, account) or "drafts"
    return created(call, account, raw, summary, folder=folder, marks=marks)


def account_of(call: Call, draft: Draft) -> Account:
    """Whose mailbox a JSON message is for."""
    if draft.author is None:
        return account_for(call)
    return account_for(call, summary_of(write_message(replace(draft, files=(), body=""))))


def from_mailbox(draft: Draft, account: Account) -> Draft:
    """A draft that says whom it is from: the service fills that in."""
    return draft if draft.author else replace(draft, author=Person("", account.address))


def created(
    call: Call,
    account: Account,
    raw: bytes,
    summary: Summary,
    *,
    folder: str = "drafts",
    marks: Mapping[str, Any] | None = None,
) -> Response:
    """Keep a draft, and show it."""
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
