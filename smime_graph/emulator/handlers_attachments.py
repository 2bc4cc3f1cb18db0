"""The routes of attachments."""

from __future__ import annotations

from urllib.parse import quote

from ..loopback.exchange import Response
from . import drafts
from .attachments import Attachment, attachments_of, selected
from .context import Call, account_for, check_unchanged, context_of, item_for, not_found
from .exchange import json_response
from .handlers_update import not_draft
from .json_message import read_file
from .mime_writer import File, file_entity
from .query import arrange, check_options, page_of, read_listing, read_select
from .records import Account, Item
from .refusal import Refusal
from .request_body import body_kind, json_body


def list_attachments(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    listing = read_listing(call, "attachment")
    of_all = {one.id: one for one in attachments_of(item, call.store.raw(item))}
    rows = arrange([selected(item, one, _NO_CONTENT) for one in of_all.values()], listing)
    name = f"messages('{quote(item.id)}')/attachments"
    here, answer = page_of(call, account, name, rows, listing)
    return answer([selected(item, of_all[one["id"]], listing.selected) for one in here])


_NO_CONTENT = frozenset({"name", "contentType", "size", "isInline", "lastModifiedDateTime"})


def get_attachment(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$select"}))
    names = read_select(call, "attachment")
    answer = selected(item, _named(call, item), names)
    return json_response(200, _context(call, account, item) | answer)


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
    answer = _context(call, account, item) | selected(item, one, None)
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
