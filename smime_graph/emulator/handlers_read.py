"""The routes that show messages and folders, and the one that deletes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ..loopback.exchange import Response
from . import metadata, resources
from .context import Call, account_for, context_of, folder_for, item_for, not_found
from .exchange import json_response
from .refusal import Refusal
from .store import FOLDERS, Account

_OPTIONS = frozenset({"$filter", "$top", "$skip", "$select", "$orderby"})


def list_messages(call: Call) -> Response:
    account = account_for(call)
    folder = folder_for(call, account)
    _check_options(call, _OPTIONS)
    top, skip = _window(call)
    found = call.store.list(
        account,
        now=call.now,
        folder=folder,
        message_id=_read_filter(call),
        oldest_first=_oldest_first(call),
        limit=top + 1,
        skip=skip,
    )
    selected = _select_properties(call, "message", metadata.MESSAGE_PROPERTIES)
    value = [
        _only(resources.message(account, item, immutable=call.immutable), selected)
        for item in found[:top]
    ]
    return _page(call, account, "messages", value, following=len(found) > top, top=top, skip=skip)


def _page(
    call: Call,
    account: Account,
    name: str,
    value: Sequence[dict[str, Any]],
    *,
    following: bool,
    top: int,
    skip: int,
) -> Response:
    answer: dict[str, Any] = {"@odata.context": f"{context_of(call, account)}/{name}"}
    answer["value"] = value
    if following:
        path = call.request.target.partition("#")[0].partition("?")[0]
        path = re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/]*", "", path)
        query = {**call.query, "$top": str(top), "$skip": str(skip + top)}
        answer["@odata.nextLink"] = f"{call.request.origin}{path}?{urlencode(query, safe='$')}"
    return json_response(200, answer)


def _window(call: Call) -> tuple[int, int]:
    """$top and $skip; a page has ten without them ("Paging", "List mailFolders")."""
    top = _number(call, "$top", default=10, least=1, most=call.rules.page_limit)
    return top, _number(call, "$skip", default=0, least=0, most=2**31 - 1)


def _check_options(call: Call, known: frozenset[str]) -> None:
    for name in call.query:
        if name.startswith("$") and name not in known:
            raise Refusal(
                501, "NotImplemented", f"The emulator has no query option '{name[:60]}' here."
            )


def _number(call: Call, name: str, *, default: int, least: int, most: int) -> int:
    text = call.query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise Refusal(  # the code of Exchange, the text is ours
            400, "ErrorInvalidUrlQuery", f"The value of '{name}' must be from {least} to {most}."
        )
    return int(text)


def _read_filter(call: Call) -> str | None:
    text = call.query.get("$filter")
    if text is None:
        return None
    match = re.fullmatch(r"\s*internetMessageId\s+eq\s+'((?:[^']|'')*)'\s*", text, re.I)
    if match is None:
        raise Refusal(
            501,
            "NotImplemented",
            "The emulator filters by internetMessageId eq '...' only.",
        )
    return match[1].replace("''", "'")


def _oldest_first(call: Call) -> bool:
    text = call.query.get("$orderby", "receivedDateTime desc")
    match = re.fullmatch(r"\s*receivedDateTime(\s+asc|\s+desc)?\s*", text, re.I)
    if match is None:
        raise Refusal(501, "NotImplemented", "The emulator orders by receivedDateTime only.")
    return (match[1] or "").strip().lower() != "desc"


def _select_properties(
    call: Call, kind: str, properties: Mapping[str, str]
) -> frozenset[str] | None:
    text = call.query.get("$select")
    if text is None:
        return None
    names = set()
    for part in text.split(","):
        name = properties.get(part.strip().lower())
        if name is None:
            # General knowledge.
            raise Refusal(
                400,
                "RequestBroker--ParseUri",
                f"Could not find a property named '{part.strip()[:60]}' on type "
                f"'microsoft.graph.{kind}'.",
            )
        names.add(name)
    return frozenset(names)


def _only(resource: dict[str, Any], selected: frozenset[str] | None) -> dict[str, Any]:
    if selected is None:
        return resource
    return {n: v for n, v in resource.items() if n in selected or n in ("id", "@odata.etag")}


def list_contacts(call: Call) -> Response:
    """The contacts; of extended properties one of many values, which $expand asks for by its id."""
    account = account_for(call)
    _check_options(call, frozenset({"$top", "$skip", "$select", "$expand"}))
    top, skip = _window(call)
    selected = _select_properties(call, "contact", metadata.CONTACT_PROPERTIES)
    wanted = _expanded_property(call)
    found = call.store.contacts(account, limit=top + 1, skip=skip)
    value = []
    for contact in found[:top]:
        extended = contact.pop(_EXTENDED)
        shown = _only(contact, selected)
        if held := [one for one in extended if _property(one["id"]) == wanted]:
            shown[_EXTENDED] = held
        value.append(shown)
    return _page(call, account, "contacts", value, following=len(found) > top, top=top, skip=skip)


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
    _check_options(call, frozenset({"$select"}))
    selected = _select_properties(call, "message", metadata.MESSAGE_PROPERTIES)
    context = {"@odata.context": f"{context_of(call, account)}/messages/$entity"}
    message = resources.message(account, item, immutable=call.immutable)
    return json_response(200, context | _only(message, selected))


def get_value(call: Call) -> Response:
    item = item_for(call, account_for(call))
    return Response(200, (("Content-Type", "text/plain"),), call.store.raw(item))


def delete_message(call: Call) -> Response:
    # General knowledge: the first deletion moves to Deleted Items, the second one is final.
    item = item_for(call, account_for(call))
    if item.folder == "deleteditems":
        call.store.delete(item)
    else:
        call.store.move(item, "deleteditems", now=call.now, is_draft=item.is_draft)
    return Response(204)


def _folder_shape(call: Call, account: Account, name: str) -> dict[str, Any]:
    total, unread, size = call.store.count(account, name, now=call.now)
    return resources.folder(account, name, total=total, unread=unread, size=size)


def list_folders(call: Call) -> Response:
    account = account_for(call)
    _check_options(call, frozenset({"$top", "$skip", "$select"}))
    top, skip = _window(call)
    selected = _select_properties(call, "mailFolder", metadata.FOLDER_PROPERTIES)
    names = list(FOLDERS)[skip:]
    value = [_only(_folder_shape(call, account, name), selected) for name in names[:top]]
    return _page(
        call, account, "mailFolders", value, following=len(names) > top, top=top, skip=skip
    )


def get_folder(call: Call) -> Response:
    account = account_for(call)
    _check_options(call, frozenset({"$select"}))
    selected = _select_properties(call, "mailFolder", metadata.FOLDER_PROPERTIES)
    name = folder_for(call, account)
    if name is None:
        raise not_found()
    context = {"@odata.context": f"{context_of(call, account)}/mailFolders/$entity"}
    return json_response(200, context | _only(_folder_shape(call, account, name), selected))
