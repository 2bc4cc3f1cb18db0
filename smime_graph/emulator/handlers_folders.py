"""The routes of folders."""

from __future__ import annotations

import re
from typing import Any

from ..loopback.exchange import Response
from . import resources
from .context import Call, account_for, context_of, folder_named, not_found
from .exchange import json_response
from .folders import DEPTH_LIMIT, ROOT, Folder
from .handlers_update import destination
from .json_message import lower_keys, string
from .query import (
    Listing,
    arrange,
    check_expanded,
    check_options,
    only,
    page_of,
    read_listing,
    read_select,
)
from .records import Account
from .refusal import Refusal
from .request_body import body_kind, json_body


def list_folders(call: Call) -> Response:
    """The folders at the top, or in the folder that the path names."""
    account = account_for(call)
    parent = ROOT if call.folder is None else folder_named(call, account, call.folder).key
    listing = read_listing(call, "mailFolder")
    found = arrange(_below(call, account, parent), listing)
    here, answer = page_of(call, account, "mailFolders", found, listing)
    return answer([_with_children(call, account, one, listing) for one in here])


def _below(call: Call, account: Account, parent: str) -> list[dict[str, Any]]:
    return [shape(call, account, one) for one in call.store.folders.below(account.number, parent)]


def _with_children(
    call: Call, account: Account, shown: dict[str, Any], listing: Listing
) -> dict[str, Any]:
    answer = only(shown, listing.selected)
    if "childfolders" in listing.expanded:
        options = listing.expanded["childfolders"]
        check_expanded(options, frozenset({"$select"}))
        names = read_select(call, "mailFolder", options.get("$select", ""))
        key = folder_named(call, account, shown["id"]).key
        answer["childFolders"] = [only(one, names) for one in _below(call, account, key)]
    return answer


def get_folder(call: Call) -> Response:
    account, folder = _named(call)
    check_options(call, frozenset({"$select"}))
    return _answer(call, account, folder, selected=read_select(call, "mailFolder"))


def create_folder(call: Call) -> Response:
    """Make a folder at the top, or in the folder that the path names."""
    account = account_for(call)
    parent = ROOT if call.folder is None else folder_named(call, account, call.folder).key
    name = _display_name(call)
    if name is None:
        raise _no_name()
    _check_free(call, account, parent, name)
    if len(call.store.folders.above(account.number, parent)) >= DEPTH_LIMIT:
        raise Refusal(400, "ErrorInvalidRequest", "The folders would be nested too deeply.")
    folder = call.store.folders.add(account.number, parent, name)
    return _answer(call, account, folder, status=201)


def patch_folder(call: Call) -> Response:
    account, folder = _named(call)
    _check_made(folder)
    name = _display_name(call)
    if name is not None and name != folder.name:
        if name.lower() != folder.name.lower():
            _check_free(call, account, folder.parent, name)
        folder = call.store.folders.change(folder, name=name, parent=folder.parent)
    return _answer(call, account, folder)


def move_folder(call: Call) -> Response:
    account, folder = _named(call)
    _check_made(folder)
    parent = _new_parent(call, account, folder)
    moved = call.store.folders.change(folder, name=folder.name, parent=parent)
    return _answer(call, account, moved, status=201)


def copy_folder(call: Call) -> Response:
    """Copy a folder with all that is in it; the copies have ids of their own."""
    account, folder = _named(call)
    if folder.key == ROOT:
        raise Refusal(  # general knowledge: the code is that of EWS
            400, "ErrorMoveCopyFailed", "The root of a mailbox cannot be copied."
        )
    parent = _new_parent(call, account, folder)
    return _answer(call, account, _copy(call, account, folder, parent), status=201)


def _copy(call: Call, account: Account, folder: Folder, parent: str) -> Folder:
    made = call.store.folders.add(account.number, parent, folder.name)
    for item in call.store.list(account, folder=folder.key):
        call.store.copy(item, made.key, now=call.now)
    for child in call.store.folders.below(account.number, folder.key):
        _copy(call, account, child, made.key)
    return made


def _new_parent(call: Call, account: Account, folder: Folder) -> str:
    """The key of the folder that the parameter of move and copy names."""
    _check_json(call)
    parent = folder_named(call, account, destination(call)).key
    above = call.store.folders.above(account.number, parent)
    if folder.key in above:
        raise Refusal(  # general knowledge: the code is that of EWS
            400, "ErrorMoveCopyFailed", "A folder cannot be moved or copied into itself."
        )
    inner = call.store.folders.all_below(account.number, folder.key)
    if len(above) + len(inner) > DEPTH_LIMIT:  # no deeper than there are folders below it
        raise Refusal(400, "ErrorInvalidRequest", "The folders would be nested too deeply.")
    if parent != folder.parent or call.action == "copy":
        _check_free(call, account, parent, folder.name)
    return parent


def delete_folder(call: Call) -> Response:
    """As with messages: the first deletion moves to Deleted Items, the second one is final."""
    account, folder = _named(call)
    _check_made(folder)
    folders = call.store.folders
    if "deleteditems" in folders.above(account.number, folder.key):
        for key in folders.all_below(account.number, folder.key):
            for item in call.store.list(account, folder=key):
                call.store.delete(item)
            folders.remove(key)
        return Response(204)
    name, number = folder.name, 0
    while folders.named(account.number, "deleteditems", name):
        number += 1
        name = f"{folder.name}{number}"
    folders.change(folder, name=name, parent="deleteditems")
    return Response(204)


def _named(call: Call) -> tuple[Account, Folder]:
    account = account_for(call)
    if call.folder is None:
        raise not_found()
    return account, folder_named(call, account, call.folder)


def _answer(
    call: Call,
    account: Account,
    folder: Folder,
    *,
    status: int = 200,
    selected: frozenset[str] | None = None,
) -> Response:
    context = {"@odata.context": f"{context_of(call, account)}/mailFolders/$entity"}
    return json_response(status, context | only(shape(call, account, folder), selected))


def shape(call: Call, account: Account, folder: Folder) -> dict[str, Any]:
    """A folder as Graph shows it."""
    total, unread, size = call.store.count(account, folder.key)
    children = call.store.folders.count_below(account.number, folder.key)
    return resources.folder(
        account, folder, children=children, total=total, unread=unread, size=size
    )


def _check_json(call: Call) -> None:
    if body_kind(call) != "json":
        raise Refusal(415, "RequestBodyRead", "A folder is JSON.")


def _display_name(call: Call) -> str | None:
    _check_json(call)
    name = string(lower_keys(json_body(call), "mailFolder"), "displayname")
    if name is not None and not re.fullmatch(r"[^\x00-\x1f\x7f]{1,255}", name):
        raise _no_name()
    if name is not None and any("\ud800" <= c <= "\udfff" for c in name):
        raise _no_name()
    return name


def _no_name() -> Refusal:
    return Refusal(400, "ErrorInvalidParameter", "The value of 'displayName' is not valid.")


def _check_free(call: Call, account: Account, parent: str, name: str) -> None:
    if call.store.folders.named(account.number, parent, name):
        raise Refusal(  # general knowledge
            409, "ErrorFolderExists", "A folder with the specified name already exists."
        )


def _check_made(folder: Folder) -> None:
    if not folder.is_made:
        raise Refusal(  # general knowledge: the code is that of EWS
            403,
            "ErrorDeleteDistinguishedFolder",
            f"The folder '{folder.name}' is one that every mailbox has.",
        )
