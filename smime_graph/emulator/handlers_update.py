"""The routes that change a message, move it or take it away."""

from __future__ import annotations

from ..loopback.exchange import Response
from . import drafts
from .context import (
    Call,
    account_for,
    check_unchanged,
    entity,
    folder_named,
    item_for,
)
from .exchange import json_response
from .extended import MULTI, SINGLE, merged
from .folders import ROOT
from .json_message import lower_keys, read_message, string
from .records import Account, Item
from .refusal import Refusal
from .request_body import body_kind, json_body


def not_draft() -> Refusal:
    return Refusal(400, "ErrorInvalidPropertySet", "Message is not draft.")


def patch_message(call: Call) -> Response:
    """Change what a client may change: of a draft all, of other messages what is no part of them.

    Some users saw 200 and no change where the properties of a message that is no draft were given
    (DC#1143), others the error that is given here (GD#17008).
    """
    _check_json(call)
    account = account_for(call)
    item = item_for(call, account)
    draft = read_message(json_body(call))
    for name in ("attachments", "internetmessageheaders"):
        if name in draft.given:
            raise Refusal(400, "ErrorInvalidPropertySet", f"The property '{name}' is read-only.")
    if drafts.draft_only(draft) and not item.is_draft:
        raise not_draft()
    check_unchanged(call, item)
    if item.is_draft and drafts.is_in_header(draft):
        raw, summary = drafts.change(call.store.raw(item), draft)
        item = call.store.replace(item, content=call.store.keep(raw, summary), now=call.now)
    marks = dict(item.marks) | dict(draft.marks)
    for kind in {SINGLE, MULTI} & draft.marks.keys():
        marks[kind] = merged(item.marks.get(kind, ()), draft.marks[kind])
    if not item.is_draft and "importance" in draft.given:
        marks["importance"] = draft.importance or "normal"
    if not item.is_draft and "isreadreceiptrequested" in draft.given:
        marks["isReadReceiptRequested"] = draft.wants_receipt
    is_read = item.is_read if draft.is_read is None else draft.is_read
    item = call.store.mark(item, is_read=is_read, marks=marks, now=call.now)
    return json_response(200, entity(call, account, item))


def _check_json(call: Call) -> None:
    if body_kind(call) != "json":
        raise Refusal(
            415,
            "RequestBodyRead",
            "A supported MIME type could not be found that matches the content type of the "
            "response.",
        )


def delete_message(call: Call) -> Response:
    # General knowledge: the first deletion moves to Deleted Items, the second one is final.
    item = item_for(call, account_for(call))
    check_unchanged(call, item)
    if item.folder == "deleteditems":
        call.store.delete(item)
    else:
        call.store.move(item, "deleteditems", now=call.now, is_draft=item.is_draft)
    return Response(204)


def move_message(call: Call) -> Response:
    """Move a message; it has another id afterwards, but for the immutable one."""
    account, item, folder = _destination(call)
    moved = call.store.move(item, folder, now=call.now, is_draft=item.is_draft)
    return json_response(201, entity(call, account, moved))


def copy_message(call: Call) -> Response:
    """Copy a message; the copy has ids of its own."""
    account, item, folder = _destination(call)
    return json_response(201, entity(call, account, call.store.copy(item, folder, now=call.now)))


def _destination(call: Call) -> tuple[Account, Item, str]:
    _check_json(call)
    account = account_for(call)
    item = item_for(call, account)
    name = destination(call)
    folder = folder_named(call, account, name)
    if folder.key == ROOT:
        raise Refusal(400, "ErrorInvalidRequest", "No message can lie in the root of a mailbox.")
    return account, item, folder.key


def destination(call: Call) -> str:
    """The parameter of move and copy."""
    name = string(lower_keys(json_body(call), "request"), "destinationid")
    if not name:
        raise Refusal(
            400, "ErrorInvalidParameter", "The value of the parameter 'DestinationId' is empty."
        )
    return name
