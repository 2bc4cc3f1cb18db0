"""What the query of a request asks for: which properties, which page, in which order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ..loopback.exchange import Response
from .context import Call, context_of
from .exchange import json_response
from .refusal import Refusal
from .store import Account


def page(
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
        query = {**call.query, "$top": str(top), "$skip": str(skip + top)}
        answer["@odata.nextLink"] = (
            f"{call.request.origin}{path_of(call)}?{urlencode(query, safe='$')}"
        )
    return json_response(200, answer)


def path_of(call: Call) -> str:
    """The path of the request as the client wrote it, for links that lead on from it."""
    path = call.request.target.partition("#")[0].partition("?")[0]
    return re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/]*", "", path)


def window(call: Call) -> tuple[int, int]:
    """$top and $skip; a page has ten without them ("Paging", "List mailFolders")."""
    top = number(call, "$top", default=10, least=1, most=call.rules.page_limit)
    return top, number(call, "$skip", default=0, least=0, most=2**31 - 1)


def check_options(call: Call, known: frozenset[str]) -> None:
    for name in call.query:
        if name.startswith("$") and name not in known:
            raise Refusal(
                501, "NotImplemented", f"The emulator has no query option '{name[:60]}' here."
            )


def number(call: Call, name: str, *, default: int, least: int, most: int) -> int:
    text = call.query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise Refusal(  # the code of Exchange, the text is ours
            400, "ErrorInvalidUrlQuery", f"The value of '{name}' must be from {least} to {most}."
        )
    return int(text)


def read_filter(call: Call) -> str | None:
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


def oldest_first(call: Call) -> bool:
    text = call.query.get("$orderby", "receivedDateTime desc")
    match = re.fullmatch(r"\s*receivedDateTime(\s+asc|\s+desc)?\s*", text, re.I)
    if match is None:
        raise Refusal(501, "NotImplemented", "The emulator orders by receivedDateTime only.")
    return (match[1] or "").strip().lower() != "desc"


def select_properties(
    call: Call, kind: str, properties: Mapping[str, str], text: str | None = None
) -> frozenset[str] | None:
    text = call.query.get("$select") if text is None else text
    if not text:
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


def only(resource: dict[str, Any], selected: frozenset[str] | None) -> dict[str, Any]:
    if selected is None:
        return resource
    return {n: v for n, v in resource.items() if n in selected or n in ("id", "@odata.etag")}
