"""The routes that show users."""

from __future__ import annotations

from typing import Any

from ..loopback.exchange import Response
from .context import Call, account_for
from .exchange import json_response
from .query import arrange, check_options, next_link, only, read_listing, read_select
from .records import Account


def get_user(call: Call) -> Response:
    """The user of a mailbox, with what a user has by default ("Get a user")."""
    account = account_for(call)
    check_options(call, frozenset({"$select"}))
    selected = read_select(call, "user")
    context = f"{call.request.origin}/{call.version}/$metadata#users/$entity"
    return json_response(200, {"@odata.context": context} | only(_user(account), selected))


def list_users(call: Call) -> Response:
    """The users of all mailboxes."""
    listing = read_listing(call, "user")
    found = arrange([_user(one) for one in call.store.accounts(limit=-1)], listing)
    here = found[listing.skip :][: listing.top]
    answer: dict[str, Any] = {
        "@odata.context": f"{call.request.origin}/{call.version}/$metadata#users"
    }
    if listing.counted:
        answer["@odata.count"] = len(found)
    answer["value"] = [only(one, listing.selected) for one in here]
    if len(found) > listing.skip + len(here):
        answer["@odata.nextLink"] = next_link(call, listing, len(here))
    return json_response(200, answer)


def _user(account: Account) -> dict[str, Any]:
    name = account.address.partition("@")[0].replace(".", " ").title()
    given, _, surname = name.partition(" ")
    return {
        "businessPhones": [],
        "displayName": name,
        "givenName": given,
        "jobTitle": None,
        "mail": account.address,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": surname or None,
        "userPrincipalName": account.address,
        "id": account.guid,
    }
