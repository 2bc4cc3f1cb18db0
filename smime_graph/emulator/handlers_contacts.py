"""The routes that show contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..loopback.exchange import Response
from .context import Call, account_for, context_of, not_found
from .exchange import json_response
from .extended import property_id
from .handlers_read import expanded_properties
from .query import arrange, check_options, only, page_of, read_expand, read_listing, read_select

_SINGLE, _MULTI = "singleValueExtendedProperties", "multiValueExtendedProperties"


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
    for contact in call.store.contacts(account):
        if contact["id"] == call.item_id:
            context = {"@odata.context": f"{context_of(call, account)}/contacts/$entity"}
            return json_response(200, context | _shown(contact, selected, expanded))
    raise not_found()


def _shown(
    contact: dict[str, Any],
    selected: frozenset[str] | None,
    expanded: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    held = contact.pop(_MULTI)
    answer = only(contact, selected)
    for name, options in expanded.items():
        kind = _MULTI if name == _MULTI.lower() else _SINGLE
        rows = [{**one, "id": property_id(one["id"]), "as": one["id"]} for one in held]
        found = expanded_properties(kind, options, rows if kind == _MULTI else ())
        if found:
            answer[kind] = [{"id": one["as"], "value": one["value"]} for one in found]
    return answer
