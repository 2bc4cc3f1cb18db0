"""The routes that show messages and contacts."""

from __future__ import annotations

import re

from ..loopback.exchange import Response
from . import metadata
from .context import Call, account_for, context_of, folder_for, item_for, shown
from .exchange import json_response
from .query import (
    check_options,
    oldest_first,
    only,
    page,
    read_filter,
    select_properties,
    window,
)
from .refusal import Refusal

_OPTIONS = frozenset({"$filter", "$top", "$skip", "$select", "$orderby"})


def list_messages(call: Call) -> Response:
    account = account_for(call)
    folder = folder_for(call, account)
    check_options(call, _OPTIONS)
    top, skip = window(call)
    found = call.store.list(
        account,
        now=call.now,
        folder=folder,
        message_id=read_filter(call),
        oldest_first=oldest_first(call),
        limit=top + 1,
        skip=skip,
    )
    selected = select_properties(call, "message", metadata.MESSAGE_PROPERTIES)
    value = [only(shown(call, account, item), selected) for item in found[:top]]
    return page(call, account, "messages", value, following=len(found) > top, top=top, skip=skip)


def list_contacts(call: Call) -> Response:
    """The contacts; of extended properties one of many values, which $expand asks for by its id."""
    account = account_for(call)
    check_options(call, frozenset({"$top", "$skip", "$select", "$expand"}))
    top, skip = window(call)
    selected = select_properties(call, "contact", metadata.CONTACT_PROPERTIES)
    wanted = _expanded_property(call)
    found = call.store.contacts(account, limit=top + 1, skip=skip)
    value = []
    for contact in found[:top]:
        extended = contact.pop(_EXTENDED)
        answer = only(contact, selected)
        if held := [one for one in extended if _property(one["id"]) == wanted]:
            answer[_EXTENDED] = held
        value.append(answer)
    return page(call, account, "contacts", value, following=len(found) > top, top=top, skip=skip)


_EXTENDED = "multiValueExtendedProperties"


def _expanded_property(call: Call) -> tuple[str, int] | None:
    text = call.query.get("$expand")
    if text is None:
        return None
    pattern = rf"\s*{_EXTENDED}\s*\(\s*\$filter\s*=\s*id\s+eq\s+'([^']*)'\s*\)\s*"
    match = re.fullmatch(pattern, text, re.I)
    wanted = None if match is None else _property(match[1])
    if wanted is None:
        raise Refusal(
            501,
            "NotImplemented",
            f"The emulator expands {_EXTENDED}($filter=id eq 'BinaryArray 0x3A70') only.",
        )
    return wanted


def _property(name: str) -> tuple[str, int] | None:
    """Type and number of a property by its tag, "BinaryArray 0x3A70" ("Extended properties")."""
    match = re.fullmatch(r"(\w{1,40}) 0x([0-9A-F]{1,4})", name, re.I | re.ASCII)
    return None if match is None else (match[1].lower(), int(match[2], 16))


def get_message(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$select"}))
    selected = select_properties(call, "message", metadata.MESSAGE_PROPERTIES)
    context = {"@odata.context": f"{context_of(call, account)}/messages/$entity"}
    message = shown(call, account, item)
    return json_response(200, context | only(message, selected))


def get_value(call: Call) -> Response:
    item = item_for(call, account_for(call))
    return Response(200, (("Content-Type", "text/plain"),), call.store.raw(item))
