"""What the query of a request asks for: which resources, in which order, and what of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from ..loopback.exchange import Response
from . import metadata
from .context import Call, context_of
from .exchange import json_response
from .odata import Expression, InvalidQuery, Matcher, Path, paths_of, value_of
from .odata_parser import parse_expand, parse_filter, parse_names, parse_orders
from .records import Account
from .refusal import Refusal

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Listing:
    """The options of a request for a collection."""

    condition: Expression | None
    matcher: Matcher | None
    orders: tuple[tuple[Path, bool], ...]
    selected: frozenset[str] | None
    expanded: Mapping[str, Mapping[str, str]]
    counted: bool
    top: int
    skip: int

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether the condition is true of a resource."""
        return self.matcher is None or self.matcher(row)

    def names(self, name: str) -> bool:
        """Whether the condition names a property of that name."""
        found = () if self.condition is None else paths_of(self.condition)
        return any(path.names[:1] == (name,) for path in found)


_LISTING = frozenset({"$filter", "$orderby", "$select", "$expand", "$count", "$top", "$skip"})


def read_listing(call: Call, kind: str, *further: str) -> Listing:
    """Read the options of a collection of `kind`; `further` are those that the caller reads."""
    check_options(call, _LISTING | set(further))
    top, skip = _window(call)
    condition = read_filter(call.query.get("$filter"), kind)
    text = call.query.get("$orderby", "").strip()
    orders = _parsed(lambda: parse_orders(text, metadata.TYPES, kind)) if text else ()
    if condition is not None and orders:
        _check_efficient(condition, orders)
    return Listing(
        condition=condition,
        matcher=None if condition is None else Matcher(condition),
        orders=orders,
        selected=read_select(call, kind),
        expanded=read_expand(call, kind),
        counted=_read_count(call),
        top=top,
        skip=skip,
    )


def _check_efficient(condition: Expression, orders: Sequence[tuple[Path, bool]]) -> None:
    """What is ordered by stands in $filter as well, first and in that order ("List messages")."""
    named = list(dict.fromkeys(path.text for path in paths_of(condition)))
    if named[: len(orders)] != [path.text for path, _ in orders]:
        raise inefficient()


def inefficient() -> Refusal:
    """The refusal of what takes too long to look for."""
    return Refusal(
        400,
        "InefficientFilter",
        "The restriction or sort order is too complex for this operation.",
    )


def _parsed(parse: Callable[[], _Found]) -> _Found:
    try:
        return parse()
    except InvalidQuery as error:
        raise Refusal(400, "RequestBroker--ParseUri", str(error)) from None


def read_filter(text: str | None, kind: str) -> Expression | None:
    """The condition of $filter on a collection of `kind`."""
    if text is None:
        return None
    return _parsed(lambda: parse_filter(text, metadata.TYPES, kind))


def read_select(call: Call, kind: str, text: str | None = None) -> frozenset[str] | None:
    """The properties that $select names; None: all."""
    text = call.query.get("$select") if text is None else text
    if not text:
        return None
    return _parsed(lambda: parse_names(text, metadata.TYPES, kind))


def read_expand(call: Call, kind: str) -> Mapping[str, Mapping[str, str]]:
    """What $expand names, with its options; what `kind` has not is refused."""
    text = call.query.get("$expand")
    if not text:
        return {}
    found = _parsed(lambda: parse_expand(text))
    for name in found:
        if name not in _EXPANDABLE[kind]:
            raise Refusal(
                400,
                "RequestBroker--ParseUri",
                f"Could not find a property named '{name}' on type 'microsoft.graph.{kind}'.",
            )
    return found


_EXPANDABLE: Mapping[str, frozenset[str]] = {
    "message": frozenset(
        {"attachments", "singlevalueextendedproperties", "multivalueextendedproperties"}
    ),
    "mailFolder": frozenset({"childfolders"}),
    "contact": frozenset({"singlevalueextendedproperties", "multivalueextendedproperties"}),
    "attachment": frozenset({"microsoft.graph.itemattachment/item"}),
    "user": frozenset(),
}


def check_expanded(options: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse what is not built of the options of $expand."""
    for name in options:
        if name not in known:
            raise Refusal(
                501, "NotImplemented", f"The emulator has no option '{name[:60]}' in $expand."
            )


def _read_count(call: Call) -> bool:
    text = call.query.get("$count", "false").lower()
    if text not in ("true", "false"):
        raise Refusal(
            400,
            "RequestBroker--ParseUri",
            f"Invalid value '{text[:60]}' for $count query option found. Valid values are "
            "'true, false'.",
        )
    return text == "true"


def arrange(rows: Sequence[dict[str, Any]], listing: Listing) -> list[dict[str, Any]]:
    """Those of a collection that are wanted, in the order that is wanted."""
    kept = [row for row in rows if listing.fits(row)]
    for path, descending in reversed(listing.orders):
        kept.sort(key=sort_key(path), reverse=descending)
    return kept


def sort_key(path: Path) -> Callable[[Mapping[str, Any]], tuple[bool, Any]]:
    """The key to order by a property: what has none comes first."""

    def key(row: Mapping[str, Any]) -> tuple[bool, Any]:
        value = value_of(path, row)
        return value is not None, value.casefold() if isinstance(value, str) else value or 0

    return key


def page(
    call: Call,
    account: Account,
    name: str,
    value: Sequence[dict[str, Any]],
    *,
    following: bool,
    listing: Listing,
    total: int | None = None,
) -> Response:
    """One page of a collection, with the link to the next one where it goes on."""
    answer: dict[str, Any] = {"@odata.context": f"{context_of(call, account)}/{name}"}
    if listing.counted and total is not None:
        answer["@odata.count"] = total
    answer["value"] = value
    if following:
        answer["@odata.nextLink"] = next_link(call, listing, len(value))
    return json_response(200, answer)


def next_link(call: Call, listing: Listing, shown: int) -> str:
    """The address of the page after one that shows so many."""
    query = {**call.query, "$top": str(listing.top), "$skip": str(listing.skip + shown)}
    return f"{call.request.origin}{path_of(call)}?{urlencode(query, safe='$')}"


def page_of(
    call: Call, account: Account, name: str, found: Sequence[dict[str, Any]], listing: Listing
) -> tuple[Sequence[dict[str, Any]], Callable[[Sequence[dict[str, Any]]], Response]]:
    """The resources on this page, and what makes the answer of how they are shown."""
    end = listing.skip + listing.top
    shown = found[listing.skip : end]

    def answer(value: Sequence[dict[str, Any]]) -> Response:
        following = len(found) > end
        return page(
            call, account, name, value, following=following, listing=listing, total=len(found)
        )

    return shown, answer


def path_of(call: Call) -> str:
    """The path of the request as the client wrote it, for links that lead on from it."""
    return call.request.target.partition("#")[0].partition("?")[0]


def _window(call: Call) -> tuple[int, int]:
    """$top and $skip; a page has ten without them ("Paging", "List mailFolders")."""
    top = number(call, "$top", default=10, least=1, most=call.rules.page_limit)
    return top, number(call, "$skip", default=0, least=0, most=2**31 - 1)


def check_options(call: Call, known: frozenset[str]) -> None:
    """Refuse the options of OData that are not built here."""
    for name in call.query:
        if name.startswith("$") and name not in known:
            raise Refusal(
                501, "NotImplemented", f"The emulator has no query option '{name[:60]}' here."
            )


def number(call: Call, name: str, *, default: int, least: int, most: int) -> int:
    """An option that is a number."""
    text = call.query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise Refusal(  # the code of Exchange, the text is ours
            400, "ErrorInvalidUrlQuery", f"The value of '{name}' must be from {least} to {most}."
        )
    return int(text)


def only(resource: dict[str, Any], selected: frozenset[str] | None) -> dict[str, Any]:
    """A resource with the properties that were selected."""
    if selected is None:
        return resource
    return {n: v for n, v in resource.items() if n in selected or n in ("id", "@odata.etag")}
