"""The routes of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..loopback.exchange import Response
from . import metadata
from .context import Call, account_for, context_of, not_found
from .exchange import json_response
from .extended import MULTI, SINGLE, merged, property_id, read_extended
from .handlers_read import expanded_properties
from .json_message import invalid, lower_keys, string
from .query import arrange, check_options, only, page_of, read_expand, read_listing, read_select
from .records import Account
from .refusal import Refusal
from .request_body import body_kind, json_body


def list_contacts(call: Call) -> Response:
    """The contacts; of extended properties those that $expand asks for by their ids."""
    account = account_for(call)
    listing = read_listing(call, "contact")
    found = arrange(call.store.contacts(account), listing)
    here, answer = page_of(call, account, "contacts", found, listing)
    return answer([_shown(one, listing.selected, listing.expanded) for one in here])


def get_contact(call: Call) -> Response:
    account = account_for(call)
    check_options(call, frozenset({"$select", "$expand"}))
    selected, expanded = read_select(call, "contact"), read_expand(call, "contact")
    return _answer(call, account, _shown(_named(call, account), selected, expanded))


def create_contact(call: Call) -> Response:
    account = account_for(call)
    given = _read(call)
    names = {"displayName": " ".join(filter(None, map(given.get, ("givenName", "surname"))))}
    contact = {**names, "emailAddresses": [], MULTI: [], **given}
    own_id = call.store.add_contact(account, contact)
    place = f"{call.request.origin}/{call.version}/users('{account.guid}')/contacts"
    location = ("Location", f"{place}('{quote(own_id)}')")
    shown = _shown({"id": own_id} | contact, None, {})
    return _answer(call, account, shown, status=201, headers=(location,))


def patch_contact(call: Call) -> Response:
    """Change what is given; an extended property takes the place of one with the same id."""
    account = account_for(call)
    contact, given = _named(call, account), _read(call)
    for kind in {SINGLE, MULTI} & given.keys():
        given[kind] = merged(contact.get(kind, ()), given[kind])
    contact |= given
    call.store.change_contact(contact["id"], {k: v for k, v in contact.items() if k != "id"})
    return _answer(call, account, _shown(contact, None, {}))


def delete_contact(call: Call) -> Response:
    call.store.delete_contact(_named(call, account_for(call))["id"])
    return Response(204)


def _named(call: Call, account: Account) -> dict[str, Any]:
    for contact in call.store.contacts(account):
        if contact["id"] == call.item_id:
            return contact
    raise not_found()


def _answer(
    call: Call,
    account: Account,
    contact: Mapping[str, Any],
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    context = {"@odata.context": f"{context_of(call, account)}/contacts/$entity"}
    return json_response(status, context | dict(contact), headers=headers)


def _read(call: Call) -> dict[str, Any]:
    """What a client writes of a contact; what is not built is refused by its name."""
    if body_kind(call) != "json":
        raise Refusal(415, "RequestBodyRead", "A contact is JSON.")
    properties = lower_keys(json_body(call), "contact")
    known = metadata.TYPES["contact"]
    found: dict[str, Any] = dict(read_extended(properties))
    for name in properties:
        if name in _NOT_BUILT:
            raise Refusal(501, "NotImplemented", f"The emulator takes no '{name}' in a contact.")
        if name not in known and name not in _READ_ONLY and "@" not in name:
            raise Refusal(  # general knowledge: the text of the OData library
                400,
                "RequestBodyRead",
                f"The property '{name[:60]}' does not exist on type 'microsoft.graph.contact'. "
                "Make sure to only use property names that are defined by the type.",
            )
    for name, kind in metadata.CONTACT.items():
        if name.lower() not in properties:
            continue
        if kind == "Edm.String":
            found[name] = string(properties, name.lower())
            continue
        value = [] if properties[name.lower()] is None else properties[name.lower()]
        if not isinstance(value, list):
            raise invalid(name)
        if name == "emailAddresses":
            emails = [lower_keys(one, name) for one in value]
            value = [{key: string(one, key) for key in ("name", "address")} for one in emails]
        elif not all(isinstance(one, str) for one in value):
            raise invalid(name)
        found[name] = value
    return found


_READ_ONLY = frozenset(
    ("id", "changekey", "createddatetime", "lastmodifieddatetime", "parentfolderid")
)
_NOT_BUILT = frozenset(
    (
        "assistantname",
        "birthday",
        "businessaddress",
        "businesshomepage",
        "children",
        "extensions",
        "generation",
        "homeaddress",
        "homephones",
        "imaddresses",
        "manager",
        "otheraddress",
        "photo",
        "profession",
        "spousename",
        "yomicompanyname",
        "yomigivenname",
        "yomisurname",
    )
)


def _shown(
    contact: dict[str, Any],
    selected: frozenset[str] | None,
    expanded: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    held = {kind: contact.pop(kind, ()) for kind in (SINGLE, MULTI)}
    answer = only(contact, selected)
    for name, options in expanded.items():
        kind = MULTI if name == MULTI.lower() else SINGLE
        rows = [{**one, "id": property_id(one["id"]), "as": one["id"]} for one in held[kind]]
        if found := expanded_properties(kind, options, rows):
            answer[kind] = [{"id": one["as"], "value": one["value"]} for one in found]
    return answer
