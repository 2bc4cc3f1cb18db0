"""The routes of attachments."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..loopback.exchange import Response
from . import drafts, metadata
from .attachments import Attachment, attachments_of, shown
from .context import Call, account_for, check_unchanged, context_of, item_for, not_found
from .exchange import json_response
from .handlers_update import not_draft
from .json_message import read_file
from .mime_writer import File, file_entity
from .query import check_options, only, page, select_properties, window
from .refusal import Refusal
from .request_body import body_kind, json_body
from .store import Account, Item


def list_attachments(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$top", "$skip", "$select"}))
    top, skip = window(call)
    selected = _selected(call)
    found = attachments_of(item, call.store.raw(item))[skip:]
    value = [_only(item, one, selected) for one in found[:top]]
    return page(
        call,
        account,
        f"messages('{quote(item.id)}')/attachments",
        value,
        following=len(found) > top,
        top=top,
        skip=skip,
    )


def _selected(call: Call) -> frozenset[str] | None:
    return select_properties(call, "attachment", metadata.ATTACHMENT_PROPERTIES)


def _only(item: Item, one: Attachment, selected: frozenset[str] | None) -> dict[str, Any]:
    with_content = selected is None or "contentBytes" in selected
    kept = None if selected is None else selected | {"@odata.type", "@odata.mediaContentType"}
    return only(shown(item, one, with_content=with_content), kept)


def get_attachment(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$select"}))
    selected = _selected(call)
    one = _named(call, item)
    return json_response(200, _context(call, account, item) | _only(item, one, selected))


def get_attachment_value(call: Call) -> Response:
    """The bytes of a file; of an item that is attached, its MIME."""
    item = item_for(call, account_for(call))
    one = _named(call, item)
    kind = one.type if one.kind == "file" and one.type.isprintable() else "text/plain"
    return Response(200, (("Content-Type", kind.encode("ascii", "replace").decode()),), one.content)


def post_attachment(call: Call) -> Response:
    """Attach a file to a draft."""
    if body_kind(call) != "json":
        raise Refusal(415, "RequestBodyRead", "An attachment is JSON.")
    account = account_for(call)
    item = draft_for(call, account)
    file = read_file(json_body(call))
    item, one = attach(call, item, file)
    answer = _context(call, account, item) | _only(item, one, None)
    place = f"{call.request.origin}/{call.version}/users('{account.guid}')"
    location = f"{place}/messages('{quote(item.id)}')/attachments('{quote(one.id)}')"
    return json_response(201, answer, headers=(("Location", location),))


def delete_attachment(call: Call) -> Response:
    account = account_for(call)
    item = draft_for(call, account)
    one = _named(call, item)
    raw, summary = drafts.detach(call.store.raw(item), one.entity)
    call.store.replace(item, content=call.store.keep(raw, summary), now=call.now)
    return Response(204)


def draft_for(call: Call, account: Account) -> Item:
    """The message that the path names, if it is a draft."""
    item = item_for(call, account)
    if not item.is_draft:  # not documented
        raise not_draft()
    check_unchanged(call, item)
    return item


def _named(call: Call, item: Item) -> Attachment:
    for one in attachments_of(item, call.store.raw(item)):
        if one.id == call.attachment_id:
            return one
    raise not_found()


def attach(call: Call, item: Item, file: File) -> tuple[Item, Attachment]:
    """Attach a file to a draft: what it is afterwards, and the attachment."""
    raw, summary = drafts.attach(call.store.raw(item), [file_entity(file)])
    if len(raw) > 2 * call.rules.message_limit:  # sending compares with the limit itself
        raise too_large()
    item = call.store.replace(item, content=call.store.keep(raw, summary), now=call.now)
    return item, attachments_of(item, raw)[-1]


def too_large() -> Refusal:
    """The refusal of what no mailbox could send (GD#15579)."""
    return Refusal(
        400, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size."
    )


def _context(call: Call, account: Account, item: Item) -> dict[str, str]:
    place = f"messages('{quote(item.id)}')/attachments/$entity"
    return {"@odata.context": f"{context_of(call, account)}/{place}"}
