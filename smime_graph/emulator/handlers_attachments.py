"""The routes of attachments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..loopback.exchange import Response
from . import drafts, resources
from .attachments import Attachment, attachments_of, selected
from .context import Call, account_for, check_unchanged, context_of, item_for, not_found
from .exchange import json_response
from .handlers_update import not_draft
from .headers import UnusableMime
from .json_message import read_file
from .mime import summarise
from .mime_writer import File, file_entity
from .query import (
    arrange,
    check_expanded,
    check_options,
    page_of,
    read_expand,
    read_listing,
    read_select,
)
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
    return answer(
        [
            _shown(account, item, of_all[one["id"]], listing.selected, listing.expanded)
            for one in here
        ]
    )


_NO_CONTENT = frozenset({"name", "contentType", "size", "isInline", "lastModifiedDateTime"})


def get_attachment(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$select", "$expand"}))
    names, expanded = read_select(call, "attachment"), read_expand(call, "attachment")
    answer = _shown(account, item, _named(call, item), names, expanded)
    return json_response(200, _context(call, account, item) | answer)


def _shown(
    account: Account,
    item: Item,
    one: Attachment,
    names: frozenset[str] | None,
    expanded: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """An attachment, with the message that it is where that is expanded."""
    answer = selected(item, one, names)
    for options in expanded.values():  # it can be nothing else
        check_expanded(options, frozenset())
        if one.kind == "item":
            answer["item"] = _inner(account, item, one.content)
    return answer


def _inner(account: Account, item: Item, raw: bytes) -> dict[str, Any] | None:
    try:
        inner = replace(item, id="", is_draft=False, marks={}, summary=summarise(raw))
    except UnusableMime:
        return None
    whole = resources.message(account, inner, immutable=False)
    shown = {name: value for name, value in whole.items() if name not in _OF_THE_STORE}
    return {"@odata.type": "#microsoft.graph.message"} | shown


_OF_THE_STORE = ("@odata.etag", "changeKey", "parentFolderId")


def get_attachment_value(call: Call) -> Response:
    """The bytes of a file; of an item that is attached, its MIME."""
    item = item_for(call, account_for(call))
    one = _named(call, item)
    if one.kind == "reference":  # "Get attachment"
        raise Refusal(
            405,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        )
    kind = one.type if one.kind == "file" and one.type.isprintable() else "text/plain"
    return Response(200, (("Content-Type", kind.encode("ascii", "replace").decode()),), one.content)


def post_attachment(call: Call) -> Response:
    """Attach a file, a message or a link to a draft."""
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
