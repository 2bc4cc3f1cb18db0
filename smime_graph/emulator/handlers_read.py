"""The routes that show messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..loopback.exchange import Response
from . import attachments
from .context import Call, access_denied, account_for, context_of, folder_for, item_for, shown
from .exchange import json_response
from .extended import MULTI, SINGLE, properties_of, property_id
from .headers import header_fields
from .odata import Binary, Expression, Matcher, Path, Value
from .query import (
    Listing,
    check_expanded,
    check_options,
    only,
    page,
    read_expand,
    read_filter,
    read_listing,
    read_select,
    sort_key,
)
from .records import Account, Item
from .refusal import Refusal
from .search import parse_search

_HEADERS = "internetMessageHeaders"
_CHUNK = 200  # messages that are looked at before the next ones are read
_EXPAND_LIMIT = 16 * 1024 * 1024  # octets of messages whose parts are shown on one page


def list_messages(call: Call) -> Response:
    account = account_for(call)
    folder = folder_for(call, account)
    listing = read_listing(call, "message", "$search")
    _check_not_basic(call, listing.names(SINGLE), listing.names(MULTI))
    for name, option in (("Filter", "$filter"), ("OrderBy", "$orderBy")):
        if "$search" in call.query and option.lower() in call.query:
            raise Refusal(  # general knowledge
                400,
                f"SearchWith{name}",
                f"The query parameter '{option}' is not supported with '$search'.",
            )
    found, total = _find(call, account, folder, listing)
    following = len(found) > listing.top
    value: list[dict[str, Any]] = []
    size = 0
    for item in found[: listing.top]:
        size += item.size if listing.expanded else 0
        if value and size > _EXPAND_LIMIT:
            following = True
            break
        value.append(_shown(call, account, item, listing.selected, listing.expanded))
    return page(call, account, "messages", value, following=following, listing=listing, total=total)


def _check_not_basic(call: Call, *asked: bool) -> None:
    """What Mail.ReadBasic is not for: searching, attachments and extended properties."""
    if call.basic and (any(asked) or {"$search", "$expand"} & call.query.keys()):
        raise access_denied()


def count_messages(call: Call) -> Response:
    """How many there are, as a text ("$count")."""
    account = account_for(call)
    folder = folder_for(call, account)
    check_options(call, frozenset({"$filter"}))
    condition = read_filter(call.query.get("$filter"), "message")
    matcher = None if condition is None else Matcher(condition)
    listing = Listing(condition, matcher, (), None, {}, counted=True, top=1, skip=0)
    _check_not_basic(call, listing.names(SINGLE), listing.names(MULTI))
    total = _find(call, account, folder, listing)[1]
    return Response(200, (("Content-Type", "text/plain"),), str(total).encode())


def _find(
    call: Call, account: Account, folder: str | None, listing: Listing
) -> tuple[Sequence[Item], int]:
    """The messages of a page, with one more where it goes on; and how many there are in all, where
    that was asked for.
    """
    wanted = listing.skip + listing.top + 1
    search = parse_search(call.query["$search"]) if "$search" in call.query else None
    plain = [path.text for path, _ in listing.orders] in ([], ["receivedDateTime"])
    oldest_first = bool(listing.orders) and not listing.orders[0][1]
    message_id = None if listing.condition is None else _message_id(listing.condition)
    simple = listing.condition is None and search is None and plain
    if simple and not listing.counted:
        return call.store.list(
            account,
            folder=folder,
            oldest_first=oldest_first,
            limit=listing.top + 1,
            skip=listing.skip,
        ), 0
    found: list[tuple[Any, int]] = []
    for item in _all(call, account, folder, message_id, oldest_first=plain and oldest_first):
        if search is not None and not search(item.summary):
            continue
        row = {} if simple else _row(call, account, item, listing)
        if not listing.fits(row):
            continue
        found.append(([sort_key(path)(row) for path, _ in listing.orders], item.number))
        if plain and not listing.counted and len(found) == wanted:
            break
    if not plain:
        for place, (_, descending) in reversed(list(enumerate(listing.orders))):
            found.sort(key=lambda one, place=place: one[0][place], reverse=descending)  # type: ignore[misc]
    shown_here = found[listing.skip : wanted]
    return [call.store.item(number) for _, number in shown_here], len(found)


def _all(
    call: Call, account: Account, folder: str | None, message_id: str | None, *, oldest_first: bool
) -> Iterator[Item]:
    skip = 0
    while True:
        some = call.store.list(
            account,
            folder=folder,
            message_id=message_id,
            oldest_first=oldest_first,
            limit=_CHUNK,
            skip=skip,
        )
        yield from some
        skip += _CHUNK
        if len(some) < _CHUNK:
            return


def _row(call: Call, account: Account, item: Item, listing: Listing) -> dict[str, Any]:
    row = shown(call, account, item)
    for kind in (SINGLE, MULTI):
        if listing.names(kind):
            row[kind] = _properties(call, item, kind)
    return row


def _properties(call: Call, item: Item, kind: str) -> list[dict[str, Any]]:
    if kind == MULTI:
        return [one | {"id": property_id(one["id"])} for one in item.marks.get(MULTI, ())]
    found = properties_of(item, call.store.raw(item))
    return [{"id": name, "value": value} for name, value in found.items()]


def _message_id(condition: Expression) -> str | None:
    """The Message-ID that a message has to have, if there is one: it is indexed."""
    if not isinstance(condition, Binary):
        return None
    if condition.operator == "and":
        return _message_id(condition.left) or _message_id(condition.right)
    left, right = condition.left, condition.right
    if condition.operator == "eq" and isinstance(left, Path) and isinstance(right, Value):
        return right.value if left.text == "internetMessageId" else None
    return None


def _shown(
    call: Call,
    account: Account,
    item: Item,
    selected: frozenset[str] | None,
    expanded: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """A message with what is selected of it, and what is expanded."""
    answer = only(shown(call, account, item), selected)
    if selected is not None and _HEADERS in selected:  # which are given on request alone
        answer[_HEADERS] = _headers(call.store.raw(item))
    for name, options in expanded.items():
        if name == "attachments":
            check_expanded(options, frozenset({"$select"}))
            names = read_select(call, "attachment", options.get("$select", ""))
            raw = call.store.raw(item)
            answer["attachments"] = [
                attachments.selected(item, one, names)
                for one in attachments.attachments_of(item, raw)
            ]
            continue
        kind = SINGLE if name == SINGLE.lower() else MULTI
        if kept := expanded_properties(kind, options, _properties(call, item, kind)):
            answer[kind] = kept
    return answer


def _headers(raw: bytes) -> list[dict[str, str]]:
    return [
        {"name": raw[one.start : one.start + len(one.name)].decode("ascii"), "value": one.value}
        for one in header_fields(raw)[0]
    ]


def expanded_properties(
    kind: str, options: Mapping[str, str], found: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The extended properties that $expand asks for, which it does by their ids."""
    check_expanded(options, frozenset({"$filter"}))
    if "$filter" not in options:
        raise Refusal(  # general knowledge
            400, "ErrorInvalidParameter", f"The expansion of '{kind}' needs a filter by id."
        )
    of = kind.removesuffix("ExtendedProperties") + "LegacyExtendedProperty"
    condition = read_filter(options["$filter"], of)
    fits = None if condition is None else Matcher(condition)
    return [one for one in found if fits is not None and fits(one)]


def get_message(call: Call) -> Response:
    account = account_for(call)
    item = item_for(call, account)
    check_options(call, frozenset({"$select", "$expand"}))
    _check_not_basic(call)
    selected, expanded = read_select(call, "message"), read_expand(call, "message")
    context = {"@odata.context": f"{context_of(call, account)}/messages/$entity"}
    return json_response(200, context | _shown(call, account, item, selected, expanded))


def get_value(call: Call) -> Response:
    item = item_for(call, account_for(call))
    return Response(200, (("Content-Type", "text/plain"),), call.store.raw(item))
