"""The route that shows a user."""

from __future__ import annotations

from typing import Any

from ..loopback.exchange import Response
from .context import Call, account_for
from .exchange import json_response
from .query import check_options, only, read_select
from .records import Account


def get_user(call: Call) -> Response:
    """The user of a mailbox, with what a user has by default ("Get a user")."""
    account = account_for(call)
    check_options(call, frozenset({"$select"}))
    selected = read_select(call, "user")
    context = f"{call.request.origin}/{call.version}/$metadata#users/$entity"
    return json_response(200, {"@odata.context": context} | only(_user(account), selected))


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
